"""How a photograph gets to a diffusion model's grid: the paper's square, or the size of the authors' notebook."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage


def square_pixels(image: PILImage, side: int) -> Tensor:
    """The paper's tests: (1, 3, side, side) in [-1, 1], squashed by torch, bilinear with aligned corners and without antialiasing.

    Source: `configs/ldznet/phrasecut_testdata_config.yaml` (384) and the authors' loader, which is CLIPSeg's.
    """
    pixels = _pixels(image)
    return pixels if pixels.shape[-2:] == (side, side) else F.interpolate(pixels, (side, side), mode="bilinear", align_corners=True)


def demo_pixels(image: PILImage, side: int, multiple: int) -> Tensor:
    """The authors' notebook: (1, 3, h, w) in [-1, 1], resized by Pillow's LANCZOS to `demo_size`."""
    height, width = demo_size(image.height, image.width, side, multiple)
    return _pixels(image.resize((width, height), Image.Resampling.LANCZOS))


def demo_size(height: int, width: int, side: int, multiple: int) -> tuple[int, int]:
    """The size that the authors' notebook resizes to: aspect kept, area at most side^2, both sides floored to a multiple.

    From an aspect of 37 on (384 px, 64) the authors' floor gives zero. Here the short side is then one `multiple`, and the long one at most
    what keeps the area within side^2: 2304x64.

    Args:
        height: rows of the photograph.
        width: columns.
        side: of the training square, 384.
        multiple: 64 for Stable Diffusion.

    Returns:
        (height, width).
    """
    ratio = height / width
    new_width = int(math.sqrt(side * side / ratio))
    new_height = int(ratio * new_width)
    longest = side * side // multiple // multiple * multiple
    floored = (max(length // multiple * multiple, multiple) for length in (new_height, new_width))
    fitted_height, fitted_width = (min(length, longest) for length in floored)
    return fitted_height, fitted_width


def _pixels(image: PILImage) -> Tensor:
    """(1, 3, H, W), float32: 2 * (x / 255) - 1, in this order, as the authors write it."""
    values = np.asarray(image.convert("RGB"), dtype=np.float32)
    return torch.from_numpy(values.transpose(2, 0, 1).copy())[None] / 255 * 2 - 1
