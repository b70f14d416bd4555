"""What the user fetched by hand is found in any layout, and is let in by the same checks."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from acquiring import DATA, SHA, document, picture, spec_of

from ldznet_bench.acquisition.by_hand import everything, open_pool, take_by_hand
from ldznet_bench.acquisition.failures import ArchiveError
from ldznet_bench.acquisition.fetch import Fetcher, Job
from ldznet_bench.acquisition.specs import FileSpec, Member
from ldznet_bench.acquisition.specs import Mirror as MirrorSpec
from ldznet_bench.errors import BenchError

Make = Callable[..., Fetcher]
NOWHERE = "http://127.0.0.1:9/x"


def put(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def take(fetcher: Fetcher, *sources: Path) -> list[str]:
    with open_pool(sources) as pool:
        return take_by_hand(fetcher, [fetcher.job(spec) for spec in fetcher.files.files if spec.role == "file"], pool)


@pytest.mark.parametrize("where", ["a.json", "deep/er/a.json", "A.JSON"])
def test_a_loose_file(tmp_path: Path, fetcher_of: Make, where: str) -> None:
    fetcher = fetcher_of(spec_of("a.json", NOWHERE, sha256=SHA))
    assert take(fetcher, put(tmp_path / "mine", {where: DATA})) == []
    assert (fetcher.folder / "a.json").read_bytes() == DATA


def test_a_single_file(tmp_path: Path, fetcher_of: Make) -> None:
    fetcher = fetcher_of(spec_of("a.json", NOWHERE))
    take(fetcher, put(tmp_path, {"a.json": DATA}) / "a.json")
    assert (fetcher.folder / "a.json").is_file()


def test_another_name_that_people_have_it_under(tmp_path: Path, fetcher_of: Make) -> None:
    fetcher = fetcher_of(spec_of("image_data_split3000.json", NOWHERE, aliases=("image_data_split.json",)))
    take(fetcher, put(tmp_path / "mine", {"image_data_split.json": DATA}))
    assert (fetcher.folder / "image_data_split3000.json").is_file()


def test_a_zip_of_the_release_and_a_tar(tmp_path: Path, fetcher_of: Make) -> None:
    (tmp_path / "mine").mkdir()
    zipped(tmp_path / "mine" / "PhraseCut.zip", {"VGPhraseCut_v0/a.json": DATA})
    content = document(seed=5)
    with tarfile.open(tmp_path / "mine" / "rest.tar.gz", "w:gz") as file:
        member = tarfile.TarInfo("VGPhraseCut_v0/b.json")
        member.size = len(content)
        file.addfile(member, io.BytesIO(content))
    fetcher = fetcher_of(spec_of("a.json", NOWHERE), spec_of("b.json", NOWHERE))
    assert take(fetcher, tmp_path / "mine") == []
    assert (fetcher.folder / "b.json").read_bytes() == content


def test_files_of_one_name_go_by_their_folder(tmp_path: Path, fetcher_of: Make) -> None:
    one, two = document(seed=1), document(seed=2)
    mine = put(tmp_path / "mine", {"refcoco/instances.json": one, "refcoco+/instances.json": two})
    fetcher = fetcher_of(spec_of("refcoco/instances.json", NOWHERE), spec_of("refcoco+/instances.json", NOWHERE))
    take(fetcher, mine)
    assert (fetcher.folder / "refcoco" / "instances.json").read_bytes() == one
    assert (fetcher.folder / "refcoco+" / "instances.json").read_bytes() == two


def test_files_of_one_name_go_by_the_name_of_their_archive(tmp_path: Path, fetcher_of: Make) -> None:
    (tmp_path / "mine").mkdir()
    zipped(tmp_path / "mine" / "refcoco+.zip", {"instances.json": DATA})
    fetcher = fetcher_of(spec_of("refcoco/instances.json", NOWHERE), spec_of("refcoco+/instances.json", NOWHERE))
    take(fetcher, tmp_path / "mine")
    assert not (fetcher.folder / "refcoco").exists()
    assert (fetcher.folder / "refcoco+" / "instances.json").is_file()


def test_a_file_of_another_family_is_not_taken(tmp_path: Path, fetcher_of: Make) -> None:
    fetcher = fetcher_of(spec_of("refcoco/instances.json", NOWHERE))
    take(fetcher, put(tmp_path / "refcocog", {"instances.json": DATA}))
    assert not (fetcher.folder / "refcoco").exists()


def test_the_folder_itself_may_carry_the_name(tmp_path: Path, fetcher_of: Make) -> None:
    fetcher = fetcher_of(spec_of("refcoco/instances.json", NOWHERE))
    take(fetcher, put(tmp_path / "refcoco", {"instances.json": DATA}))
    assert (fetcher.folder / "refcoco" / "instances.json").is_file()


def test_images_need_their_name_only(tmp_path: Path, fetcher_of: Make) -> None:
    fetcher = fetcher_of()
    job = Job(FileSpec("images/3.jpg", (MirrorSpec(https=NOWHERE),)), fetcher.folder / "images" / "3.jpg", light=True)
    with open_pool([put(tmp_path / "VG_100K_2", {"3.jpg": picture(3)})]) as pool:
        assert take_by_hand(fetcher, [job], pool) == []
    assert job.destination.read_bytes() == picture(3)


def test_wrong_content_is_refused_with_its_reason(tmp_path: Path, fetcher_of: Make) -> None:
    fetcher = fetcher_of(spec_of("a.json", NOWHERE, sha256=SHA), spec_of("b.json", NOWHERE))
    refused = take(fetcher, put(tmp_path / "mine", {"a.json": document(seed=9), "b.json": b"<html><title>quota</title></html>"}))
    assert "sha256" in refused[0]
    assert "a web page, not json" in refused[1]
    assert not list(fetcher.folder.glob("*"))


def test_a_hostile_archive_is_refused_whole(tmp_path: Path, fetcher_of: Make) -> None:
    fetcher = fetcher_of(spec_of("a.json", NOWHERE))
    archive = zipped(tmp_path / "a.zip", {"a.json": DATA, "../../evil": b"x"})
    with pytest.raises(ArchiveError, match="outside its folder"):
        take(fetcher, archive)
    assert not fetcher.folder.exists()


def test_a_path_that_is_not_there(tmp_path: Path, fetcher_of: Make) -> None:
    with pytest.raises(BenchError, match="nothing at that path"):
        take(fetcher_of(spec_of("a.json", NOWHERE)), tmp_path / "none")


def test_an_archive_fetched_by_hand_serves_its_members(tmp_path: Path, fetcher_of: Make) -> None:
    archive = spec_of("refcoco.zip", NOWHERE, role="archive")
    member = FileSpec("refcoco/instances.json", (MirrorSpec(member=Member("refcoco.zip", "refcoco/instances.json")),))
    fetcher = fetcher_of(archive, member)
    assert take(fetcher, zipped(tmp_path / "refcoco.zip", {"refcoco/instances.json": DATA})) == []
    assert (fetcher.folder / member.path).read_bytes() == DATA


def test_everything_of_a_release_without_the_folders_around_it(tmp_path: Path) -> None:
    files = {"AIGI/images/1.png": b"1", "AIGI/masks/1.png": b"2", "AIGI/.DS_Store": b"3", "__MACOSX/AIGI/x": b"4"}
    zipped(tmp_path / "AIGI-20261101T101112Z-001.zip", files)
    with open_pool([tmp_path / "AIGI-20261101T101112Z-001.zip"]) as pool:
        members = [path for path, candidate in everything(pool) if candidate.archive is not None]
    assert sorted(members) == ["images/1.png", "masks/1.png"]
