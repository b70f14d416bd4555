"""SAM 3 through the sealed interface, held against transformers' own forward and post-processing on seeded random weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from make_rivals import sam3_config, write_sam3
from rivals import PHRASES, SIZES, count_calls, deviation, in_batches, make_pairs, picture
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer, Sam3Model

from ldznet_bench.errors import BenchError, BenchWarning, WeightsError
from ldznet_bench.models.card import model_card
from ldznet_bench.models.clipseg_pixels import HfPixels
from ldznet_bench.models.load import load_model
from ldznet_bench.models.sam3 import Sam3, instance_scores, united


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sam3(tmp_path_factory.mktemp("sam3"))


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A copy of the folder that the test may spoil."""
    return shutil.copytree(folder, tmp_path / "sam3")


def load(folder: Path, name: str = "sam3", **options: Any) -> Sam3:
    segmenter = load_model(name, weights={"sam3": folder}, **options)
    assert isinstance(segmenter, Sam3)
    return segmenter


def reference(folder: Path, name: str, phrase: str) -> Any:
    """transformers' idiom: image and text in one call."""
    model = Sam3Model.from_pretrained(folder).eval()
    tokens = CLIPTokenizer.from_pretrained(folder)([phrase], padding="max_length", max_length=32, return_tensors="pt")
    with torch.no_grad():
        return model(pixel_values=HfPixels.from_folder(folder)(picture(name)), **tokens)


def united_slowly(found: Any, size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """What the authors' image processor does, one instance and one pixel at a time in words: sure enough, resized, above a half."""
    union = np.zeros(size, dtype=bool)
    for query in range(found.pred_logits.shape[1]):
        score = 1 / (1 + np.exp(-float(found.pred_logits[0, query]))) * (1 / (1 + np.exp(-float(found.presence_logits[0, 0]))))
        if score > 0.5:
            resized = torch.nn.functional.interpolate(found.pred_masks[:, query : query + 1], size, mode="bilinear", align_corners=False)
            union |= resized[0, 0].numpy() > 0
    return union


@pytest.mark.parametrize("name", SIZES)
def test_the_dense_map_is_transformers_own_bit_for_bit(folder: Path, name: str) -> None:
    segmenter = load(folder)
    assert (segmenter.name, segmenter.binary, segmenter.output) == ("sam3/full+semantic", False, "logits")
    ours = segmenter.decode(make_pairs(segmenter, [name], PHRASES[:1]))[0]
    assert torch.equal(ours, reference(folder, name, PHRASES[0]).semantic_seg[0, 0])


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("phrase", PHRASES)
def test_instances_are_united_as_the_authors_processor_finds_them(folder: Path, name: str, phrase: str) -> None:
    segmenter = load(folder, "sam3+instances")
    assert (segmenter.name, segmenter.binary) == ("sam3/full+instances", True)
    (ours,) = segmenter.predict(make_pairs(segmenter, [name], (phrase,)))
    theirs = united_slowly(reference(folder, name, phrase), picture(name).size[::-1])
    assert np.array_equal(ours.numpy().astype(bool), theirs)


def test_the_tiny_instances_decide_something(folder: Path) -> None:
    segmenter = load(folder, "sam3+instances")
    areas = [float(scores.mean()) for scores in in_batches(segmenter, make_pairs(segmenter, ["landscape", "square"]))]
    assert min(areas) > 0
    assert min(areas) < max(areas) < 1


def test_no_instance_is_an_empty_mask() -> None:
    assert not united(torch.tensor([0.5, 0.1]), torch.ones(2, 4, 4), (6, 9)).any()
    assert united(torch.tensor([0.51, 0.1]), torch.ones(2, 4, 4), (6, 9)).all()


def test_scores_are_presence_times_instance() -> None:
    class Found:
        pred_logits = torch.tensor([[0.0, 100.0]])
        presence_logits = torch.tensor([[0.0]])

    assert instance_scores(Found).tolist() == [[0.25, 0.5]]


def test_images_are_encoded_once_and_phrases_once(folder: Path) -> None:
    segmenter = load(folder)
    images, texts = count_calls(segmenter._network.vision_encoder), count_calls(segmenter._network.text_encoder)
    in_batches(segmenter, make_pairs(segmenter, ["landscape", "portrait"]))
    assert (len(images), len(texts)) == (2, len(PHRASES))


@pytest.mark.parametrize("recipe", ["semantic", "instances"])
def test_other_micro_batches_agree_and_padding_changes_no_bit(folder: Path, recipe: str) -> None:
    one, three = load(folder, f"sam3+{recipe}"), load(folder, f"sam3+{recipe}", micro_batch=3)
    names = ["landscape", "portrait"]
    ours, theirs = in_batches(one, make_pairs(one, names)), in_batches(three, make_pairs(three, names))
    assert all(float((a - b).abs().max()) < 1e-4 for a, b in zip(ours, theirs, strict=True))
    pairs = make_pairs(three, names)
    assert torch.equal(three.predict(pairs[:2])[0], three.predict([*pairs[:2], pairs[1]])[0])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_runs_and_is_near(folder: Path, precision: str) -> None:
    segmenter = load(folder, precision=precision)
    ours = segmenter.decode(make_pairs(segmenter, ["landscape"], PHRASES[:1]))[0]
    assert deviation(ours, reference(folder, "landscape", PHRASES[0]).semantic_seg[0, 0]) < 0.2


def test_long_phrases_are_cut_and_counted_once_each(folder: Path) -> None:
    segmenter = load(folder)
    with pytest.warns(BenchWarning, match="more than 32 tokens were cut"):
        segmenter.encode_text(["a very long phrase " * 20])
    segmenter.encode_text(["a very long phrase " * 20, "another one of them " * 20, "sky"])
    assert segmenter.notes == {"phrases of more than 32 tokens were cut to 32": 2}


def test_pixels_are_within_one_grey_level_of_the_kernel_that_the_published_processor_calls() -> None:
    """transformers' processor of SAM 3 resizes with torch's antialiased uint8 kernel through torchvision, which is not here."""
    pixels = HfPixels(size=112, resample=2, scale=1 / 255, mean=(0.5,) * 3, std=(0.5,) * 3)
    for name in ("landscape", "portrait"):
        image = torch.from_numpy(np.array(picture(name))).permute(2, 0, 1)[None]
        theirs = torch.nn.functional.interpolate(image, (112, 112), mode="bilinear", align_corners=False, antialias=True)
        assert float((pixels(picture(name)) - (theirs / 255 - 0.5) / 0.5).abs().max()) <= 1.01 / 255 / 0.5


def test_the_published_folder_is_that_of_the_video_model(folder: Path, own: Path) -> None:
    config = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps({"model_type": "sam3_video", "architectures": ["Sam3VideoModel"], "detector_config": config}))
    tensors = {f"detector_model.{name}": tensor for name, tensor in load_file(own / "model.safetensors").items()}
    save_file({**tensors, "tracker_model.memory": torch.zeros(3), "tracker_neck.conv": torch.zeros(3)}, own / "model.safetensors", {"format": "pt"})
    image, video = load(folder), load(own)
    assert image.weights != video.weights
    ours, theirs = (segmenter.decode(make_pairs(segmenter, ["square"], PHRASES[:1]))[0] for segmenter in (image, video))
    assert torch.equal(ours, theirs)


