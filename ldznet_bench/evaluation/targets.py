"""The truth of a sample on a protocol's canvas, and the cache that spares drawing it again for the next model."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

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
    """

    mask: Mask
    instances: tuple[Mask, ...]


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
    if protocol.canvas is None:
        return Target(mask, instances)
    resize = nearest_pil if protocol.truth_resize == "nearest-pil" else nearest_floor
    resized = tuple(resize(instance, protocol.canvas, protocol.canvas) for instance in instances)
    return Target(resized[0] if len(instances) == 1 else resize(mask, protocol.canvas, protocol.canvas), resized)


class TargetCache:
    """Targets of one dataset under one protocol's drawing rules, on disk.

    The file is written aside while a pass over the whole dataset draws the masks, and appears when that pass is complete; later passes read it
    memory-mapped. Masks are kept as bounding box and packed bits: 0.05 ms a mask to read at 640x480, where drawing takes 0.3 to 1.9 ms.

    Args:
        folder: where cache files live; None draws every time and keeps nothing.
        fingerprint: of the dataset.
        protocol: whose rules draw.
        complete: True where the pass that is starting will ask for every sample of the dataset, in order.
    """

    def __init__(self, folder: Path | None, fingerprint: str, protocol: Protocol, *, complete: bool) -> None:
        self._protocol = protocol
        self._rows: Mapping[str, int] = {}
        self._table: pa.Table | None = None
        self._writer: _Writer | None = None
        self._stack = contextlib.ExitStack()
        if folder is None:
            return
        path = folder / f"{_cache_key(fingerprint, protocol)}.arrow"
        if path.is_file():
            self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            self._rows = {ident: row for row, ident in enumerate(self._table["sample_id"].to_pylist())}
        elif complete:
            self._writer = self._stack.enter_context(_writing(path))

    def get(self, sample_id: str, geometry: Geometry) -> Target:
        """The target of a sample; drawn where the cache has none."""
        row = self._rows.get(sample_id)
        if row is not None and self._table is not None:
            masks = [_unpack(value) for value in self._table["masks"][row].as_py()]
            return Target(masks[0], tuple(masks[1:]) or (masks[0],))
        target = make_target(geometry, self._protocol)
        if self._writer is not None:
            self._writer.add(sample_id, target)
        return target

    def finish(self) -> None:
        """Every sample was asked for: let a cache that was being written appear."""
        self._stack.close()

    def discard(self) -> None:
        """The pass did not reach its end: forget what was being written."""
        if self._writer is not None:
            self._writer.abandoned = True
        with contextlib.suppress(_Abandoned):
            self._stack.close()


class _Abandoned(Exception):  # noqa: N818 - control flow, not an error
    pass


_CACHE_SCHEMA = pa.schema([("sample_id", pa.string()), ("masks", pa.list_(pa.binary()))])


class _Writer:
    def __init__(self, sink: pa.ipc.RecordBatchFileWriter) -> None:
        self.abandoned = False
        self._sink = sink
        self._rows: list[dict[str, Any]] = []

    def add(self, sample_id: str, target: Target) -> None:
        single = len(target.instances) == 1 and target.instances[0] is target.mask
        masks = (target.mask,) if single else (target.mask, *target.instances)
        self._rows.append({"sample_id": sample_id, "masks": [_pack(mask) for mask in masks]})
        if len(self._rows) >= 256:
            self.flush()

    def flush(self) -> None:
        self._sink.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=_CACHE_SCHEMA))
        self._rows = []


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[_Writer]:
    with replacing(path) as temporary:
        with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_file(file, _CACHE_SCHEMA) as sink:
            writer = _Writer(sink)
            yield writer
            writer.flush()
        if writer.abandoned:
            raise _Abandoned


def _cache_key(fingerprint: str, protocol: Protocol) -> str:
    drawing = [fingerprint, protocol.rasteriser, protocol.canvas, protocol.truth_resize, mask_versions(), 1]
    return hashlib.sha256(json.dumps(drawing, sort_keys=True).encode()).hexdigest()[:16]


def _pack(mask: Mask) -> bytes:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) if rows.size else (0, 0, 0, 0)
    header = np.array([*mask.shape, *box], dtype="<u4").tobytes()
    return header + np.packbits(mask[box[0] : box[1], box[2] : box[3]]).tobytes()


def _unpack(value: bytes) -> Mask:
    height, width, top, bottom, left, right = np.frombuffer(value, "<u4", 6).tolist()
    mask = np.zeros((height, width), bool)
    count = (bottom - top) * (right - left)
    crop = np.unpackbits(np.frombuffer(value, np.uint8, offset=24), count=count)
    mask[top:bottom, left:right] = crop.reshape(bottom - top, right - left)
    return mask
