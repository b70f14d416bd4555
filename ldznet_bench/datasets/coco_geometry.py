"""COCO's ``segmentation``: polygons, one run-length code, or a list of either."""

from __future__ import annotations

from typing import Any

from ldznet_bench.datasets.fields import Fields, numbers, shorten
from ldznet_bench.errors import DataError
from ldznet_bench.masks import rle
from ldznet_bench.masks.geometry import Instance, Part, Polygon

_REMEDY = "COCO writes lists of polygons [x0, y0, x1, y1, …] or {'size': [height, width], 'counts': …}."


def instance_of(annotation: Fields) -> Instance:
    """The parts of one annotation.

    A list of polygons, a list of compressed codes (REFER), or a crowd's single code, compressed or not. An empty list is an instance of no
    pixels. Real releases have polygons under three points, which are kept: what they cover is the rasteriser's rule.

    Raises:
        DataError: it is none of these, or a code is not valid; the annotation is named.
    """
    if "segmentation" not in annotation.value:
        annotation.fail("'segmentation' is missing")
    value = annotation.value["segmentation"]
    parts = value if isinstance(value, list) else [value]
    try:
        return tuple(part_of(part) for part in parts)
    except DataError as error:
        annotation.fail(f"'segmentation': {error.what.rstrip('.')}")


def part_of(value: Any) -> Part:  # noqa: ANN401 - parsed JSON
    """One polygon or run-length code.

    Raises:
        DataError: it is neither.
    """
    if isinstance(value, dict):
        return rle.from_coco(value)
    flat = numbers(value) if isinstance(value, list) else None
    if flat is None or len(flat) % 2:
        raise DataError(f"{shorten(value)} is neither a polygon of finite x, y pairs nor a run-length code.", _REMEDY)
    return Polygon(flat.reshape(-1, 2))
