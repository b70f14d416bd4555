"""What a source annotates: polygons, run-length codes or bitmaps, per instance. Masks are made from it, never stored instead of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Polygon:
    """One closed ring.

    Attributes:
        xy: float64 (n, 2), x to the right and y down in pixels of the annotation canvas; n may be under 3 (real releases have such).
    """

    xy: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rle:
    """A COCO compressed run-length code (column-major), exactly as pycocotools writes it.

    Attributes:
        height: rows of the bitmap.
        width: columns of the bitmap.
        counts: the compressed counts, ASCII bytes.
    """

    height: int
    width: int
    counts: bytes


Part = Polygon | Rle
Instance = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Geometry:
    """The annotated truth of one sample.

    Attributes:
        height: rows of the annotation canvas, which is what the annotation says and may contradict the image file.
        width: columns of the annotation canvas.
        instances: one tuple of parts per annotated instance; a part is a polygon or an RLE. None at all: the phrase has no target here.
        ignore: parts whose pixels count neither as truth nor as prediction, under every protocol; most sources have none.
    """

    height: int
    width: int
    instances: tuple[Instance, ...]
    ignore: Instance = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every part of every instance, in source order."""
        return tuple(part for instance in self.instances for part in instance)

    def to_json(self) -> dict[str, Any]:
        """The canonical JSON form, which the dataset fingerprint hashes: floats stay floats, so 10 and 10.0 agree."""
        value: dict[str, Any] = {
            "size": [self.height, self.width],
            "instances": [[_part_to_json(part) for part in instance] for instance in self.instances],
        }
        if self.ignore:
            value["ignore"] = [_part_to_json(part) for part in self.ignore]
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        height, width = value["size"]
        instances = tuple(tuple(_part_from_json(part) for part in instance) for instance in value["instances"])
        return cls(int(height), int(width), instances, tuple(_part_from_json(part) for part in value.get("ignore", ())))


def polygon(flat: Sequence[float] | npt.NDArray[Any]) -> Polygon:
    """A polygon from ``[x0, y0, x1, y1, …]`` or from ``[[x0, y0], …]``."""
    return Polygon(np.asarray(flat, dtype=np.float64).reshape(-1, 2))


def _part_to_json(part: Part) -> dict[str, Any]:
    if isinstance(part, Polygon):
        return {"polygon": part.xy.ravel().tolist()}
    return {"rle": part.counts.decode("ascii"), "size": [part.height, part.width]}


def _part_from_json(value: Mapping[str, Any]) -> Part:
    if "polygon" in value:
        return polygon(value["polygon"])
    height, width = value["size"]
    return Rle(int(height), int(width), str(value["rle"]).encode("ascii"))
