"""Whether bytes are what a file name promises: by their first bytes on arrival, by their structure when whole."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from pathlib import Path

from ldznet_bench.acquisition.specs import Kind

HEAD_BYTES = 4096
MAX_PIXELS = 89_000_000
"""Images above this, where Pillow begins to warn, are refused before they are decoded: the largest photograph of any set here has 2 million."""

_IMAGE_HEADS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*")
_ZIP_HEADS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_HTML_MARKS = (b"<!doctype html", b"<html", b"<head", b"<body", b"<title", b"<script", b"<meta", b"<!-- ")
_MAX_SAFETENSORS_HEADER = 100_000_000


def looks_like(head: bytes, kind: Kind) -> bool:
    """Whether a file that begins with `head` can be of a kind. ``any`` is everything but a web page."""
    if kind == "image":
        return head.startswith(_IMAGE_HEADS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
    if kind == "zip":
        return head.startswith(_ZIP_HEADS)
    if kind == "tar":
        return head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ")) or head[257:262] == b"ustar"
    if kind == "pickle":
        return _is_pickle(head)
    if kind == "torch":
        return head.startswith(_ZIP_HEADS) or _is_pickle(head)
    if kind == "safetensors":
        return len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < _MAX_SAFETENSORS_HEADER
    if kind == "json":
        return _without_mark(head)[:1] in (b"{", b"[")
    if kind == "text":
        return not is_html(head) and b"\0" not in head
    return not is_html(head)


def is_html(head: bytes) -> bool:
    """Whether bytes begin like a web page (or like the XML of an object store's error)."""
    start = _without_mark(head)[:1024].lower()
    return start.startswith((*_HTML_MARKS, b"<?xml")) or (start.startswith(b"<") and any(mark in start for mark in _HTML_MARKS))


def describe(head: bytes) -> str:
    """What bytes look like, in words, for messages."""
    if not head:
        return "an empty file"
    if is_html(head):
        return "a web page"
    names: tuple[tuple[Kind, str], ...] = (
        ("zip", "a zip archive"),
        ("tar", "a tar archive"),
        ("image", "an image"),
        ("json", "JSON"),
        ("pickle", "a pickle"),
    )
    for kind, name in names:
        if looks_like(head, kind):
            return name
    text = head[:24]
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in text):
        return f"text that begins {text.decode('ascii').strip()!r}"
    return f"bytes that begin {text[:8].hex(' ')}"


def fault_of(path: Path, kind: Kind) -> str | None:
    """What is wrong with the structure of a whole file, in words; None if it is sound as far as its kind can tell.

    A server that states a wrong length leaves a file that begins well: each kind is also looked at from its other end.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if not looks_like(head, kind):
            return f"it is {describe(head)}, not {kind}"
        tail = _tail(file.fileno(), path.stat().st_size)
    if kind == "json" and tail.rstrip()[-1:] not in (b"}", b"]"):
        return "the JSON is cut off"
    if kind == "pickle" and not tail.endswith(b"."):
        return "the pickle is cut off"
    if kind == "zip" or (kind == "torch" and head.startswith(_ZIP_HEADS)):
        return _zip_fault(path)
    if kind == "safetensors":
        return _safetensors_fault(path)
    if kind == "image":
        # Pillow decodes a PNG to the last row without asking for its end.
        return "the PNG is cut off" if head.startswith(b"\x89PNG") and b"IEND" not in tail else image_fault(path)
    return None


def image_fault(path: Path) -> str | None:
    """What is wrong with an image file: not decodable to its last row, or a decompression bomb."""
    from PIL import Image, ImageFile  # here, for the start-up time of commands that touch no image

    try:
        with Image.open(path) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                return f"{width}x{height} pixels are more than {MAX_PIXELS:,} (a decompression bomb?)"
            if ImageFile.LOAD_TRUNCATED_IMAGES:
                return "Pillow is set to accept truncated images (ImageFile.LOAD_TRUNCATED_IMAGES), so they cannot be told"
            image.load()
    except Image.DecompressionBombError:
        return "it has too many pixels (a decompression bomb?)"
    except (OSError, SyntaxError, ValueError) as error:
        return f"it does not decode: {error}"
    return None


def _is_pickle(head: bytes) -> bool:
    # Protocols 2 to 5 say so in two bytes; REFER's Python-2 files are protocol 0 and begin with a mark, a list or a dict.
    if head[:1] == b"\x80":
        return head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    return head[:2] in (b"(l", b"(d", b"(i") or head[:1] in (b"]", b"}") or head[:2] == b"c_"


def _without_mark(head: bytes) -> bytes:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()


def _tail(descriptor: int, size: int) -> bytes:
    length = min(size, HEAD_BYTES)
    return os.pread(descriptor, length, size - length)


def _zip_fault(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path):
            return None
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        return f"the zip is cut off or broken ({error})"


def _safetensors_fault(path: Path) -> str | None:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        try:
            header = json.loads(file.read(length))
            ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            return "the safetensors header is broken"
    stated = 8 + length + max(ends, default=0)
    return None if stated == size else f"the safetensors header promises {stated} bytes, the file has {size}"
