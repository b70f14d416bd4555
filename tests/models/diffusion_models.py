"""Tiny diffusion segmenters for tests, and photographs to put to them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from make_sd import tiny_architecture, write_repository, write_segmenter
from PIL import Image

from ldznet_bench.models.ldm_attention import load as load_ldm_attention
from ldznet_bench.models.ldznet import load_ldznet
from ldznet_bench.models.load import LoadRequest, ModelName
from ldznet_bench.models.segmenter import ImageInput, Pair, Segmenter
from ldznet_bench.models.segunet import rgbnet, znet

TINY = tiny_architecture()
CONFIGS = {"ldznet": TINY.segmenter, "znet": znet(TINY.segmenter), "rgbnet": rgbnet(TINY.segmenter)}


def write_weights(folder: Path) -> Path:
    """``sd/``, ``ldznet/``, ``znet/`` and ``rgbnet/`` under one folder."""
    write_repository(folder / "sd", TINY.sd)
    for family, config in CONFIGS.items():
        write_segmenter(folder / family, config)
    return folder


def request(weights: Path, family: str = "ldznet", recipe: str = "paper-deterministic", **options: object) -> LoadRequest:
    """What the registry would hand to the factory; `options` may name other ``parts``."""
    parts = {"sd": weights / "sd"} if family == "ldm-attention" else {family: weights / family, "sd": weights / "sd"}
    values = {"device": "cpu", "precision": "fp32", "micro_batch": 1, "home": weights / "home", "offline": True, **options}
    variant = values.pop("variant", "full")
    return LoadRequest(ModelName(family, variant, recipe), None, values.pop("parts", parts), **values)


def model(weights: Path, family: str = "ldznet", recipe: str = "paper-deterministic", **options: object) -> Segmenter:
    """A tiny segmenter."""
    load = load_ldm_attention if family == "ldm-attention" else load_ldznet
    return load(request(weights, family, recipe, **options))


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    """Noise with large patches, so that resizing leaves something."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (4, 6, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def given(image_id: str = "1", height: int = 90, width: int = 120, seed: int = 5) -> ImageInput:
    """An image as the loop gives it."""
    return ImageInput(image_id, height, width, seed, partial(picture, height, width, int(image_id)))


def pairs(segmenter: Segmenter, image: ImageInput, phrases: tuple[str, ...], seed: int = 9) -> list[Pair]:
    """Encoded pairs of one image; each phrase has a seed of its own."""
    encoded = segmenter.encode_image([image])[0]
    found = []
    for number, phrase in enumerate(phrases):
        text = segmenter.encode_text([segmenter.prompt(phrase, seed + number)])[0]
        found.append(Pair(f"{image.image_id}-{number}", phrase, image.height, image.width, seed + number, encoded, text))
    return found
