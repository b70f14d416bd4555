"""The journal of one process: CRC-framed, append-only, so that a crash loses at most the micro-batch in flight.

A frame is a header (magic, kind, stored length, raw length, CRC-32 of these and of the stored bytes) and a zstd-compressed payload. A record
frame holds one micro-batch as an Arrow record batch, a note frame holds JSON (timings). An opening frame says which process writes and what its
numbers depend on, a closing frame that it left off by itself. Each frame reaches the operating system before the next micro-batch starts, which
survives a killed process; it reaches the disk at most a second later, which bounds what a power cut can take.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import filelock
import pyarrow as pa

from ldznet_bench.atomic import acquire, write_error
from ldznet_bench.errors import BenchError, RunError
from ldznet_bench.records import SCHEMA

_HEADER = struct.Struct("<4s4sIII")
_LENGTHS = struct.Struct("<4sII")
_MAGIC = b"LDZK"
_EARLIER = b"LDZJ"  # whose checksums did not cover the lengths
_RECORDS = b"RECS"
_NOTE = b"NOTE"
_OPENING = b"OPEN"
_CLOSING = b"DONE"
_SYNC_SECONDS = 1.0
_MAX_FRAME = 1 << 31


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a frame lies in its file, and what it holds."""

    path: Path
    offset: int
    stored: int
    raw: int
    kind: bytes


class Journal:
    """The journal that this process appends to. A file lock keeps a second process with the same shard out.

    Args:
        path: the file; created when absent, cut back to its last whole frame when a crash left a torn one.
        opening: who writes, and what the records depend on; None leaves that out.
        lock: the lock file; None takes one beside the journal.

    Raises:
        RunError: another process holds it.
    """

    def __init__(self, path: Path, opening: Mapping[str, Any] | None = None, lock: Path | None = None) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = filelock.FileLock(f"{path}.lock" if lock is None else lock)
            acquire(self._lock, path, timeout=0)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            end = max((frame.offset + frame.stored for frame in frames(path)), default=0)
            os.ftruncate(self._file, end)
            os.lseek(self._file, end, os.SEEK_SET)
        except filelock.Timeout as error:
            raise RunError(
                f"{path.parent} is being written by another process.", "Wait for it, or start it with --shard i/n to share the work."
            ) from error
        except OSError as error:
            raise write_error(path, error) from error
        self.path = path
        self._codec = pa.Codec("zstd", 1)
        self._synced = time.monotonic()
        self._opened = opening is not None
        if opening is not None:
            try:
                self._write(_OPENING, json.dumps(opening).encode())
            except BenchError:
                self.close()
                raise

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Add one micro-batch of records."""
        batch = pa.RecordBatch.from_pylist(list(records), schema=SCHEMA)
        self._write(_RECORDS, batch.serialize())

    def note(self, value: Mapping[str, Any]) -> None:
        """Add a JSON note (a timing)."""
        self._write(_NOTE, json.dumps(value).encode())

    def close(self) -> None:
        """Flush to disk and let go of the file."""
        if self._opened:
            with contextlib.suppress(BenchError):  # a full disk was told of before
                self._write(_CLOSING, b"{}")
        os.fsync(self._file)
        os.close(self._file)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, kind: bytes, payload: Any) -> None:  # noqa: ANN401 - bytes or an Arrow buffer
        stored = self._codec.compress(payload, asbytes=True)
        raw = payload.size if isinstance(payload, pa.Buffer) else len(payload)
        frame = memoryview(_HEADER.pack(_MAGIC, kind, len(stored), raw, _checksum(kind, raw, stored)) + stored)
        try:
            while frame:
                frame = frame[os.write(self._file, frame) :]
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                os.fsync(self._file)
                self._synced = time.monotonic()
        except OSError as error:
            raise write_error(self.path, error) from error


def _checksum(kind: bytes, raw: int, stored: bytes) -> int:
    return zlib.crc32(stored, zlib.crc32(_LENGTHS.pack(kind, len(stored), raw)))


def frames(path: Path) -> Iterator[Frame]:
    """The whole frames of a journal, in order; stops at the first torn one, which a crash (or a live writer) leaves at the end."""
    with path.open("rb") as file:
        while len(header := file.read(_HEADER.size)) == _HEADER.size:
            magic, kind, stored, raw, crc = _HEADER.unpack(header)
            if magic == _EARLIER and file.tell() == _HEADER.size:
                raise RunError(f"{path} was written by an earlier version.", "Finish the run with that version, or remove that file and run again.")
            if magic != _MAGIC or stored > _MAX_FRAME:
                return
            offset = file.tell()
            content = file.read(stored)
            if len(content) < stored or _checksum(kind, raw, content) != crc:
                return
            yield Frame(path, offset, stored, raw, kind)


def read_batch(frame: Frame) -> pa.RecordBatch:
    """The record batch of a record frame."""
    return pa.ipc.read_record_batch(_payload(frame), SCHEMA)


def record_frames(paths: Iterable[Path]) -> Iterator[Frame]:
    """The record frames of several journals."""
    return (frame for path in paths for frame in frames(path) if frame.kind == _RECORDS)


def notes(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """The notes of several journals."""
    return (json.loads(_payload(frame).to_pybytes()) for path in paths for frame in frames(path) if frame.kind == _NOTE)


def openings(path: Path) -> list[dict[str, Any]]:
    """What every process that wrote a journal said of itself, in order; nothing where it was merged and dropped meanwhile.

    Raises:
        RunError: there are records, and before them nobody said what they are.
    """
    found: list[dict[str, Any]] = []
    try:
        for frame in frames(path):
            if frame.kind == _OPENING:
                found.append(json.loads(_payload(frame).to_pybytes()))
            elif frame.kind == _RECORDS and not found:
                raise RunError(f"{path} does not say what its records depend on.", "Another version wrote it: remove that file and run again.")
    except FileNotFoundError:
        return []
    return found


def is_closed(path: Path) -> bool:
    """Whether the last process that wrote a journal left off by itself."""
    last = None
    for frame in frames(path):
        last = frame.kind
    return last == _CLOSING


def _payload(frame: Frame) -> pa.Buffer:
    with frame.path.open("rb") as file:
        file.seek(frame.offset)
        return pa.Codec("zstd").decompress(file.read(frame.stored), decompressed_size=frame.raw)
