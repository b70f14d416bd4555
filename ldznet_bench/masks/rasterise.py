"""Masks from geometry, by the rule of each official evaluator: two rules differ by 2 to 10 points of IoU on the same small polygons.

| rule | source | outside the canvas | under three points |
|---|---|---|---|
| ``pil`` | PhraseCut utils/data_transfer.py | clipped, after vertices are truncated toward zero | two points: a line; fewer: nothing |
| ``skimage`` | CLIPSeg and LD-ZNet datasets/phrasecut.py | clipped | vertices at pixel centres only; none: nothing |
| ``coco`` | REFER refer.py getMask, with > 0 | clipped, after vertices are rounded to fifths of a pixel | nothing |
| ``coco-sum-equals-one`` | REFER getMask with LAVT's == 1 | the same | nothing |

Run-length codes are decoded and bypass the rule; one of another size than the canvas is cropped or padded with background at the right
and the bottom, which happens only where predictions of a wrong size are scored as PhraseCut's evaluator does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from pycocotools import mask as coco

from ldznet_bench.errors import DataError, unknown_name
from ldznet_bench.masks import rle, scanline
from ldznet_bench.masks.geometry import Geometry, Part, Polygon, Rle
from ldznet_bench.masks.spans import NOTHING, Spans, area, spans_of, united
from ldznet_bench.protocols import Rasteriser

Mask = npt.NDArray[np.bool_]
Ring = npt.NDArray[np.float64]

# Pillow and pycocotools compute in 32-bit integers, the latter at five times the size: past 2**31 / 10 their masks are noise.
MAX_COORDINATE = 2e8
# pycocotools lists every point of the outline, five a pixel at 16 bytes, and does not check its malloc: 84 MB at this length.
MAX_PERIMETER = 2**20
# Annotation tools place vertices on the far border (x = width) or half a pixel past it; that is no oddity.
OUTSIDE_TOLERANCE = 1.0


def rasterise(parts: Sequence[Part], height: int, width: int, rasteriser: Rasteriser) -> Mask:
    """The mask of the parts on a canvas.

    Args:
        parts: polygons and run-length codes, of one instance or of several.
        height: rows of the canvas; vertices are not scaled to it.
        width: columns of the canvas.
        rasteriser: the rule for polygons, see the module's table.

    Returns:
        bool (height, width), C-contiguous, writable.

    Raises:
        DataError: a vertex is NaN, infinite or past `MAX_COORDINATE`; an outline past `MAX_PERIMETER` (coco rules); a run-length code that
            is not valid; a canvas without pixels or above `rle.MAX_PIXELS`.
        BenchError: there is no such rule.
    """
    rings = _checked_rings(parts, height, width, rasteriser)
    bitmaps = [_on_canvas(rle.decode(part), height, width) for part in parts if isinstance(part, Rle)]
    if rasteriser == "coco-sum-equals-one":
        return _covered_once([*bitmaps, *_coco_each(rings, height, width)], height, width)
    mask = _UNIONS[rasteriser](rings, height, width)
    for bitmap in bitmaps:
        mask |= bitmap
    return mask


def outline(parts: Sequence[Part], height: int, width: int, rasteriser: Rasteriser) -> Spans:
    """The spans of the mask that `rasterise` makes of the same, which ``pil`` and ``coco`` find without making it, at a third of the cost.

    Args:
        parts: polygons and run-length codes, of one instance or of several.
        height: rows of the canvas.
        width: columns of the canvas.
        rasteriser: the rule for polygons.

    Raises:
        DataError: as `rasterise` does.
        BenchError: there is no such rule.
    """
    find = _OUTLINES.get(rasteriser)
    if find is None:
        return spans_of(rasterise(parts, height, width, rasteriser))
    found = [find(_checked_rings(parts, height, width, rasteriser), height, width)]
    found += [_outline_on_canvas(part, height, width) for part in parts if isinstance(part, Rle)]
    return found[0] if len(found) == 1 else united(found)


def covered(parts: Sequence[Part], height: int, width: int, rasteriser: Rasteriser) -> int:
    """How many pixels the mask has that `rasterise` makes of the same.

    Raises:
        DataError: as `rasterise` does.
        BenchError: there is no such rule.
    """
    if rasteriser == "pil" and not any(isinstance(part, Rle) for part in parts):
        return int(np.count_nonzero(_pil_box(_checked_rings(parts, height, width, rasteriser), height, width)[0]))
    return area(outline(parts, height, width, rasteriser))


def _checked_rings(parts: Sequence[Part], height: int, width: int, rasteriser: Rasteriser) -> list[Ring]:
    rle.check_canvas(height, width)
    if rasteriser not in get_args(Rasteriser):
        raise unknown_name("rasteriser", rasteriser, get_args(Rasteriser))
    rings = [part.xy for part in parts if isinstance(part, Polygon)]
    _check_vertices(rings)
    return rings


def polygon_oddities(geometry: Geometry) -> tuple[str, ...]:
    """What is odd about the polygons of a sample; the rasteriser's rule is followed all the same, and run.json counts these.

    Returns:
        Of ``polygon-under-3-points`` and ``polygon-outside-canvas`` (a vertex more than `OUTSIDE_TOLERANCE` pixels outside [0, width] x
        [0, height]) those that apply, in this order.
    """
    rings = [part.xy for part in geometry.parts if isinstance(part, Polygon)]
    if not rings:
        return ()
    points = np.concatenate(rings)
    far = np.array((geometry.width, geometry.height)) + OUTSIDE_TOLERANCE
    odd = {
        "polygon-under-3-points": min(map(len, rings)) < 3,
        "polygon-outside-canvas": bool((points < -OUTSIDE_TOLERANCE).any() or (points > far).any()),
    }
    return tuple(name for name, applies in odd.items() if applies)


def _pil(rings: Sequence[Ring], height: int, width: int) -> Mask:
    drawn: npt.NDArray[np.uint8] = np.array(_pil_drawn([np.trunc(ring) for ring in rings if len(ring) >= 2], height, width))
    return drawn.view(np.bool_)


def _pil_drawn(rings: Sequence[Ring], height: int, width: int) -> Image.Image:
    # One canvas for all: a polygon only ever sets pixels, so this is the official union of one canvas each, four times faster.
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    for ring in rings:
        draw.polygon(ring.ravel().tolist(), fill=1, outline=1)
    return image


def _pil_box(rings: Sequence[Ring], height: int, width: int) -> tuple[Mask, tuple[int, int]]:
    """All that is not background, with a border of one pixel within the canvas, and its left column and upper row."""
    rings = [np.trunc(ring) for ring in rings if len(ring) >= 2]
    points = np.concatenate(rings) if rings else np.full((1, 2), -2.0)
    (left, upper), (right, lower) = (points.min(axis=0) - 1).tolist(), (points.max(axis=0) + 2).tolist()
    left, upper, right, lower = max(int(left), 0), max(int(upper), 0), min(int(right), width), min(int(lower), height)
    if left >= right or upper >= lower:
        return np.zeros((1, 1), dtype=np.bool_), (0, 0)
    # What lies right of the box or below is not even drawn, which moves no pixel within; another origin would.
    drawn: npt.NDArray[np.uint8] = np.asarray(_pil_drawn(rings, lower, right).crop((left, upper, right, lower)))
    return drawn.view(np.bool_), (left, upper)


def _pil_outline(rings: Sequence[Ring], height: int, width: int) -> Spans:
    return spans_of(*_pil_box(rings, height, width), height)


def _coco(rings: Sequence[Ring], height: int, width: int) -> Mask:
    codes = _coco_codes(rings, height, width)
    if not codes:
        return np.zeros((height, width), dtype=np.bool_)
    return rle.decode(Rle(height, width, coco.merge(codes)["counts"]))


def _coco_outline(rings: Sequence[Ring], height: int, width: int) -> Spans:
    codes = _coco_codes(rings, height, width)
    return rle.spans(Rle(height, width, coco.merge(codes)["counts"])) if codes else NOTHING


def _coco_each(rings: Sequence[Ring], height: int, width: int) -> list[Mask]:
    return [rle.decode(Rle(height, width, code["counts"])) for code in _coco_codes(rings, height, width)]


def _coco_codes(rings: Sequence[Ring], height: int, width: int) -> list[dict[str, bytes]]:
    # Under three points enclose nothing. They are left out because frPyObjects takes four numbers for a box and raises on two (pycocotools
    # 2.0.11: TypeError, Exception), so REFER has no answer for them unless they come after a whole polygon, and then they cover nothing.
    rings = [ring for ring in rings if len(ring) >= 3]
    for ring in rings:
        length = np.abs(ring - np.roll(ring, 1, axis=0)).max(axis=1).sum()
        if length > MAX_PERIMETER:
            raise DataError(
                f"the outline of a polygon is {length:.0f} pixels long on a canvas of {width}x{height}, {MAX_PERIMETER} are possible.",
                "Its vertices are corrupt, or in another unit than pixels; mend or remove the annotation.",
            )
    codes: list[dict[str, bytes]] = coco.frPyObjects([ring.ravel() for ring in rings], height, width) if rings else []
    return codes


def _covered_once(masks: Sequence[Mask], height: int, width: int) -> Mask:
    # Bytes wrap round at 256 covering parts, as REFER's sum of uint8 does.
    times = np.zeros((height, width), dtype=np.uint8)
    for mask in masks:
        times += mask.view(np.uint8)
    once: Mask = times == 1
    return once


def _on_canvas(bitmap: Mask, height: int, width: int) -> Mask:
    if bitmap.shape == (height, width):
        return bitmap
    canvas = np.zeros((height, width), dtype=np.bool_)
    overlap = bitmap[:height, :width]
    canvas[: overlap.shape[0], : overlap.shape[1]] = overlap
    return canvas


def _outline_on_canvas(code: Rle, height: int, width: int) -> Spans:
    if (code.height, code.width) == (height, width):
        return rle.spans(code)
    return spans_of(_on_canvas(rle.decode(code), height, width))


def _check_vertices(rings: Sequence[Ring]) -> None:
    if not rings:
        return
    points = np.concatenate(rings)
    sound = np.abs(points) <= MAX_COORDINATE  # False for NaN
    if not sound.all():
        x, y = points[~sound.all(axis=1)][0]
        raise DataError(
            f"a polygon has the vertex ({x}, {y}); coordinates are finite numbers of at most {MAX_COORDINATE:.0e} pixels.",
            "Mend or remove the annotation.",
        )


_UNIONS: dict[str, Callable[[Sequence[Ring], int, int], Mask]] = {"pil": _pil, "skimage": scanline.union, "coco": _coco}
_OUTLINES: dict[str, Callable[[Sequence[Ring], int, int], Spans]] = {"pil": _pil_outline, "coco": _coco_outline}
