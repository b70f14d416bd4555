"""First bytes and structure of every kind of file, right and wrong."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ldznet_bench.acquisition.content import MAX_PIXELS, describe, fault_of, is_html, looks_like
from ldznet_bench.acquisition.specs import Kind


def png(width: int = 8, height: int = 8, mode: str = "RGB", kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, kind, **options)
    return buffer.getvalue()


def packed() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a", "b" * 200)
    return buffer.getvalue()


def tensors(data: bytes = bytes(16)) -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    return struct.pack("<Q", len(header)) + header + data


GOOD: list[tuple[Kind, bytes]] = [
    ("json", b' \n[{"a": 1}]\n'),
    ("json", b'\xef\xbb\xbf{"a": 1}'),
    ("image", png()),
    ("image", png(kind="JPEG")),
    ("image", png(kind="WEBP")),
    ("zip", packed()),
    ("torch", packed()),
    ("torch", pickle.dumps({}, 2)),
    ("pickle", pickle.dumps([{"a": 1}], 0)),
    ("pickle", pickle.dumps([{"a": 1}], 2)),
    ("safetensors", tensors()),
    ("text", b"def f():\n    return 1\n"),
    ("any", b"\x00\x01"),
]
BAD: list[tuple[Kind, bytes, str]] = [
    ("json", b'[{"a": 1}, {"a":', "cut off"),
    ("json", b"<!DOCTYPE html><html>", "web page"),
    ("image", png()[:-6], "PNG is cut off"),
    ("image", png(kind="JPEG")[:-40], "does not decode"),
    ("image", b"GIF89a and nothing more", "does not decode"),
    ("zip", packed()[:-10], "cut off or broken"),
    ("pickle", pickle.dumps([{"a": 1}], 2)[:-3], "cut off"),
    ("safetensors", tensors(bytes(12)), "promises"),
    ("safetensors", struct.pack("<Q", 5) + b"{oops" + bytes(9), "header is broken"),
    ("text", b"\x00\x01binary", "not text"),
    ("torch", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "text that begins"),
]


@pytest.mark.parametrize(("kind", "content"), GOOD, ids=range(len(GOOD)))
def test_right_files(tmp_path: Path, kind: Kind, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    assert fault_of(tmp_path / "f", kind) is None


@pytest.mark.parametrize(("kind", "content", "fault"), BAD, ids=range(len(BAD)))
def test_wrong_files(tmp_path: Path, kind: Kind, content: bytes, fault: str) -> None:
    (tmp_path / "f").write_bytes(content)
    assert fault in (fault_of(tmp_path / "f", kind) or "")


@pytest.mark.parametrize(
    "content",
    [
        png(mode="CMYK", kind="JPEG"),
        png(mode="I;16"),
        png(mode="P"),
        png(mode="LA"),
        png(1, 300),
        png(kind="JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"),
    ],
    ids=["cmyk", "16-bit", "palette", "grey-alpha", "1xN", "exif-rotated"],
)
def test_odd_images_are_images(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    assert fault_of(tmp_path / "f", "image") is None


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [12_000, 60_000])
def test_decompression_bombs_are_refused_before_they_are_decoded(tmp_path: Path, side: int) -> None:
    content = bytearray(png(1, 1))
    content[16:24] = struct.pack(">II", side, side)
    import zlib

    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "f").write_bytes(content)
    assert side * side > MAX_PIXELS
    assert "bomb" in (fault_of(tmp_path / "f", "image") or "")


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html>", b"\n\n <HTML lang=en>", b"\xef\xbb\xbf<html>", b"<?xml version='1.0'?><Error>", b"<div><title>x"]
)
def test_pages(page: bytes) -> None:
    assert is_html(page)
    assert not looks_like(page, "any")


@given(st.binary(max_size=300))
def test_any_bytes_can_be_looked_at(content: bytes) -> None:
    for kind in ("json", "image", "zip", "tar", "pickle", "torch", "safetensors", "text", "any"):
        looks_like(content, kind)
    assert describe(content)
