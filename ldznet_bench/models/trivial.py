"""Segmenters without weights: the rows that show what a number means, and prove the loop. No torch here.

Every score map lies on the annotation canvas. Draws come from numpy's PCG64 bit generator seeded with `Pair.seed`, read through its raw
64-bit stream, and are turned into numbers by the arithmetic below: numpy guarantees raw streams across versions, but not what
`Generator.integers` or `Generator.random` make of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from ldznet_bench.models.segmenter import ImageInput, Pair, Segmenter

if TYPE_CHECKING:
    from ldznet_bench.models.load import LoadRequest

Map = npt.NDArray[np.float32]


class WeightFree(Segmenter):
    """A rule instead of a network: neither image nor text is encoded, so no image file is opened.

    Batching cannot change a bit (`micro_batch` is None): each map depends on its own canvas size and seed alone.
    """

    binary = True

    def __init__(self) -> None:
        # Part of a cell's identity: it grows when the rule below changes.
        self.recipe: dict[str, Any] = {"rule": 1}

    def encode_image(self, images: Sequence[ImageInput]) -> list[None]:
        """Nothing."""
        return [None] * len(images)

    def encode_text(self, prompts: Sequence[str]) -> list[None]:
        """Nothing."""
        return [None] * len(prompts)

    def decode(self, pairs: Sequence[Pair]) -> list[Map]:
        """One float32 (height, width) map per pair, values 0 and 1 (`Noise`: in [0, 1))."""
        return [self.score(pair.height, pair.width, pair.seed) for pair in pairs]

    def score(self, height: int, width: int, seed: int) -> Map:
        """The map of one sample."""
        raise NotImplementedError


class Oracle(WeightFree):
    """A marker: evaluation predicts the protocol's own target, so that a perfect score shows what the protocol calls perfect."""

    name = "oracle"

    def decode(self, pairs: Sequence[Pair]) -> NoReturn:
        """Never called.

        Raises:
            TypeError: always; a segmenter does not know the truth.
        """
        raise TypeError("the oracle does not see the truth: evaluation builds its prediction from the protocol's target")


class Empty(WeightFree):
    """No pixel."""

    name = "empty"

    def score(self, height: int, width: int, seed: int) -> Map:
        """All 0."""
        return np.zeros((height, width), dtype=np.float32)


class Full(WeightFree):
    """Every pixel."""

    name = "full"

    def score(self, height: int, width: int, seed: int) -> Map:
        """All 1."""
        return np.ones((height, width), dtype=np.float32)


class Center(WeightFree):
    """The box of half the height and half the width in the middle of the canvas.

    Half is rounded up, so no canvas gives an empty box: ``(n + 1) // 2`` pixels from ``n // 4`` on.
    """

    name = "center"

    def score(self, height: int, width: int, seed: int) -> Map:
        """1 inside the box, 0 outside."""
        return _box(height, width, _middle(height), _middle(width))


class Box(WeightFree):
    """A random box, drawn as PhraseCut's example predictor draws: two corners, each uniform over the canvas.

    The first four raw 64-bit numbers of the sample's PCG64 stream are, in order, two columns and two rows; a number u stands for pixel
    ``(u * n) >> 64`` of n. The box reaches from the smaller to the larger of each pair, both included, so it is never empty.
    """

    name = "box"
    streams = ("box",)

    def score(self, height: int, width: int, seed: int) -> Map:
        """1 inside the box, 0 outside."""
        draws = [int(value) for value in np.random.PCG64(seed).random_raw(4)]
        x0, x1 = sorted((draw * width) >> 64 for draw in draws[:2])
        y0, y1 = sorted((draw * height) >> 64 for draw in draws[2:])
        return _box(height, width, slice(y0, y1 + 1), slice(x0, x1 + 1))


class Noise(WeightFree):
    """A uniform random score per pixel: the stochastic, dense row that proves a run's draws do not depend on how it was run.

    Pixel k in row-major order takes the k-th raw 64-bit number of the sample's PCG64 stream; its 24 highest bits over 2**24 are the
    score: exact in float32, uniform on [0, 1).
    """

    name = "noise"
    binary = False
    streams = ("scores",)

    def score(self, height: int, width: int, seed: int) -> Map:
        """Uniform in [0, 1)."""
        raw = np.random.PCG64(seed).random_raw(height * width)
        scores: Map = ((raw >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)).reshape(height, width)
        return scores


WEIGHT_FREE: dict[str, Callable[[], WeightFree]] = {kind.name: kind for kind in (Oracle, Empty, Full, Center, Box, Noise)}


def load(request: LoadRequest) -> WeightFree:
    """The factory of every card here: the class of that name. Device, precision and micro-batch do not apply."""
    return WEIGHT_FREE[request.name.family]()


def _middle(size: int) -> slice:
    return slice(size // 4, size // 4 + (size + 1) // 2)


def _box(height: int, width: int, rows: slice, columns: slice) -> Map:
    scores = np.zeros((height, width), dtype=np.float32)
    scores[rows, columns] = 1
    return scores
