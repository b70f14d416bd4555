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
_MARKS = {b"\xff\xd8": b"\xff\xd9", b"\x89PNG": b"IEND"}  # how JPEG and PNG begin, how they end
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
    cut = _lacks_end(content)
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as opened:
            warnings.simplefilter("ignore")  # Pillow's about large images and odd metadata; neither makes a mask wrong
            width, height = opened.size
            if cut:
                opened.load()  # 50 times slower than the rest, so only where the end mark is absent, which decoders may forgive
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        what = "not an image file" if isinstance(error, UnidentifiedImageError) else str(error)
        return f"truncated: {what}" if (cut and _has_mark(content)) or "truncated" in what else f"unreadable: {what}"
    if (width, height) != (image.width, image.height):
        return f"size {width}x{height}, annotation says {image.width}x{image.height}"
    return ""


def _has_mark(content: bytes) -> bool:
    """Whether a file is empty or begins as a JPEG or PNG, so that what is wrong with it is where it ends."""
    return not content or content.startswith(tuple(_MARKS))


def _lacks_end(content: bytes) -> bool:
    """Whether the end mark of a JPEG or PNG is absent, as it is where the file is truncated; true for other kinds, which have none."""
    end = next((end for begin, end in _MARKS.items() if content.startswith(begin)), None)
    return end is None or end not in content[-_TAIL:]
