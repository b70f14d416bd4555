"""A segmenter without weights that listens: a pixel scores by how near it is to the colour that the phrase names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ldznet_bench.models.load import LoadRequest
from ldznet_bench.models.segmenter import ImageInput, Pair, Segmenter

COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 180, 60),
    "blue": (50, 80, 220),
    "yellow": (230, 210, 50),
    "white": (250, 250, 250),
    "black": (10, 10, 10),
}


class Colour(Segmenter):
    """Encodes an image to its pixels and a phrase to a colour; decodes a pair to exp(-distance)."""

    def __init__(self, name: str, softness: float = 60.0) -> None:
        self.name = name
        self.softness = softness
        # Everything that changes a score belongs here: it is part of a run's identity.
        self.recipe = {"softness": softness, "rule": 1}

    def encode_image(self, images: Sequence[ImageInput]) -> list[npt.NDArray[np.float32]]:
        """RGB values, float32 (h, w, 3), at the file's own size; the protocol does the only resize."""
        return [np.asarray(image.rgb, np.float32) for image in images]

    def encode_text(self, prompts: Sequence[str]) -> list[tuple[int, int, int] | None]:
        """The first colour that is named, or None."""
        return [next((COLOURS[word] for word in prompt.lower().split() if word in COLOURS), None) for prompt in prompts]

    def decode(self, pairs: Sequence[Pair]) -> list[npt.NDArray[np.float32]]:
        """Score maps in [0, 1], on the image's own grid; nothing where no colour is named."""
        return [self._score(pair) for pair in pairs]

    def _score(self, pair: Pair) -> npt.NDArray[np.float32]:
        if pair.text is None:
            return np.zeros(pair.image.shape[:2], np.float32)
        distance = np.linalg.norm(pair.image - np.asarray(pair.text, np.float32), axis=2)
        return np.exp(-distance / self.softness).astype(np.float32)


def load(request: LoadRequest) -> Colour:
    """The factory that the entry point names. `request` also brings weights, device, precision and home for models that need them."""
    return Colour(str(request.name))
