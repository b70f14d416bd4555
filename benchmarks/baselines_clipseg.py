"""The field's idiom for CLIPSeg: every (image, phrase) pair goes through the whole network, in one batch, as transformers' documentation does it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPSegForImageSegmentation, CLIPSegProcessor, ViTImageProcessorPil


class TransformersPairs:
    """CLIPSegProcessor and CLIPSegForImageSegmentation over pairs."""

    def __init__(self, folder: Path) -> None:
        self.model = CLIPSegForImageSegmentation.from_pretrained(folder).eval()
        self.processor = CLIPSegProcessor(ViTImageProcessorPil.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))

    def __call__(self, image: Image.Image, phrases: Sequence[str]) -> torch.Tensor:
        """Probabilities (phrases, 352, 352)."""
        inputs = self.processor(text=list(phrases), images=[image] * len(phrases), padding=True, return_tensors="pt")
        with torch.no_grad():
            logits = self.model(**inputs).logits
        return logits.reshape(len(phrases), *logits.shape[-2:]).sigmoid()
