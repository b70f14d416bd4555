"""Archives from strangers: every name is checked before any byte is written, and no more bytes are written than were announced."""

from __future__ import annotations

import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from ldznet_bench.acquisition.failures import ArchiveError
from ldznet_bench.acquisition.specs import format_size
from ldznet_bench.atomic import replacing

MAX_MEMBERS = 1_000_000
MAX_RATIO = 200
"""A member above `RATIO_FLOOR` that is said to grow by more than this is a bomb: annotation JSON grows 5 to 20 times, photographs not at all."""
RATIO_FLOOR = 16 << 20
_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file in an archive.

    Attributes:
        name: posix, relative, checked.
        size: bytes when unpacked, as the archive announces.
        handle: what the archive's library calls it.
    """

    name: str
    size: int
    handle: zipfile.ZipInfo | tarfile.TarInfo


class Archive:
    """An open zip or tar whose names have all been checked.

    Attributes:
        path: of the archive.
        entries: name -> entry, regular files only.
    """

    def __init__(self, path: Path, entries: dict[str, Entry], opener: Callable[[Entry], IO[bytes]]) -> None:
        self.path = path
        self.entries = entries
        self._opener = opener
        self._by_tail: dict[str, list[str]] | None = None

    def find(self, name: str) -> Entry | None:
        """The entry of a name, or the only one whose path ends in it (people re-pack releases under other top folders)."""
        if name in self.entries:
            return self.entries[name]
        if self._by_tail is None:
            self._by_tail = {}
            for known in self.entries:
                self._by_tail.setdefault(PurePosixPath(known).name, []).append(known)
        found = [known for known in self._by_tail.get(PurePosixPath(name).name, ()) if f"/{known}".endswith(f"/{name}")]
        return self.entries[found[0]] if len(found) == 1 else None

    @contextmanager
    def open(self, entry: Entry) -> Iterator[IO[bytes]]:
        """The bytes of an entry; reading to the end checks its CRC.

        Raises:
            ArchiveError: the entry is broken or encrypted.
        """
        try:
            with self._opener(entry) as stream:
                yield stream
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise ArchiveError(f"{entry.name} in {self.path} is broken: {error}.", "Fetch the archive again.") from error

    def extract(self, entry: Entry, destination: Path) -> None:
        """Write an entry to a file, which is overwritten.

        Raises:
            ArchiveError: the entry is broken, or larger than it was said to be.
        """
        with self.open(entry) as stream, destination.open("wb") as out:
            written = 0
            while piece := stream.read(_COPY_BYTES):
                written += len(piece)
                if written > entry.size:
                    break
                out.write(piece)
        if written != entry.size:
            raise ArchiveError(
                f"{entry.name} in {self.path} has {written} bytes or more where the archive announces {entry.size}.", "Do not use this archive."
            )


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a zip or tar and check all of it that can be checked without unpacking.

    Raises:
        ArchiveError: no archive, broken, or hostile: absolute names, ``..``, links, devices, duplicate names, bombs.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                yield Archive(path, _check(path, _zip_entries(path, file)), lambda entry: _open_zip(file, entry))
        else:
            with tarfile.open(path) as tar:
                yield Archive(path, _check(path, _tar_entries(path, tar)), lambda entry: _open_tar(tar, entry))
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, NotImplementedError) as error:
        raise ArchiveError(f"{path} is not a whole zip or tar: {error}.", "Fetch it again.") from error


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or a tar, by its content."""
    return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))


def unpack_beside(paths: Iterable[Path]) -> None:
    """Unpack archives into the folder that they lie in; files that are there already, whole, stay as they are.

    Raises:
        ArchiveError: broken or hostile.
    """
    for path in paths:
        with open_archive(path) as archive:
            for name, entry in archive.entries.items():
                target = path.parent / name
                if not target.is_file() or target.stat().st_size != entry.size:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with replacing(target) as temporary:
                        archive.extract(entry, temporary)


