"""The truth of a sample on a protocol's canvas, and the cache that spares drawing it again for the next model."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ldznet_bench.atomic import replacing
from ldznet_bench.datasets.sample import Sample
from ldznet_bench.errors import BenchError, BenchWarning
from ldznet_bench.masks.geometry import Geometry
from ldznet_bench.masks.rasterise import outline, rasterise
from ldznet_bench.masks.resize import nearest_floor, nearest_pil
from ldznet_bench.masks.spans import SpansOfMany, filled, united
from ldznet_bench.protocols import Protocol

Mask = npt.NDArray[np.bool_]

# What draws masks: their versions are part of a cell's identity, and of the name of a mask cache.
MASK_LIBRARIES = ("Pillow", "scikit-image", "pycocotools")


class Target:
    """The truth of one sample on the canvas, as masks and as spans: one is given, the other made of it when it is first asked for.

    The union comes first. Where there is one instance, that is all; otherwise the instances follow.

    Args:
        shape: (H, W) of the canvas.
        n_instances: how many there are; may be 0.
        masks: bool (H, W) each.
        spans: the same as spans.
        valid: bool (H, W), False where the source says to ignore; None where it says so nowhere.

    Attributes:
        first: number of the first instance's mask, after the union where that is a mask of its own.
    """

    def __init__(
        self, shape: tuple[int, int], n_instances: int, masks: Sequence[Mask] = (), spans: SpansOfMany | None = None, valid: Mask | None = None
    ) -> None:
        self.shape = shape
        self.valid = valid
        self.first = 0 if n_instances == 1 else 1
        self._masks = masks
        self._spans = spans

    @property
    def spans(self) -> SpansOfMany:
        """Of the union and of what follows it."""
        if self._spans is None:
            self._spans = SpansOfMany.of(self._masks)
        return self._spans

    @cached_property
    def mask(self) -> Mask:
        """Bool (H, W), the union of the instances (or what the protocol's rasteriser makes of all parts together)."""
        return self._masks[0] if self._masks else filled(self.spans[0], *self.shape)

    @property
    def instances(self) -> tuple[Mask, ...]:
        """Bool (H, W) each."""
        return tuple(self._masks or (filled(self.spans[number], *self.shape) for number in range(len(self.spans))))[self.first :]


def mask_versions() -> dict[str, str]:
    """Installed versions of the libraries that draw masks."""
    return {name: version(name) for name in MASK_LIBRARIES}


def make_target(geometry: Geometry, protocol: Protocol, size: tuple[int, int] | None = None) -> Target:
    """Draw the truth as the protocol says.

    Args:
        geometry: what the source annotates.
        protocol: names the rasteriser, the canvas and how the truth gets there.
        size: (height, width) of a prediction that replaces the annotation canvas, as PhraseCut's evaluator does.
    """
    height, width = size or (geometry.height, geometry.width)
    # Only to resize, to ignore and to sum does it take pixels.
    if protocol.canvas is None and not geometry.ignore and protocol.rasteriser != "coco-sum-equals-one":
        each = [outline(instance, height, width, protocol.rasteriser) for instance in geometry.instances]
        return Target((height, width), len(each), spans=SpansOfMany.joined(each if len(each) == 1 else [united(each), *each]))
    instances = [rasterise(instance, height, width, protocol.rasteriser) for instance in geometry.instances]
    masks = instances if len(instances) == 1 else [_union(geometry, instances, protocol), *instances]
    valid = ~rasterise(geometry.ignore, height, width, protocol.rasteriser) if geometry.ignore else None
    if protocol.canvas is not None:
        height = width = protocol.canvas
        resize = nearest_pil if protocol.truth_resize == "nearest-pil" else nearest_floor
        masks = [resize(mask, height, width) for mask in masks]
        valid = None if valid is None else resize(valid, height, width)
    if valid is not None:
        masks = [mask & valid for mask in masks]
    return Target((height, width), len(instances), masks, valid=valid)


def _union(geometry: Geometry, instances: Sequence[Mask], protocol: Protocol) -> Mask:
    height, width = instances[0].shape if instances else (geometry.height, geometry.width)
    if protocol.rasteriser == "coco-sum-equals-one":
        return rasterise(geometry.parts, height, width, protocol.rasteriser)
    union = np.zeros((height, width), bool)
    for instance in instances:
        union |= instance
    return union


class TargetCache:
    """Targets of one dataset under one protocol's drawing rules, on disk.

    An SQLite file: it is written aside while an undisturbed pass draws the masks, appears when that pass is complete, and is read by key, so that
    memory stays flat. One that is damaged, or cannot be written, is done without, as a warning says: it only spares work. Masks are kept as
    spans, which is also what is counted with: a mask is filled only where a score map asks for its pixels.

    Args:
        folder: where cache files live; None draws every time and keeps nothing.
        fingerprint: of the dataset.
        protocol: whose rules draw.
        complete: True where the pass that is starting will ask for every sample of its cell.
    """

    def __init__(self, folder: Path | None, fingerprint: str, protocol: Protocol, *, complete: bool) -> None:
        self._protocol = protocol
        self._stack = contextlib.ExitStack()
        self._reader: sqlite3.Connection | None = None
        self._writer: _Writer | None = None
        if folder is None:
            return
        path = self._path = folder / f"{_cache_key(fingerprint, protocol)}.sqlite"
        if path.is_file():
            self._open(path)
        elif complete:
            self._begin(path)

    def get(self, samples: Sequence[Sample]) -> list[Target]:
        """The targets of samples, some hundred at most; drawn where the cache has none.

        Those with pixels to ignore or without target are drawn each time.
        """
        known = self._read([sample.sample_id for sample in samples if _kept(sample.geometry)])
        return [known.get(sample.sample_id) or self._drawn(sample) for sample in samples]

    def _drawn(self, sample: Sample) -> Target:
        target = make_target(sample.geometry, self._protocol)
        if self._writer is not None and _kept(sample.geometry):
            try:
                self._writer.add(sample.sample_id, target)
            except sqlite3.Error as error:  # a full disk, most likely
                self._without(error)
        return target

    def _open(self, path: Path) -> None:
        try:
            # The loop counts in one thread and opens and closes here in another, never at once.
            reader = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)
        except sqlite3.Error as error:
            self._without(error)
        else:
            self._reader = self._stack.enter_context(contextlib.closing(reader))

    def _begin(self, path: Path) -> None:
        try:
            self._writer = self._stack.enter_context(_writing(path))
        except (BenchError, sqlite3.Error) as error:
            self._without(error)

    def _read(self, ids: Sequence[str]) -> dict[str, Target]:
        """Those that the cache has; none where there is no cache, or a damaged one."""
        if self._reader is None:
            return {}
        try:
            rows = self._reader.execute(f"SELECT sample, masks FROM targets WHERE sample IN ({','.join('?' * len(ids))})", ids)  # noqa: S608
            return {sample: _unpack(content) for sample, content in rows}
        except (sqlite3.Error, ValueError, TypeError, struct.error) as error:
            self._without(error)
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)  # the next whole pass writes it anew
            return {}

    def _without(self, error: Exception) -> None:
        warnings.warn(f"masks are drawn without the cache {self._path} ({error}).", BenchWarning, stacklevel=2)
        self.discard()
        self._reader = self._writer = None

    def finish(self) -> None:
        """Every sample was asked for: let a cache that was being written appear."""
        try:
            self._stack.close()
        except (BenchError, sqlite3.Error) as error:
            self._without(error)

    def discard(self) -> None:
        """The pass did not reach its end: forget what was being written. Does nothing after `finish`."""
        if self._writer is not None:
            self._writer.abandoned = True
        with contextlib.suppress(_Abandoned, BenchError, sqlite3.Error):
            self._stack.close()


