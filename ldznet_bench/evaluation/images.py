"""Decoding a dataset's image, or saying which one cannot be."""

from __future__ import annotations

import numpy as np
from PIL import Image, UnidentifiedImageError

from ldznet_bench.datasets.sample import ImageFile
from ldznet_bench.errors import DataError


def open_rgb(image: ImageFile) -> Image.Image:
    """The image as RGB (PIL ``convert("RGB")``), unrotated: annotations are for the stored pixels, whatever EXIF says.

    16-bit grey keeps its high byte; Pillow would clip at 255, which makes it white.

    Raises:
        DataError: the file is missing, truncated or no image; the image id and the path are named.
    """
    try:
        with Image.open(image.path) as file:
            if file.mode.startswith("I"):
                return Image.fromarray((np.asarray(file) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
            return file.convert("RGB")
    except FileNotFoundError as error:
        raise DataError(f"image {image.image_id!r} is missing: {image.path}.", "Put the file there and repeat the command.") from error
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError, ValueError) as error:
        raise DataError(
            f"image {image.image_id!r} cannot be decoded: {image.path} ({error}).",
            "Fetch the file again and repeat the command; it continues.",
        ) from error
