"""Noise fields, made once from a fixed seed and cropped at random: a field costs 20 µs, fresh noise 300."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from ldznet_bench.minicut.draws import Draws, seed_of
from ldznet_bench.minicut.scene import SIDE

_TILE = 320
Field = npt.NDArray[np.float32]


@functools.cache
def _tile(coarse: int) -> Field:
    """float32 (320, 320) of about unit spread: 0 white, otherwise smooth over about that many pixels."""
    raw = np.random.PCG64(seed_of("noise", coarse)).random_raw(_TILE * _TILE // 2)
    bits = raw.view(np.uint32).reshape(_TILE, _TILE)
    # The sum of four bytes is close enough to normal, and whole numbers are the same everywhere.
    total = sum(((bits >> np.uint32(8 * place)) & np.uint32(255)).astype(np.int64) for place in range(4))
    field = np.asarray(total, dtype=np.int64) - 510
    for axis in (0, 1) * 2 if coarse else ():
        ends = np.cumsum(np.concatenate([field, np.take(field, range(coarse), axis=axis)], axis=axis), axis=axis)
        field = np.take(ends, range(coarse, coarse + _TILE), axis=axis) - np.take(ends, range(_TILE), axis=axis)
    spread = max(1, int(np.abs(field).sum() // field.size))
    return (field.astype(np.float64) / (1.25 * spread)).astype(np.float32)


def field(draws: Draws, coarse: int = 0, side: int = SIDE) -> Field:
    """A random crop (side, side) of unit-spread noise; read only."""
    row, column = draws.below(_TILE - side + 1), draws.below(_TILE - side + 1)
    return _tile(coarse)[row : row + side, column : column + side]


def streaks(draws: Draws, down: int, across: int) -> Field:
    """Unit-spread noise (SIDE, SIDE) drawn out into streaks: a crop of the white field stretched by whole numbers."""
    rows, columns = SIDE // down + 1, SIDE // across + 1
    crop = field(draws, 0, max(rows, columns))[:rows, :columns]
    return np.repeat(np.repeat(crop, down, axis=0), across, axis=1)[:SIDE, :SIDE]
