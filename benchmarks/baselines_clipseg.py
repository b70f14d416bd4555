"""The field's idiom for CLIPSeg: the processor and the model called on (image, phrase) pairs in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL.Image import Image


def pairs_at_once(model: Any, pixels: Any, tokenizer: Any, image: Image, phrases: Sequence[str]) -> torch.Tensor:
    """Logits (n, h, w) of one image under n phrases: the image is repeated for every phrase."""
    values = pixels(image).repeat(len(phrases), 1, 1, 1)
    tokens = tokenizer(list(phrases), padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        logits = model(pixel_values=values, input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).logits
    return logits.reshape(len(phrases), *logits.shape[-2:])
