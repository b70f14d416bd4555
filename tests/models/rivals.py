"""What the tests of the rivals share: pictures, inputs, pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from ldznet_bench.models.segmenter import ImageInput, Pair, Segmenter

PHRASES = ("a black dog", "wooden table", "man in red shirt on the left", "sky")
SIZES = {"landscape": (160, 90), "portrait": (61, 140), "square": (64, 64), "pixel": (1, 1)}


def picture(name: str) -> Image.Image:
    width, height = SIZES[name]
    coarse = np.random.default_rng(len(name)).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def image_input(image: Image.Image) -> ImageInput:
    return ImageInput("i", image.height, image.width, 0, lambda: image)


def make_pairs(segmenter: Segmenter, names: Sequence[str], phrases: Sequence[str] = PHRASES) -> list[Pair]:
    images = [picture(name) for name in names]
    encoded = segmenter.encode_image([image_input(image) for image in images])
    texts = segmenter.encode_text([segmenter.prompt(phrase, 0) for phrase in phrases])
    return [
        Pair(f"{name}-{phrase}", phrase, image.height, image.width, 0, features, text)
        for name, image, features in zip(names, images, encoded, strict=True)
        for phrase, text in zip(phrases, texts, strict=True)
    ]


def in_batches(segmenter: Segmenter, pairs: Sequence[Pair]) -> list[torch.Tensor]:
    size = segmenter.micro_batch or len(pairs)
    return [scores for start in range(0, len(pairs), size) for scores in segmenter.predict(pairs[start : start + size])]


def count_calls(module: torch.nn.Module) -> list[int]:
    """A list that grows with every call of a module."""
    calls: list[int] = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


def deviation(ours: Any, theirs: Any) -> float:
    return float((ours.float() - theirs.float()).abs().max() / theirs.float().std())
