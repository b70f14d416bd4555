"""Nearest-neighbour resizing of truth masks, as the two evaluators that count on a square canvas do it. Torch-free."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image


def nearest_floor(mask: npt.NDArray[np.bool_], height: int, width: int) -> npt.NDArray[np.bool_]:
    """CLIPSeg's and LD-ZNet's: equal to ``torch.nn.functional.interpolate(mode="nearest")``.

    Output i takes input floor(i * s) where s = in / out and the product are rounded to float32, as torch computes them; in float64
    16 of the 352 rows of an image of 480 would be others.

    Args:
        mask: bool (h, w).
        height: rows of the result.
        width: columns of the result.

    Returns:
        bool (height, width), C-contiguous, writable.
    """
    rows = _floor_indices(mask.shape[0], height)
    columns = _floor_indices(mask.shape[1], width)
    return mask[rows].take(columns, axis=1)


def nearest_pil(mask: npt.NDArray[np.bool_], height: int, width: int) -> npt.NDArray[np.bool_]:
    """LAVT's (data/dataset_refer_bert.py): Pillow's NEAREST, which accumulates the source position and so rounds differently.

    Args:
        mask: bool (h, w).
        height: rows of the result.
        width: columns of the result.

    Returns:
        bool (height, width), C-contiguous, writable.
    """
    image = Image.fromarray(np.ascontiguousarray(mask).view(np.uint8))
    return np.array(image.resize((width, height), Image.Resampling.NEAREST)).view(np.bool_)


def _floor_indices(size: int, out: int) -> npt.NDArray[np.intp]:
    scale = np.float32(size) / np.float32(out)
    source = np.floor(np.arange(out, dtype=np.float32) * scale).astype(np.intp)
    clamped: npt.NDArray[np.intp] = np.minimum(source, size - 1)
    return clamped