def test_parameters_of_the_card_are_the_networks() -> None:
    with torch.device("meta"):
        model = Sam3Model(sam3_config("full"))
    stated = model_card("sam3").parameters
    assert stated is not None
    assert stated.total == sum(parameter.numel() for parameter in model.parameters())


def drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def change(tensor: Callable[[torch.Tensor], torch.Tensor | None]) -> Callable[[Path], None]:
    """Change the first weight of the semantic head."""

    def spoil(folder: Path) -> None:
        path, key = folder / "model.safetensors", "mask_decoder.semantic_projection.weight"
        tensors = load_file(path)
        new = tensor(tensors.pop(key))
        save_file(tensors | ({} if new is None else {key: new.contiguous()}), path, {"format": "pt"})

    return spoil


def other_kind(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "clipseg"}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop("config.json"), "lacks config.json"),
        (drop("model.safetensors"), "lacks model.safetensors"),
        (drop("preprocessor_config.json"), "lacks preprocessor_config.json or processor_config.json"),
        (drop("tokenizer.json"), "lacks the tokenizer"),
        (other_kind, "is for a model of type 'clipseg', not 'sam3' or 'sam3_video'"),
        (change(lambda _: None), "missing: mask_decoder.semantic_projection.weight"),
        (change(lambda weight: weight[:, :4]), "cannot be read|of another shape"),
        (change(lambda weight: weight * torch.nan), "NaN or infinite values in mask_decoder.semantic_projection.weight"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no weights"), "cannot be read"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "config.json").write_text("[]"), "no JSON object"),
    ],
)
def test_what_is_refused(own: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(own)
    with pytest.raises(WeightsError, match=message):
        load(own)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(WeightsError, match="is not a folder"):
        load(tmp_path / "x")


def test_an_unknown_recipe_is_named(folder: Path) -> None:
    with pytest.raises(BenchError, match=r"unknown recipe of sam3 'instance'. Did you mean 'instances'"):
        load(folder, "sam3+instance")
