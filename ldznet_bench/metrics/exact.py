"""Means that do not depend on the order of their terms: the last bit of a summary must not change with batches, processes or resumption."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Two limbs of 44 bits after the point. An IoU that is not 0 is at least 1 / pixels, so its float64 ends above bit 88 for every canvas of
# under 2**35 pixels: the sum is exact there, and elsewhere each term is cut at bit 88 by itself, which no order can change.
_LIMB = 44
_ROWS = 1 << (63 - _LIMB - 1)  # that many limbs of at most 2**44 cannot overflow an int64


class ExactMean:
    """The mean of values in [0, 1], exact until the last division, which rounds correctly.

    Floating-point sums depend on their order. These are integers in units of 2**-88, so that any split and order of the same values gives
    the same bits, in a few words of memory.

    Args:
        width: how many means are taken side by side.
    """

    def __init__(self, width: int = 1) -> None:
        self.n = 0
        self.totals = [0] * width

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """Takes in rows of values.

        Args:
            values: float64 (n, width) in [0, 1]; (n,) where the width is 1.
        """
        rows = values.reshape(len(values), len(self.totals))
        for start in range(0, len(rows), _ROWS):
            scaled = np.ldexp(rows[start : start + _ROWS], _LIMB)
            high = np.floor(scaled)
            low = np.floor(np.ldexp(scaled - high, _LIMB))
            limbs = zip(_column_sums(high), _column_sums(low), strict=True)
            self.totals = [total + (h << _LIMB) + lo for total, (h, lo) in zip(self.totals, limbs, strict=True)]
        self.n += len(rows)

    def means(self) -> list[float]:
        """One mean per column.

        Raises:
            ZeroDivisionError: nothing was added.
        """
        return [total / (self.n << 2 * _LIMB) for total in self.totals]


def _column_sums(limbs: npt.NDArray[Any]) -> list[int]:
    sums: list[int] = limbs.astype(np.int64).sum(axis=0).tolist()
    return sums
