"""Images become CLIPSeg's input exactly as transformers' Pillow processor and as the authors' data class make them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTImageProcessorPil

from ldznet_bench.errors import WeightsError
from ldznet_bench.models.clipseg_pixels import HfPixels, PaperPixels

GOLDEN = Path(__file__).parent.parent / "goldens" / "models" / "paper_pixels.npz"
SIZES = [(1, 1), (37, 501), (352, 352), (640, 480), (500, 333), (3, 3), (1000, 2), (351, 353)]  # width, height
MODES = ["L", "LA", "P", "RGBA", "1", "I;16", "CMYK"]

PUBLISHED = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "size": {"height": 352, "width": 352}}


def picture(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(size[0] * 1000 + size[1]).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    return Image.fromarray(values, "RGBA").convert("RGB").convert(mode) if mode != "RGBA" else Image.fromarray(values, "RGBA")


def write(folder: Path, values: Any, name: str = "preprocessor_config.json") -> Path:
    (folder / name).write_text(json.dumps(values))
    return folder


def theirs(values: dict[str, Any], image: Image.Image) -> torch.Tensor:
    return ViTImageProcessorPil(**values)(image, return_tensors="pt", input_data_format="channels_last").pixel_values


@pytest.mark.parametrize("size", SIZES)
def test_hf_pixels_are_transformers_own(tmp_path: Path, size: tuple[int, int]) -> None:
    image = picture(size)
    assert torch.equal(HfPixels.from_folder(write(tmp_path, PUBLISHED))(image), theirs(PUBLISHED, image))


@pytest.mark.parametrize(
    "values",
    [
        {**PUBLISHED, "resample": 3},
        {**PUBLISHED, "resample": 0},
        {**PUBLISHED, "do_rescale": False},
        {**PUBLISHED, "do_normalize": False},
        {**PUBLISHED, "rescale_factor": 1 / 127.5},
        {"size": {"height": 64, "width": 64}},
        {},
    ],
)
def test_every_value_of_the_file_counts(tmp_path: Path, values: dict[str, Any]) -> None:
    image = picture((90, 50))
    assert torch.equal(HfPixels.from_folder(write(tmp_path, values))(image), theirs(values, image))


def test_unscaled_bytes_stay_as_they_are(tmp_path: Path) -> None:
    values = {"do_rescale": False, "do_normalize": False, "size": 2}
    image = Image.fromarray(np.array([[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [255, 254, 253]]], dtype=np.uint8))
    pixels = HfPixels.from_folder(write(tmp_path, values))(image)
    assert pixels[0].permute(1, 2, 0).int().tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [255, 254, 253]]]


@pytest.mark.parametrize("recipe", [HfPixels(32, 2, 1 / 255, (0.5,) * 3, (0.5,) * 3), PaperPixels(32)])
@pytest.mark.parametrize("mode", MODES)
def test_other_modes_are_converted_as_pillow_converts(recipe: Any, mode: str) -> None:
    image = picture((21, 40)).convert("L").convert("I;16") if mode == "I;16" else picture((21, 40), mode)
    assert torch.equal(recipe(image), recipe(image.convert("RGB")))


def test_grey_images_have_three_equal_channels() -> None:
    pixels = PaperPixels(32)(picture((20, 20), "L"))
    restored = pixels * torch.tensor([0.229, 0.224, 0.225])[:, None, None] + torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    assert float((restored[:, 0] - restored[:, 2]).abs().max()) < 1e-6


def test_reads_the_file_of_2022(tmp_path: Path) -> None:
    values = {**PUBLISHED, "size": 352, "feature_extractor_type": "ViTFeatureExtractor"}
    assert HfPixels.from_folder(write(tmp_path, values)).size == 352


def test_reads_the_file_of_transformers_5(tmp_path: Path) -> None:
    ViTImageProcessorPil(**PUBLISHED).save_pretrained(tmp_path)
    flat = HfPixels.from_folder(tmp_path)
    values = json.loads((tmp_path / "preprocessor_config.json").read_text())
    (tmp_path / "preprocessor_config.json").unlink()
    write(tmp_path, {"image_processor": values, "processor_class": "CLIPSegProcessor"}, "processor_config.json")
    assert HfPixels.from_folder(tmp_path) == flat


def test_null_means_not_stated(tmp_path: Path) -> None:
    values = {**PUBLISHED, "do_center_crop": None, "resample": None}
    assert HfPixels.from_folder(write(tmp_path, values)).resample == 2


def test_description_is_json(tmp_path: Path) -> None:
    described = HfPixels.from_folder(write(tmp_path, PUBLISHED)).describe()
    assert json.loads(json.dumps(described)) == described


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({**PUBLISHED, "size": {"shortest_edge": 352}}, "size is {'shortest_edge': 352}"),
        ({**PUBLISHED, "size": {"height": 352, "width": 224}}, "needs a square"),
        ({**PUBLISHED, "size": 0}, "size is 0"),
        ({**PUBLISHED, "size": True}, "size is True"),
        ({**PUBLISHED, "do_center_crop": True}, "do_center_crop is set"),
        ({**PUBLISHED, "do_pad": True}, "do_pad is set"),
        ({**PUBLISHED, "do_resize": False}, "do_resize is off"),
        ({**PUBLISHED, "image_mean": [0.5]}, "three numbers each"),
        ([], "has no preprocessor_config.json nor processor_config.json with an image processor"),
    ],
)
def test_what_no_clipseg_processor_does(tmp_path: Path, values: Any, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        HfPixels.from_folder(write(tmp_path, values))


def test_a_folder_without_processor_points_to_the_paper_recipe(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"which the recipe hf needs.*clipseg\+paper"):
        HfPixels.from_folder(tmp_path)


def test_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"preprocessor_config.json cannot be read"):
        HfPixels.from_folder(tmp_path)


@pytest.mark.parametrize("image_id", ["2367081", "2366869"])  # colour and grey
def test_paper_pixels_are_the_authors_own(image_id: str) -> None:
    golden = np.load(GOLDEN)
    image = Image.open(io.BytesIO(golden[f"{image_id}_jpeg"].tobytes()))
    difference = np.abs(PaperPixels(48)(image)[0].numpy() - golden[f"{image_id}_pixels"])
    assert difference.max() <= 1 / 255 / 0.224 + 1e-6  # one JPEG level: decoders differ; 0 with Pillow 13


def test_paper_resizes_with_aligned_corners_and_no_antialiasing() -> None:
    values = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    pixels = PaperPixels(4)(Image.fromarray(values))
    corner = (torch.tensor(values[-1, -1]).float() / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(pixels[0, :, -1, -1], corner, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (20_000, 3), (1, 500)])
def test_extreme_shapes(size: tuple[int, int]) -> None:
    for recipe in (HfPixels(16, 2, 1 / 255, (0.5,) * 3, (0.5,) * 3), PaperPixels(16)):
        pixels = recipe(Image.new("RGB", size, (200, 100, 0)))
        assert pixels.shape == (1, 3, 16, 16)
        assert bool(pixels.isfinite().all())