def _zip_entries(path: Path, file: zipfile.ZipFile) -> Iterator[Entry]:
    for info in file.infolist():
        mode = info.external_attr >> 16
        kind = stat.S_IFMT(mode)
        if info.is_dir():
            check_name(path, info.filename.rstrip("/") or "/")
            continue
        if kind not in (0, stat.S_IFREG):
            raise _hostile(path, info.filename, "is a link or a device")
        if info.flag_bits & 0x1:
            raise _hostile(path, info.filename, "is encrypted")
        if info.file_size > RATIO_FLOOR and info.file_size > MAX_RATIO * max(1, info.compress_size):
            raise _hostile(path, info.filename, f"grows from {format_size(info.compress_size)} to {format_size(info.file_size)} (a bomb)")
        yield Entry(info.filename, info.file_size, info)


def _tar_entries(path: Path, tar: tarfile.TarFile) -> Iterator[Entry]:
    packed, total = path.stat().st_size, 0
    for info in tar:
        if info.isdir():
            check_name(path, info.name.rstrip("/") or "/")
            continue
        if not info.isreg():
            raise _hostile(path, info.name, "is a link or a device")
        total += info.size
        # Checked before the reader skips over the member: a bomb is not even decompressed.
        if total > RATIO_FLOOR and total > MAX_RATIO * packed:
            raise _hostile(path, info.name, f"brings the total from {format_size(packed)} to {format_size(total)} (a bomb)")
        yield Entry(info.name, info.size, info)


def _check(path: Path, entries: Iterator[Entry]) -> dict[str, Entry]:
    checked: dict[str, Entry] = {}
    for entry in entries:
        name = check_name(path, entry.name)
        if name in checked:
            raise _hostile(path, entry.name, "is there twice")
        if len(checked) >= MAX_MEMBERS:
            raise ArchiveError(f"{path} has more than {MAX_MEMBERS:,} members.", "No supported release has; do not use this archive.")
        checked[name] = Entry(name, entry.size, entry.handle)
    return checked


def check_name(path: Path, name: str) -> str:
    """A member's name as a posix path below the archive's root.

    Raises:
        ArchiveError: it would be written somewhere else.
    """
    plain = name.removeprefix("./")
    parts = PurePosixPath(plain).parts
    drive = len(plain) > 1 and plain[1] == ":"
    odd = "\\" in plain or any(unicodedata.category(character) == "Cc" for character in plain)
    if not parts or plain.startswith("/") or ".." in parts or drive or odd:
        raise _hostile(path, name, "would be written outside its folder")
    return str(PurePosixPath(plain))


def _hostile(path: Path, name: str, why: str) -> ArchiveError:
    return ArchiveError(f"{path} is refused: {name[:200]!r} {why}.", "Nothing was unpacked; fetch the archive from another mirror.")


def _open_zip(file: zipfile.ZipFile, entry: Entry) -> IO[bytes]:
    assert_info = entry.handle
    if not isinstance(assert_info, zipfile.ZipInfo):
        raise TypeError(entry.name)
    return file.open(assert_info)


def _open_tar(tar: tarfile.TarFile, entry: Entry) -> IO[bytes]:
    if not isinstance(entry.handle, tarfile.TarInfo):
        raise TypeError(entry.name)
    stream = tar.extractfile(entry.handle)
    if stream is None:
        raise TypeError(entry.name)
    return stream


def members_in_order(archive: Archive, wanted: Mapping[str, str]) -> Iterator[tuple[str, Entry]]:
    """(key, entry) of wanted members in the order of the archive, so that a compressed tar is read once from front to back.

    Args:
        archive: open.
        wanted: key -> member name.
    """
    found = {key: archive.find(name) for key, name in wanted.items()}
    position = {name: index for index, name in enumerate(archive.entries)}
    present = [(key, entry) for key, entry in found.items() if entry is not None]
    yield from sorted(present, key=lambda pair: position[pair[1].name])
