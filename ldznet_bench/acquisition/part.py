"""A file that is arriving: its bytes so far, and a journal that says which of them can be trusted after a crash."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

CHUNK_BYTES = 1 << 20
"""At most this much is fetched again after a kill. One journal line of 9 bytes per chunk: 70 kB for the largest file (7.7 GB)."""

_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the bytes of a part came from.

    Attributes:
        source: the mirror, as text.
        validator: strong ETag or Last-Modified of the file there; None where the host gives neither.
        total: bytes of the whole file there; None where the host does not say.
    """

    source: str
    validator: str | None
    total: int | None


class Part:
    """Bytes in order, each full chunk with its CRC in a journal beside it.

    After SIGKILL both files are as they were written; after a power cut the tail may be garbage. Either way the part is taken up at the
    last chunk whose CRC agrees. Reading it for that also brings the running sha256 up to date, so that a finished file is not read again.

    Args:
        path: of the part; the journal is beside it.
        chunk: bytes per journal line.
    """

    def __init__(self, path: Path, chunk: int = CHUNK_BYTES) -> None:
        self.path = path
        self.journal_path = path.with_name(path.name + ".journal")
        self.chunk = chunk
        self.origin: Origin | None = None
        self.offset = 0
        self._hash = hashlib.sha256()
        self._crc = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._take_up()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        os.ftruncate(self._file, self.offset)
        self._journal = os.open(self.journal_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def begin(self, origin: Origin) -> None:
        """Start anew, from zero, with bytes of an origin."""
        os.ftruncate(self._file, 0)
        os.ftruncate(self._journal, 0)
        self.origin, self.offset, self._crc = origin, 0, 0
        self._hash = hashlib.sha256()
        header = asdict(origin) | {"chunk": self.chunk}
        _write_all(self._journal, (json.dumps(header) + "\n").encode())

    def restart(self) -> None:
        """Forget the bytes, stay open."""
        self.begin(Origin("", None, None))

    def write(self, data: bytes) -> None:
        """Append bytes."""
        view = memoryview(data)
        while view:
            piece = view[: self.chunk - self.offset % self.chunk]
            _write_all(self._file, piece, self.offset)
            self._hash.update(piece)
            self._crc = zlib.crc32(piece, self._crc)
            self.offset += len(piece)
            if self.offset % self.chunk == 0:
                _write_all(self._journal, b"%08x\n" % self._crc)
                self._crc = 0
            view = view[len(piece) :]

    def sha256(self) -> str:
        """Of the bytes so far, hex."""
        return self._hash.copy().hexdigest()

    def place(self, destination: Path, durable: bool = True) -> None:
        """Rename into place; the part and its journal are gone afterwards.

        Args:
            destination: where the file belongs.
            durable: flush to disk first. Left out for single images: 2,545 of them would cost 20 s, and one that a power cut empties is
                noticed by its size.
        """
        if durable:
            os.fsync(self._file)
        destination.parent.mkdir(parents=True, exist_ok=True)
        self.path.replace(destination)
        if durable:
            flush_folder(destination.parent)
        self.close()
        self.journal_path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Forget everything that has arrived."""
        self.close()
        self.path.unlink(missing_ok=True)
        self.journal_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files; they stay for the next process."""
        # Each descriptor is closed once: in a threaded program its number may belong to another file a moment later.
        descriptors, self._file, self._journal = (self._file, self._journal), -1, -1
        for descriptor in descriptors:
            if descriptor >= 0:
                os.close(descriptor)

    def _take_up(self) -> None:
        header, checksums = self._read_journal()
        if header is None:
            return
        self.origin = header
        with contextlib.suppress(FileNotFoundError), self.path.open("rb") as file:
            for checksum in checksums:
                piece = file.read(self.chunk)
                if len(piece) < self.chunk or zlib.crc32(piece) != checksum:
                    break
                self._hash.update(piece)
                self.offset += len(piece)
        self._rewrite_journal(checksums[: self.offset // self.chunk])

    def _read_journal(self) -> tuple[Origin | None, list[int]]:
        try:
            lines = self.journal_path.read_bytes().split(b"\n")
            header = json.loads(lines[0])
            if int(header.pop("chunk")) != self.chunk:
                return None, []
            origin = Origin(**header)
            checksums = [int(line, 16) for line in lines[1:-1]]
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None, []
        return origin, checksums

    def _rewrite_journal(self, checksums: list[int]) -> None:
        if self.origin is None:
            return
        header = asdict(self.origin) | {"chunk": self.chunk}
        text = json.dumps(header) + "\n" + "".join(f"{checksum:08x}\n" for checksum in checksums)
        temporary = self.journal_path.with_name(self.journal_path.name + ".new")
        temporary.write_text(text)
        temporary.replace(self.journal_path)


def flush_folder(folder: Path) -> None:
    """Make a rename in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes | memoryview, offset: int | None = None) -> None:
    view = memoryview(data)
    while view:
        written = os.write(descriptor, view) if offset is None else os.pwrite(descriptor, view, offset)
        view = view[written:]
        if offset is not None:
            offset += written