def _kept(geometry: Geometry) -> bool:
    return bool(geometry.instances) and not geometry.ignore


class _Abandoned(Exception):  # noqa: N818 - control flow, not an error
    pass


class _Writer:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self.abandoned = False
        self._connection = connection

    def add(self, sample_id: str, target: Target) -> None:
        self._connection.execute("INSERT OR REPLACE INTO targets VALUES (?, ?)", (sample_id, _pack(target)))


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[_Writer]:
    with replacing(path) as temporary:
        with contextlib.closing(sqlite3.connect(temporary, check_same_thread=False)) as connection:
            connection.execute("PRAGMA page_size = 16384")  # most masks fit a quarter of it, and are read at once then
            # The file is whole or absent by its rename, so the database needs no journal of its own.
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("CREATE TABLE targets (sample TEXT PRIMARY KEY, masks BLOB NOT NULL) WITHOUT ROWID")
            writer = _Writer(connection)
            yield writer
            if not writer.abandoned:
                connection.commit()
        if writer.abandoned:
            raise _Abandoned


def _cache_key(fingerprint: str, protocol: Protocol) -> str:
    drawing = [fingerprint, protocol.rasteriser, protocol.canvas, protocol.truth_resize, mask_versions(), 5]
    return hashlib.sha256(json.dumps(drawing, sort_keys=True).encode()).hexdigest()[:16]


_HEADER = struct.Struct("<3I")


def _pack(target: Target) -> bytes:
    """Canvas and number of masks, where each mask's spans begin and the last one's end, the spans, and the CRC-32 of all that; 32-bit numbers."""
    spans = target.spans
    content = _HEADER.pack(*target.shape, len(spans)) + np.concatenate((spans.ends, spans.spans)).astype("<u4").tobytes()
    return content + zlib.crc32(content).to_bytes(4, "little")


def _unpack(content: bytes) -> Target:
    body = memoryview(content)[:-4]
    if zlib.crc32(body).to_bytes(4, "little") != content[-4:]:
        raise ValueError("a mask in it is damaged")
    height, width, count = _HEADER.unpack_from(body)
    numbers = np.frombuffer(body, "<u4", offset=_HEADER.size).astype(np.int64)
    return Target((height, width), max(1, count - 1), spans=SpansOfMany(numbers[count + 1 :], numbers[: count + 1]))
