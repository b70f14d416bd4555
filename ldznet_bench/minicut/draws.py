"""Draws whose bytes are the same under every NumPy: PCG64's raw output, which NumPy keeps stable, and our own arithmetic on it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

VERSION = 1  # of the generator; grows when any image, phrase or caption changes
Choice = TypeVar("Choice")
_BLOCK = 256


def seed_of(*names: object) -> int:
    """The seed of anything that has a name: 128 bits of the sha256 of the generator's version and the names, joined by NUL."""
    return int.from_bytes(hashlib.sha256("\0".join(map(str, ("minicut", VERSION, *names))).encode()).digest()[:16])


class Draws:
    """A stream of draws of its own for whatever the names say."""

    def __init__(self, *names: object) -> None:
        self._bits = np.random.PCG64(seed_of(*names))
        self._block: list[int] = []

    def below(self, n: int) -> int:
        """A whole number in [0, n)."""
        if not self._block:
            self._block = self._bits.random_raw(_BLOCK).tolist()
        return ((self._block.pop() >> 32) * n) >> 32

    def between(self, low: int, high: int) -> int:
        """A whole number in [low, high]."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        """True in so many of a hundred draws."""
        return self.below(100) < percent

    def choice(self, values: Sequence[Choice]) -> Choice:
        """One of the values."""
        return values[self.below(len(values))]

    def weighted(self, values: dict[Choice, int]) -> Choice:
        """One of the keys, as often as its weight says."""
        left = self.below(sum(values.values()))
        for value, weight in values.items():
            left -= weight
            if left < 0:
                return value
        raise AssertionError("weights changed while they were read")

    def shuffled(self, values: Sequence[Choice]) -> list[Choice]:
        """The values in another order."""
        mixed = list(values)
        for last in range(len(mixed) - 1, 0, -1):
            other = self.below(last + 1)
            mixed[last], mixed[other] = mixed[other], mixed[last]
        return mixed
