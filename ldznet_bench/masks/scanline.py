"""The union of polygons, pixel for pixel as ``skimage.draw.polygon2mask`` draws each, a hundred times faster at PhraseCut sizes.

What scikit-image computes (0.18 to 0.26; skimage/_shared/geometry.pyx, after O'Rourke, Computational Geometry in C, chapter 7): the centre
of pixel (row, x) is at integer coordinates; an edge from (x1, y1) to (x0, y0), relative to that centre, crosses the row at

    E = (x0 * y1 - x1 * y0) / (y1 - y0)

right of the pixel where E > 0, left where E < 0. An edge counts to the right on rows low <= row < high and to the left on rows
low < row <= high, with low and high its ends. A pixel is in the mask where either count is odd, or within 1e-12 of a vertex.

Here each edge is intersected once with each row it meets, instead of with each pixel. The crossing tells on which side every pixel of the
row lies, except one within rounding of it: there E itself is evaluated, so that even noise decides as in scikit-image. Each crossing
becomes a toggle of the two parities at one pixel; sorted along the mask, with two bits of state a polygon, the toggles of up to 32 polygons
are the boundaries of their union. No loop runs over rows, edges or polygons.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_RIGHT, _LEFT = 1, 2  # the parity of crossings to the right, and to the left
_BOTH = _RIGHT | _LEFT
_STATE_BITS = 2
_OWNER_BITS = 5
_AT_ONCE = 1 << _OWNER_BITS  # polygons whose states fit into 64 bits
_PAYLOAD_BITS = _OWNER_BITS + _STATE_BITS

# Rounding moves a crossing by a few 1e-16 of the coordinates: under 1e-9 pixels as long as those stay under 1e6.
_NEAR = 1e-6
_LARGEST = 1e6
# Under this height of an edge the products of E underflow, and its sign can be wrong anywhere on the row.
_FLATTEST = 1e-290
_VERTEX = 1e-12


class _Edges(NamedTuple):
    """Edges that meet a row of the canvas; every field is (edges,)."""

    owner: Ints  # index of the polygon
    x: Floats
    y: Floats
    from_x: Floats
    from_y: Floats
    low: Floats
    high: Floats
    first: Floats  # row, integral
    last: Floats  # row, integral


class _Toggles(NamedTuple):
    """Where parities change: every field is (toggles,)."""

    row: Ints
    column: Floats  # integral
    payload: Ints  # owner and parities


def union(polygons: Sequence[Floats], height: int, width: int) -> npt.NDArray[np.bool_]:
    """The union of ``polygon2mask((height, width), polygon[:, ::-1])`` over polygons.

    Args:
        polygons: float64 (n, 2) each, (x, y), finite. Parts outside the canvas are not drawn. With one or two points only vertices at pixel
            centres are drawn, as in scikit-image; without points, where scikit-image raises, nothing.
        height: rows of the canvas.
        width: columns of the canvas.

    Returns:
        bool (height, width), C-contiguous, writable.
    """
    polygons = [polygon for polygon in polygons if len(polygon)]
    mask = np.zeros((height, width), dtype=np.bool_)
    for start in range(0, len(polygons), _AT_ONCE):
        part = _union_of_some(polygons[start : start + _AT_ONCE], height, width)
        mask = part if start == 0 else mask | part
    return mask


def _union_of_some(polygons: Sequence[Floats], height: int, width: int) -> npt.NDArray[np.bool_]:
    points = np.concatenate(polygons)
    sizes = np.array([len(polygon) for polygon in polygons])
    x, y = np.ascontiguousarray(points.T)
    edges = _edges(x, y, sizes, height)
    if _beyond_rounding(points, edges):
        return _by_skimage(polygons, height, width)
    mask = _between_toggles(_crossings(edges), height, width)
    _mark_vertices(mask, x, y)
    return mask


def _edges(x: Floats, y: Floats, sizes: Ints, height: int) -> _Edges:
    ends = np.cumsum(sizes)
    previous = np.arange(-1, x.size - 1)
    previous[ends - sizes] = ends - 1
    from_y = y[previous]
    low, high = np.minimum(y, from_y), np.maximum(y, from_y)
    first, last = np.maximum(np.ceil(low), 0), np.minimum(np.floor(high), height - 1)
    kept = np.flatnonzero((first <= last) & (low < high))
    owner = np.repeat(np.arange(sizes.size), sizes)[kept]
    floats = (x, y, x[previous], from_y, low, high, first, last)
    return _Edges(owner, *(field[kept] for field in floats))


def _beyond_rounding(points: Floats, edges: _Edges) -> bool:
    """Whether crossings cannot be told to `_NEAR`: coordinates of millions of pixels, or edges that are level but for underflow."""
    too_large = max(points.max(), -points.min()) > _LARGEST
    return bool(too_large or (edges.high - edges.low).min(initial=1.0) < _FLATTEST)


def _crossings(edges: _Edges) -> _Toggles:
    """The toggles of every (edge, row) that meet."""
    first = edges.first.astype(np.int64)
    counts = edges.last.astype(np.int64) - first + 1
    stops = np.cumsum(counts)
    starts = stops - counts
    edge = np.repeat(np.arange(counts.size), counts)
    row = np.arange(edge.size) + (first - starts)[edge]
    slope = (edges.x - edges.from_x) / (edges.y - edges.from_y)
    crossing = edges.x[edge] + (row - edges.y[edge]) * slope[edge]

    parities = np.full(edge.size, _BOTH)
    parities[starts[edges.low == edges.first]] = _RIGHT  # the row of the lower end counts to the right only,
    parities[stops[edges.high == edges.last] - 1] = _LEFT  # that of the higher end to the left only
    column = np.ceil(crossing)  # the first pixel with the crossing on its left, in both senses
    nearest = np.rint(crossing)
    near = np.flatnonzero(np.abs(crossing - nearest) < _NEAR)
    side = _side(edges, edge[near], row[near], nearest[near])
    column[near] = nearest[near] + (side > 0)

    # A pixel on the edge has the crossing neither left nor right: counts to the left change one pixel later.
    on_edge = near[side == 0]
    later = _Toggles(row[on_edge], column[on_edge] + 1, parities[on_edge] & _LEFT)
    parities[on_edge] &= _RIGHT
    payload = (edges.owner << _STATE_BITS)[edge]
    return _Toggles(
        np.concatenate((row, later.row)),
        np.concatenate((column, later.column)),
        np.concatenate((payload | parities, payload[on_edge] | later.payload)),
    )


def _side(edges: _Edges, edge: Ints, row: Ints, x: Floats) -> Floats:
    """E of the module's docstring at given pixels: its sign is scikit-image's to the last bit."""
    x0, y0 = edges.x[edge] - x, edges.y[edge] - row
    x1, y1 = edges.from_x[edge] - x, edges.from_y[edge] - row
    side: Floats = (x0 * y1 - x1 * y0) / (y1 - y0)
    return side


def _between_toggles(toggles: _Toggles, height: int, width: int) -> npt.NDArray[np.bool_]:
    # A row has an even number of toggles of each parity of each polygon, so at its end, which is the next row's start, all are even.
    column = np.clip(toggles.column, 0, width).astype(np.int64)
    keys = ((toggles.row * width + column) << _PAYLOAD_BITS) | toggles.payload
    keys.sort()
    shift = (keys >> _STATE_BITS & (_AT_ONCE - 1)) * _STATE_BITS
    state = np.bitwise_xor.accumulate((keys & _BOTH) << shift)
    inside = np.concatenate(((False,), state != 0))
    ends = np.concatenate((keys >> _PAYLOAD_BITS, (height * width,)))
    return np.repeat(inside, np.diff(ends, prepend=0)).reshape(height, width)


def _mark_vertices(mask: npt.NDArray[np.bool_], x: Floats, y: Floats) -> None:
    height, width = mask.shape
    column, row = np.rint(x), np.rint(y)
    centred = (np.abs(x - column) < _VERTEX) & (np.abs(y - row) < _VERTEX)
    centred &= (column >= 0) & (column < width) & (row >= 0) & (row < height)
    mask[row[centred].astype(np.int64), column[centred].astype(np.int64)] = True


def _by_skimage(polygons: Sequence[Floats], height: int, width: int) -> npt.NDArray[np.bool_]:
    from skimage.draw import polygon2mask  # half a second to import, and no real release needs it

    mask = np.zeros((height, width), dtype=np.bool_)
    for polygon in polygons:
        mask |= polygon2mask((height, width), polygon[:, ::-1])  # type: ignore[no-untyped-call]
    return mask
