"""Is an image file there, whole, and of the annotated size? Asked once, when a set is prepared."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from PIL import Image, UnidentifiedImageError

from ldznet_bench.datasets.sample import ImageFile
from ldznet_bench.datasets.store import Stat, stat_of

MISSING = "missing"
_TAIL = 4096  # some cameras write up to this much behind the end of the image
_AT_ONCE = 64  # images in flight, so that memory stays flat


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found.

    Attributes:
        stat: of the file, taken before it was read; None where it is absent.
        sha256: of its bytes, hex; None where it is absent.
        problem: empty, "missing", "truncated…", "unreadable…", or "size 640x480, annotation says 640x427" (width x height).
    """

    stat: Stat | None
    sha256: str | None
    problem: str


def check_images(images: Iterable[ImageFile]) -> Iterator[Checked]:
    """`check_image` over many, in order; reading and hashing run in threads."""
    workers = min(8, os.cpu_count() or 1)
    pending = iter(images)
    with ThreadPoolExecutor(workers) as pool:
        while batch := list(islice(pending, _AT_ONCE)):
            yield from pool.map(check_image, batch)


def check_image(image: ImageFile) -> Checked:
    """Hash a file and hold it against its annotation. No EXIF rotation is applied: annotations are for the stored pixels."""
    stat = stat_of(image.path)
    if stat is None:
        return Checked(None, None, MISSING)
    try:
        content = image.path.read_bytes()
    except OSError as error:
        return Checked(stat, None, f"unreadable: {error.strerror}")
    return Checked(stat, hashlib.sha256(content).hexdigest(), _problem(content, image))


def _problem(content: bytes, image: ImageFile) -> str:
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as opened:
            warnings.simplefilter("ignore")  # Pillow's about large images and odd metadata; neither makes a mask wrong
            width, height = opened.size
            if not _has_end(content, opened.format):
                opened.load()
    except UnidentifiedImageError:
        return "unreadable: not an image file" if content else "truncated: the file is empty"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"{'truncated' if 'truncated' in str(error) else 'unreadable'}: {error}"
    if (width, height) != (image.width, image.height):
        return f"size {width}x{height}, annotation says {image.width}x{image.height}"
    return ""


def _has_end(content: bytes, kind: str | None) -> bool:
    """Whether a JPEG or PNG has its end mark, which a truncated one lacks; decoding is 50 times slower and done only where it is absent."""
    tail = content[-_TAIL:]
    return (kind == "JPEG" and b"\xff\xd9" in tail) or (kind == "PNG" and b"IEND" in tail)
