"""Archives from strangers: hostile ones are refused before a byte is written."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from ldznet_bench.acquisition.archives import is_archive, members_in_order, open_archive
from ldznet_bench.acquisition.failures import ArchiveError


def make_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def make_tar(path: Path, *infos: tarfile.TarInfo, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as file:
        for info in infos:
            file.addfile(info, io.BytesIO(bytes(info.size)) if info.isreg() else None)
    return path


def info(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.size = kind, size
    found.linkname = "/etc/passwd"
    return found


def refusal(path: Path) -> str:
    with pytest.raises(ArchiveError) as caught, open_archive(path):
        pass
    return str(caught.value)


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../../up", "a\\..\\b", "C:/x", "C:\\x", "a\nb", ".."])
def test_names_that_leave_the_folder(tmp_path: Path, name: str) -> None:
    assert "outside its folder" in refusal(make_zip(tmp_path / "a.zip", {name: b"x"}))
    assert "outside its folder" in refusal(make_tar(tmp_path / "a.tar.gz", info(name)))


def test_a_name_cut_at_nul_is_the_name_that_would_be_written(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"aXb": b"x"})
    path.write_bytes(path.read_bytes().replace(b"aXb", b"a\0b"))
    with open_archive(path) as archive:
        assert list(archive.entries) == ["a"]


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip(tmp_path: Path, mode: int) -> None:
    member = zipfile.ZipInfo("a")
    member.external_attr = (mode | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(member, "/etc/passwd")
    assert "link or a device" in refusal(tmp_path / "a.zip")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar(tmp_path: Path, kind: bytes) -> None:
    assert "link or a device" in refusal(make_tar(tmp_path / "a.tar", info("a", kind), mode="w"))


def test_a_name_that_is_there_twice(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("a", "1")
        file.writestr("a", "2")
    assert "twice" in refusal(tmp_path / "a.zip")
    assert "twice" in refusal(make_tar(tmp_path / "a.tar", info("a"), info("./a")))


def test_a_zip_that_grows_ten_thousandfold(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a": bytes(200_000_000)}, zipfile.ZIP_BZIP2)
    assert path.stat().st_size < 20_000
    assert "bomb" in refusal(path)


def test_a_tar_that_grows_a_thousandfold_is_not_even_unpacked(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar.gz", info("a", size=60_000_000))
    assert path.stat().st_size < 100_000
    assert "bomb" in refusal(path)


def test_a_zip_that_announces_less_than_it_holds_writes_no_more(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a": b"x" * 5000}, zipfile.ZIP_STORED)
    content = path.read_bytes().replace((5000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(content)
    with pytest.raises(ArchiveError), open_archive(path) as archive:
        archive.extract(archive.entries["a"], tmp_path / "out")
    assert (tmp_path / "out").stat().st_size <= 10


def test_a_wrong_crc(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a": b"hello hello hello"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"hello hello hello", b"hello hellO hello"))
    with pytest.raises(ArchiveError, match="CRC"), open_archive(path) as archive:
        archive.extract(archive.entries["a"], tmp_path / "out")


def test_an_encrypted_member(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a": b"x"})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert "encrypted" in refusal(path)


@pytest.mark.parametrize("keep", [10, 100, -5])
def test_a_truncated_archive(tmp_path: Path, keep: int) -> None:
    path = make_zip(tmp_path / "a.zip", {f"{n}": b"x" * 50 for n in range(20)})
    path.write_bytes(path.read_bytes()[:keep])
    assert "not a whole zip or tar" in refusal(path)


def test_members_come_in_the_order_of_the_archive_and_by_their_tail(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"top/b.jpg": b"b", "top/a.jpg": b"a", "top/other/a.jpg": b"2", "top/c.jpg": b"c"})
    with open_archive(path) as archive:
        found = list(members_in_order(archive, {"C": "c.jpg", "B": "top/b.jpg", "A": "a.jpg", "none": "d.jpg"}))
        assert [(key, entry.name) for key, entry in found] == [("B", "top/b.jpg"), ("C", "top/c.jpg")]


def test_what_an_archive_is_goes_by_content(tmp_path: Path) -> None:
    make_zip(tmp_path / "a.bin", {"a": b"x"})
    (tmp_path / "b.zip").write_bytes(b"<html>quota</html>")
    assert is_archive(tmp_path / "a.bin")
    assert not is_archive(tmp_path / "b.zip")
