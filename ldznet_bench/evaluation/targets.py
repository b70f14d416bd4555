"""The truth of a sample on a protocol's canvas, and the cache that spares drawing it again for the next model."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ldznet_bench.atomic import replacing
from ldznet_bench.masks.geometry import Geometry
from ldznet_bench.masks.rasterise import rasterise
from ldznet_bench.masks.resize import nearest_floor, nearest_pil
from ldznet_bench.protocols import Protocol

Mask = npt.NDArray[np.bool_]

# What draws masks: their versions are part of a cell's identity, and of the name of a mask cache.
MASK_LIBRARIES = ("Pillow", "scikit-image", "pycocotools")


@dataclass(frozen=True, slots=True)
class Target:
    """The truth of one sample on the canvas.

    Attributes:
        mask: bool (H, W), the union of the instances (or what the protocol's rasteriser makes of all parts together).
        instances: bool (H, W) each.
        valid: bool (H, W), False where the source says to ignore; None where it says so nowhere.
    """

    mask: Mask
    instances: tuple[Mask, ...]
    valid: Mask | None = None


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
    instances = tuple(rasterise(instance, height, width, protocol.rasteriser) for instance in geometry.instances)
    if len(instances) == 1:
        mask = instances[0]
    elif protocol.rasteriser == "coco-sum-equals-one":
        mask = rasterise(geometry.parts, height, width, protocol.rasteriser)
    else:
        mask = np.logical_or.reduce(instances) if instances else np.zeros((height, width), bool)
    valid = ~rasterise(geometry.ignore, height, width, protocol.rasteriser) if geometry.ignore else None
    if protocol.canvas is not None:
        side = protocol.canvas
        resize = nearest_pil if protocol.truth_resize == "nearest-pil" else nearest_floor
        resized = tuple(resize(instance, side, side) for instance in instances)
        mask = resized[0] if len(instances) == 1 else resize(mask, side, side)
        instances, valid = resized, None if valid is None else resize(valid, side, side)
    if valid is not None:
        instances = tuple(instance & valid for instance in instances)
        mask = mask & valid
    return Target(mask, instances, valid)


class TargetCache:
    """Targets of one dataset under one protocol's drawing rules, on disk.

    An SQLite file: it is written aside while an undisturbed pass draws the masks, appears when that pass is complete, and is read by key, so that
    memory stays flat. Masks are kept as bounding box and packed bits: 0.05 ms a mask to read at 640x480, where drawing takes 0.3 to 1.9 ms.

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
        path = folder / f"{_cache_key(fingerprint, protocol)}.sqlite"
        if path.is_file():
            # The loop counts in one thread and opens and closes here in another, never at once.
            self._reader = self._stack.enter_context(
                contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False))
            )
        elif complete:
            self._writer = self._stack.enter_context(_writing(path))

    def get(self, sample_id: str, geometry: Geometry) -> Target:
        """The target of a sample; drawn where the cache has none. Those with pixels to ignore or without target are drawn each time."""
        if geometry.ignore or not geometry.instances:
            return make_target(geometry, self._protocol)
        found = None if self._reader is None else self._reader.execute("SELECT masks FROM targets WHERE sample = ?", (sample_id,)).fetchone()
        if found is not None:
            masks = _unpack_all(found[0])
            return Target(masks[0], tuple(masks[1:]) or (masks[0],))
        target = make_target(geometry, self._protocol)
        if self._writer is not None:
            self._writer.add(sample_id, target)
        return target

    def finish(self) -> None:
        """Every sample was asked for: let a cache that was being written appear."""
        self._stack.close()

    def discard(self) -> None:
        """The pass did not reach its end: forget what was being written. Does nothing after `finish`."""
        if self._writer is not None:
            self._writer.abandoned = True
        with contextlib.suppress(_Abandoned):
            self._stack.close()


class _Abandoned(Exception):  # noqa: N818 - control flow, not an error
    pass


class _Writer:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self.abandoned = False
        self._connection = connection

    def add(self, sample_id: str, target: Target) -> None:
        single = len(target.instances) == 1 and target.instances[0] is target.mask
        masks = (target.mask,) if single else (target.mask, *target.instances)
        self._connection.execute("INSERT OR REPLACE INTO targets VALUES (?, ?)", (sample_id, b"".join(_pack(mask) for mask in masks)))


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[_Writer]:
    with replacing(path) as temporary:
        with contextlib.closing(sqlite3.connect(temporary, check_same_thread=False)) as connection:
            # The file is whole or absent by its rename, so the database needs no journal of its own.
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("CREATE TABLE targets (sample TEXT PRIMARY KEY, masks BLOB NOT NULL) WITHOUT ROWID")
            writer = _Writer(connection)
            yield writer
            connection.commit()
        if writer.abandoned:
            raise _Abandoned


def _cache_key(fingerprint: str, protocol: Protocol) -> str:
    drawing = [fingerprint, protocol.rasteriser, protocol.canvas, protocol.truth_resize, mask_versions(), 2]
    return hashlib.sha256(json.dumps(drawing, sort_keys=True).encode()).hexdigest()[:16]


_HEADER = struct.Struct("<6I")


def _pack(mask: Mask) -> bytes:
    """Shape and bounding box as six 32-bit numbers, then the box's pixels as bits, row by row."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom, left, right = (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) if rows.size else (0, 0, 0, 0)
    return _HEADER.pack(*mask.shape, top, bottom, left, right) + np.packbits(mask[top:bottom, left:right]).tobytes()


def _unpack_all(content: bytes) -> list[Mask]:
    masks, offset = [], 0
    while offset < len(content):
        height, width, top, bottom, left, right = _HEADER.unpack_from(content, offset)
        count = (bottom - top) * (right - left)
        stored = -(-count // 8)
        bits = np.unpackbits(np.frombuffer(content, np.uint8, stored, offset + _HEADER.size), count=count)
        mask = np.zeros((height, width), bool)
        mask[top:bottom, left:right] = bits.reshape(bottom - top, right - left)
        masks.append(mask)
        offset += _HEADER.size + stored
    return masks
