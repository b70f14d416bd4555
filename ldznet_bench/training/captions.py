"""Captioned images without masks, for the autoencoder, the text-image encoder and the diffusion model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ldznet_bench.errors import unknown_name
from ldznet_bench.training.draws import sample_at

STREAMS = ("minicut-captions",)


class Captions:
    """A stream of captioned images, drawn as they are asked for.

    Args:
        name: of the stream.
        part: ``train``, or ``val`` for the held-out images.
        seed: of the training: the order.
        images: how many different ones; None makes every sample a new one.
    """

    def __init__(self, name: str, part: str, seed: int, images: int | None) -> None:
        if name not in STREAMS:
            raise unknown_name("caption stream", name, STREAMS)
        from ldznet_bench.minicut import captioned

        self._draw: Callable[[str, int], tuple[np.ndarray, str]] = captioned
        self._part, self._seed, self.images = part, seed, images

    def index(self, position: int) -> int:
        """Which image stands at a place of the training."""
        return sample_at(self._seed, self.images, position)

    def batch(self, positions: Sequence[int]) -> tuple[Tensor, list[str]]:
        """Images (B, 3, H, W) in [-1, 1] and their captions."""
        pairs = [self._draw(self._part, self.index(position)) for position in positions]
        return to_pixels([image for image, _ in pairs]), [caption for _, caption in pairs]


def to_pixels(images: Sequence[np.ndarray]) -> Tensor:
    """uint8 (H, W, 3) images to float32 (B, 3, H, W) in [-1, 1], as `square_pixels` makes them."""
    stacked = np.stack(images).astype(np.float32).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(stacked)) / 255 * 2 - 1
