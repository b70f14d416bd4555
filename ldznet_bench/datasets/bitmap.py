"""Mask images of the truth: any non-zero stored value is foreground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ldznet_bench.errors import DataError


def read_bitmap(path: Path) -> npt.NDArray[np.bool_]:
    """A mask file as bool (h, w).

    Palette images count by their indices, colour images by any channel; where there is transparency, transparent pixels are background.

    Raises:
        DataError: absent, no image, or truncated.
    """
    try:
        with Image.open(path) as image:
            if image.mode in ("RGBA", "LA", "PA"):
                rgba = np.asarray(image.convert("RGBA"))
                values = rgba[..., :3] * (rgba[..., 3:] > 0)
            else:
                values = np.asarray(image)
    except FileNotFoundError as error:
        raise DataError(f"the mask {path} is missing.", "Put it there, or correct its name in the table.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"the mask {path} cannot be decoded: {error}.", "Save it again, as PNG.") from error
    mask: npt.NDArray[np.bool_] = values != 0
    if mask.ndim == 3:
        mask = np.logical_or.reduce(mask, axis=2)
    return mask
