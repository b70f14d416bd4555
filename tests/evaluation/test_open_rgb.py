"""Images as they come: every mode that Pillow opens, EXIF rotation left alone, one pixel wide, broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ldznet_bench.datasets.sample import ImageFile
from ldznet_bench.errors import DataError
from ldznet_bench.evaluation.images import open_rgb

RAMP = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (30, 1))


def opened(path: Path) -> np.ndarray:
    image = open_rgb(ImageFile("7", path, 30, 40))
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_modes_that_pillow_converts(tmp_path: Path, mode: str) -> None:
    stored = Image.fromarray(RAMP).convert(mode)
    stored.save(tmp_path / "a.png")
    assert (opened(tmp_path / "a.png") == np.asarray(stored.convert("RGB"))).all()


def test_cmyk(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([RAMP] * 3)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert np.abs(opened(tmp_path / "a.jpg").astype(int) - RAMP[..., None]).max() < 12


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bit_grey_keeps_its_high_byte(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(RAMP.astype(np.uint16) << 8).save(tmp_path / f"a.{suffix}")
    assert (opened(tmp_path / f"a.{suffix}") == RAMP[..., None]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_not_applied(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RAMP).save(tmp_path / "a.png", exif=exif)
    assert (opened(tmp_path / "a.png") == RAMP[..., None]).all()


@pytest.mark.parametrize("size", [(1, 300), (300, 1), (1, 1)])
def test_one_pixel_wide(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("L", size, 9).save(tmp_path / "a.png")
    assert opened(tmp_path / "a.png").shape == (size[1], size[0], 3)


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff\xe0 cut"])
def test_what_is_no_image_names_its_id(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match="image '7' cannot be decoded"):
        opened(tmp_path / "a.jpg")
