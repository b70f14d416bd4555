"""Decoding a dataset's image, or saying which one cannot be."""

from __future__ import annotations

from PIL import Image, UnidentifiedImageError

from ldznet_bench.datasets.sample import ImageFile
from ldznet_bench.errors import DataError


def open_rgb(image: ImageFile) -> Image.Image:
    """The image as RGB (PIL ``convert("RGB")``), unrotated: annotations are for the stored pixels, whatever EXIF says.

    Raises:
        DataError: the file is missing, truncated or no image; the image id and the path are named.
    """
    try:
        with Image.open(image.path) as file:
            return file.convert("RGB")
    except FileNotFoundError as error:
        raise DataError(f"image {image.image_id!r} is missing: {image.path}.", "Put the file there and repeat the command.") from error
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError, ValueError) as error:
        raise DataError(
            f"image {image.image_id!r} cannot be decoded: {image.path} ({error}).",
            "Fetch the file again and repeat the command; it continues.",
        ) from error
