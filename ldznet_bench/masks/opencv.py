"""Polygons as OpenCV's fillPoly draws them, for sources whose truth is defined by a script that calls it (ReasonSeg).

Vertices are truncated to whole pixels. Every edge is drawn as a line of 8-connected pixels, and the rows between are filled by the even-odd rule
in fixed point with 16 fractional bits, from the first whole pixel at or after one crossing to the last at or before the next. Equal to OpenCV 4
pixel for pixel where vertices lie inside the image (tests/goldens/masks/opencv.json); outside it OpenCV clips lines first, which can move a pixel
at the border.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_SHIFT = 16
_ONE = 1 << _SHIFT
_FARTHEST = 1 << 20  # pixels outside the image that a vertex may lie; an outline beyond it is no annotation

Points = npt.NDArray[np.int64]


def fill_polygon(xy: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.bool_]:
    """The pixels of one closed ring.

    Args:
        xy: float (n, 2) vertices, finite, x to the right and y down; truncated toward zero.
        height: rows of the image.
        width: columns.

    Returns:
        bool (height, width).

    Raises:
        ValueError: a vertex is further than 2**20 pixels from the origin.
    """
    mask = np.zeros((height, width), bool)
    if not len(xy):
        return mask
    if np.abs(xy).max() > _FARTHEST:
        raise ValueError(f"a vertex at {np.abs(xy).max():g}")
    points = np.trunc(xy).astype(np.int64)
    before = np.roll(points, 1, axis=0)
    for start, end in zip(before.tolist(), points.tolist(), strict=True):
        columns, rows = _line(*start, *end)
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        mask[rows[inside], columns[inside]] = True
    _fill(mask, before, points)
    return mask


def _line(x0: int, y0: int, x1: int, y1: int) -> tuple[Points, Points]:
    """Bresenham's line as LineIterator walks it: from left to right, the long axis in steps of one."""
    if x1 < x0:
        x0, y0, x1, y1 = x1, y1, x0, y0
    dx, dy, down = x1 - x0, abs(y1 - y0), 1 if y1 >= y0 else -1
    long, short = max(dx, dy), min(dx, dy)
    steps = np.arange(long + 1)
    # The error starts at long - 2 short, and the short axis moves where it has become negative: ceil((2 k short - long) / (2 long)) times in k steps.
    moved = np.maximum(0, -((long - 2 * steps * short) // (2 * long))) if long else steps
    return (x0 + steps, y0 + down * moved) if dx >= dy else (x0 + moved, y0 + down * steps)


def _fill(mask: npt.NDArray[np.bool_], before: Points, after: Points) -> None:
    height, width = mask.shape
    upright = before[:, 1] != after[:, 1]
    top = np.where((before[:, 1] < after[:, 1])[:, None], before, after)[upright]
    bottom = np.where((before[:, 1] < after[:, 1])[:, None], after, before)[upright]
    rise = bottom[:, 1] - top[:, 1]
    run = (bottom[:, 0] - top[:, 0]) * _ONE
    slope = np.sign(run) * (np.abs(run) // np.maximum(1, rise))  # C's division truncates
    for y in range(max(0, int(top[:, 1].min(initial=height))), min(height, int(bottom[:, 1].max(initial=0)))):
        crossed = (top[:, 1] <= y) & (y < bottom[:, 1])
        crossings = np.sort(top[crossed, 0] * _ONE + (y - top[crossed, 1]) * slope[crossed])
        for left, right in zip(crossings[::2].tolist(), crossings[1::2].tolist(), strict=True):
            mask[y, max(0, -(-left >> _SHIFT)) : max(0, min(width, (right >> _SHIFT) + 1))] = True
