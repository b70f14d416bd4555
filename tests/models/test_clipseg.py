"""CLIPSeg through the sealed interface, held against transformers' own forward on seeded random weights."""

from __future__ import annotations

import functools
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from make_clipseg import write_clipseg
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, CLIPSegConfig, CLIPSegForImageSegmentation, CLIPTokenizer

from ldznet_bench.errors import BenchError, BenchWarning, WeightsError
from ldznet_bench.models.clipseg import ClipSeg
from ldznet_bench.models.clipseg_pixels import HfPixels, PaperPixels
from ldznet_bench.models.load import load_model
from ldznet_bench.models.segmenter import ImageInput, Pair

SIX = ("a black dog", "wooden table", "man in red shirt on the left", "sky", "", "猫 et café")
IMAGES = {
    "landscape": (160, 90, "RGB"),
    "odd": (37, 501, "RGB"),
    "grey": (96, 96, "L"),
    "alpha": (50, 61, "RGBA"),
    "palette": (64, 48, "P"),
    "pixel": (1, 1, "RGB"),
}

Load = Callable[..., ClipSeg]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clipseg(tmp_path_factory.mktemp("clipseg"))


@pytest.fixture(scope="module")
def segmenter(folder: Path) -> ClipSeg:
    """The default one, for tests that leave it as it is."""
    return load(folder)


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A copy of the folder that the test may spoil."""
    return shutil.copytree(folder, tmp_path / "clipseg")


def load(folder: Path, name: str = "clipseg", **options: Any) -> ClipSeg:
    segmenter = load_model(name, weights={"clipseg": folder}, **options)
    assert isinstance(segmenter, ClipSeg)
    return segmenter


def picture(name: str) -> Image.Image:
    width, height, mode = IMAGES[name]
    coarse = np.random.default_rng(len(name)).integers(0, 256, (5, 5, 4), dtype=np.uint8)
    return Image.fromarray(coarse, "RGBA").resize((width, height), Image.Resampling.BICUBIC).convert("RGB" if mode == "P" else mode).convert(mode)


def image_input(image: Image.Image) -> ImageInput:
    return ImageInput("i", image.height, image.width, 0, lambda: image)


def make_pairs(segmenter: ClipSeg, images: list[Image.Image], phrases: tuple[str, ...]) -> list[Pair]:
    encoded = segmenter.encode_image([image_input(image) for image in images])
    texts = segmenter.encode_text(phrases)
    return [
        Pair(f"{i}-{phrase}", phrase, image.height, image.width, 0, activations, text)
        for i, (image, activations) in enumerate(zip(images, encoded, strict=True))
        for phrase, text in zip(phrases, texts, strict=True)
    ]


def in_batches(segmenter: ClipSeg, pairs: list[Pair]) -> torch.Tensor:
    size = segmenter.micro_batch
    return torch.stack([scores for start in range(0, len(pairs), size) for scores in segmenter.predict(pairs[start : start + size])])


@functools.lru_cache(maxsize=2)
def pretrained(folder: Path, dtype: torch.dtype) -> CLIPSegForImageSegmentation:
    return CLIPSegForImageSegmentation.from_pretrained(folder, dtype=dtype).eval()


def reference(folder: Path, image: Image.Image, phrases: tuple[str, ...], pixels: Any = None, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """transformers' idiom: the image repeated for each phrase, phrases padded to the longest."""
    model = pretrained(folder, dtype)
    values = (pixels or HfPixels.from_folder(folder))(image)
    text = AutoTokenizer.from_pretrained(folder)(list(phrases), padding=True, truncation=True, max_length=77, return_tensors="pt")
    with torch.no_grad():
        logits = model(pixel_values=values.repeat(len(phrases), 1, 1, 1).to(dtype), **text).logits
    return logits.reshape(len(phrases), *logits.shape[-2:])


def deviation(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours.float() - theirs.float()).abs().max() / theirs.float().std())


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("phrase", SIX)
def test_one_phrase_equals_transformers_bit_for_bit(segmenter: ClipSeg, folder: Path, image: str, phrase: str) -> None:
    ours = segmenter.decode(make_pairs(segmenter, [picture(image)], (phrase,)))[0]
    assert torch.equal(ours, reference(folder, picture(image), (phrase,))[0])


@pytest.mark.parametrize("micro_batch", [1, 6])
@pytest.mark.parametrize("image", IMAGES)
def test_six_phrases_equal_transformers_but_for_the_order_of_sums(folder: Path, image: str, micro_batch: int) -> None:
    segmenter = load(folder, micro_batch=micro_batch)
    pairs = make_pairs(segmenter, [picture(image)], SIX)
    ours = torch.stack([logits for start in range(0, 6, micro_batch) for logits in segmenter.decode(pairs[start : start + micro_batch])])
    assert deviation(ours, reference(folder, picture(image), SIX)) < 1e-4


@pytest.mark.parametrize("phrase", SIX)
def test_the_paper_recipe_is_the_same_network_on_its_own_pixels(folder: Path, phrase: str) -> None:
    segmenter = load(folder, "clipseg+paper")
    ours = segmenter.decode(make_pairs(segmenter, [picture("odd")], (phrase,)))[0]
    assert torch.equal(ours, reference(folder, picture("odd"), (phrase,), PaperPixels())[0])


@pytest.mark.parametrize(("refined", "reduce_dim", "conditional_layer"), [(False, 16, 0), (True, 64, 0), (False, 64, 1), (True, 16, 2)])
def test_every_published_build(tmp_path: Path, refined: bool, reduce_dim: int, conditional_layer: int) -> None:
    folder = write_clipseg(tmp_path, refined=refined, reduce_dim=reduce_dim, conditional_layer=conditional_layer)
    segmenter = load(folder)
    ours = segmenter.decode(make_pairs(segmenter, [picture("landscape")], SIX[:1]))[0]
    assert torch.equal(ours, reference(folder, picture("landscape"), SIX[:1])[0])


@pytest.mark.parametrize("extract", [[3, 0, 2], [4], [1, 1, 4]])
def test_any_layers_can_be_tapped(own: Path, extract: list[int]) -> None:
    config = CLIPSegConfig.from_pretrained(own)
    config.extract_layers = extract
    torch.manual_seed(0)
    CLIPSegForImageSegmentation(config).save_pretrained(own)
    segmenter = load(own)
    ours = segmenter.decode(make_pairs(segmenter, [picture("landscape")], SIX[:1]))[0]
    assert torch.equal(ours, reference(own, picture("landscape"), SIX[:1])[0])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_transformers_own(folder: Path, precision: str) -> None:
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    segmenter = load(folder, precision=precision)
    ours = segmenter.decode(make_pairs(segmenter, [picture("landscape")], SIX[:1]))[0]
    theirs = reference(folder, picture("landscape"), SIX[:1], dtype=dtype)[0]
    assert (ours.dtype, deviation(ours, theirs) < 0.05) == (dtype, True)


def test_scores_are_float32_probabilities_on_the_models_grid(folder: Path) -> None:
    segmenter = load(folder, precision="bf16")
    (scores,) = segmenter.predict(make_pairs(segmenter, [picture("landscape")], SIX[:1]))
    assert (tuple(scores.shape), scores.dtype) == ((96, 96), torch.float32)


def test_the_tower_runs_once_per_image(folder: Path) -> None:
    segmenter = load(folder)
    calls: list[int] = []
    segmenter._network._vision.register_forward_hook(lambda *_: calls.append(1))
    in_batches(segmenter, make_pairs(segmenter, [picture("landscape"), picture("odd")], SIX))
    assert len(calls) == 2


def test_an_images_bits_do_not_depend_on_its_neighbours(segmenter: ClipSeg) -> None:
    together = segmenter.encode_image([image_input(picture(name)) for name in IMAGES])
    for name, activations in zip(IMAGES, together, strict=True):
        (alone,) = segmenter.encode_image([image_input(picture(name))])
        assert all(torch.equal(*pair) for pair in zip(activations, alone, strict=True))


def test_a_prompts_bits_do_not_depend_on_its_neighbours(segmenter: ClipSeg) -> None:
    together = segmenter.encode_text(SIX)
    assert all(torch.equal(text, segmenter.encode_text([phrase])[0]) for phrase, text in zip(SIX, together, strict=True))


def test_by_default_a_maps_bits_depend_on_its_pair_alone(segmenter: ClipSeg) -> None:
    pairs = make_pairs(segmenter, [picture("landscape"), picture("odd")], SIX)
    assert torch.equal(in_batches(segmenter, pairs), in_batches(segmenter, pairs[::-1]).flip(0))


def test_padding_changes_no_bit(folder: Path) -> None:
    segmenter = load(folder, micro_batch=7)
    pairs = make_pairs(segmenter, [picture("landscape")], SIX)
    assert torch.equal(torch.stack(segmenter.predict(pairs)), torch.stack(segmenter.predict([*pairs, pairs[-1]]))[:6])


@pytest.mark.parametrize("micro_batch", [2, 7])
def test_other_micro_batches_agree(folder: Path, micro_batch: int) -> None:
    one, many = load(folder), load(folder, micro_batch=micro_batch)
    logits = []
    for segmenter in (one, many):
        scores = in_batches(segmenter, make_pairs(segmenter, [picture("landscape"), picture("odd")], SIX))
        logits.append(torch.logit(scores.double()))
    assert deviation(logits[1], logits[0]) < 1e-4


def test_loading_again_gives_the_same_bits(folder: Path) -> None:
    maps = []
    for _ in range(2):
        segmenter = load(folder)
        maps.append(in_batches(segmenter, make_pairs(segmenter, [picture("landscape")], SIX)))
    assert torch.equal(*maps)


def test_nothing_is_decoded_from_nothing(folder: Path) -> None:
    assert load(folder).predict([]) == []


def test_image_and_phrase_both_count(segmenter: ClipSeg) -> None:
    maps = in_batches(segmenter, make_pairs(segmenter, [picture("landscape"), picture("odd")], SIX[:2]))
    assert float((maps[0] - maps[1]).abs().mean()) > 0.01
    assert float((maps[0] - maps[2]).abs().mean()) > 0.01


@pytest.mark.parametrize(
    ("recipe", "pixels"), [("hf", {"resize": "pillow", "size": 96}), ("paper", {"resize": "torch-bilinear-aligned", "size": 352})]
)
def test_identity(folder: Path, recipe: str, pixels: dict[str, Any]) -> None:
    segmenter = load(folder, f"clipseg+{recipe}")
    assert (segmenter.name, segmenter.device, segmenter.precision, segmenter.micro_batch) == (f"clipseg/full+{recipe}", "cpu", "fp32", 1)
    assert pixels.items() <= segmenter.recipe["pixels"].items()
    assert json.loads(json.dumps(segmenter.recipe)) == segmenter.recipe


def test_long_phrases_are_cut_as_transformers_cuts_them_and_said_once(folder: Path) -> None:
    segmenter = load(folder)
    long = " ".join(["word"] * 500)
    with pytest.warns(BenchWarning, match="phrases of more than 77 tokens were cut to 77") as said:
        pairs = make_pairs(segmenter, [picture("landscape")], (long, f"another {long}", "short"))
    assert len(said) == 1
    assert list(segmenter.notes.values()) == [2]
    assert torch.equal(segmenter.decode(pairs[:1])[0], reference(folder, picture("landscape"), (long,))[0])


def test_a_phrase_of_77_tokens_is_not_cut(folder: Path) -> None:
    segmenter = load(folder)
    words = next(" ".join(["a"] * n) for n in range(10, 80) if len(segmenter._tokenizer(" ".join(["a"] * n))["input_ids"]) == 77)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        segmenter.encode_text([words])
    assert segmenter.notes == {}


@pytest.mark.parametrize("phrase", ["", " ", "猫が座っている", "собака", "الكلب", "🐕\u200d🦺", "<|endoftext|>", "a\u0000b", "\u202eevil"])
def test_any_phrase_gives_a_map(segmenter: ClipSeg, phrase: str) -> None:
    assert len(segmenter.predict(make_pairs(segmenter, [picture("grey")], (phrase,)))) == 1


def test_bin_weights_give_the_same_logits(own: Path) -> None:
    before = load(own)
    torch.save(load_file(own / "model.safetensors"), own / "pytorch_model.bin")
    (own / "model.safetensors").unlink()
    after = load(own)
    logits = [segmenter.decode(make_pairs(segmenter, [picture("landscape")], SIX[:1]))[0] for segmenter in (before, after)]
    assert deviation(logits[1], logits[0]) < 1e-4
    assert before.weights != after.weights


def test_tokenizer_of_two_files(own: Path) -> None:
    before = load(own)
    state = json.loads((own / "tokenizer.json").read_text())["model"]
    (own / "tokenizer.json").unlink()
    (own / "vocab.json").write_text(json.dumps(state["vocab"]))
    (own / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(merge) for merge in state["merges"])]) + "\n")
    after = load(own)
    assert all(torch.equal(*texts) for texts in zip(before.encode_text(SIX), after.encode_text(SIX), strict=True))


def test_weights_of_older_transformers(own: Path) -> None:
    """Files from before 4.31 hold the position tables, and say 2 for the end of a text."""
    path = own / "model.safetensors"
    before = load(own)
    save_file({**load_file(path), "clip.text_model.embeddings.position_ids": torch.arange(77)[None]}, path)
    config = json.loads((own / "config.json").read_text())
    config["text_config"]["eos_token_id"] = 2
    (own / "config.json").write_text(json.dumps(config))
    logits = [segmenter.decode(make_pairs(segmenter, [picture("landscape")], SIX[:1]))[0] for segmenter in (before, load(own))]
    assert deviation(logits[1], logits[0]) < 1e-4


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named_with_what_is_there(own: Path, name: str) -> None:
    (own / name).unlink()
    with pytest.raises(WeightsError, match=rf"lacks .*{name}.* \(it holds .*preprocessor_config.json"):
        load(own)


def test_a_missing_processor_stops_only_its_recipe(own: Path) -> None:
    (own / "preprocessor_config.json").unlink()
    assert load(own, "clipseg+paper").name == "clipseg/full+paper"
    with pytest.raises(WeightsError, match="which the recipe hf needs"):
        load(own)


def test_a_file_instead_of_a_folder(own: Path) -> None:
    with pytest.raises(WeightsError, match=r"model.safetensors is not a folder"):
        load(own / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "clip"}, "for a model of type 'clip', not 'clipseg'"),
        ({"extract_layers": [0, 9]}, r"extract_layers is \[0, 9\] but the image tower has layers 0 to 4"),
        ({"extract_layers": []}, r"extract_layers is \[\]"),
        ({"reduce_dim": 8}, r"of another shape: decoder.film_mul.weight 16x24, expected 8x24.* and \d+ more"),
        ({"extract_layers": [0, 1, 2, 3]}, "missing: decoder"),
        ({"extract_layers": [0, 1]}, "not of this network: decoder"),
        ({"reduce_dim": "many"}, "config.json cannot be read"),
        ({"text_config": 3}, "config.json cannot be read"),
    ],
)
def test_weights_of_another_architecture(own: Path, change: dict[str, Any], message: str) -> None:
    config = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(WeightsError, match=message):
        load(own)


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_damaged_config(own: Path, text: str) -> None:
    (own / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=r"config.json cannot be read"):
        load(own)


def test_nan_weights_are_named(own: Path) -> None:
    tensors = load_file(own / "model.safetensors")
    tensors["decoder.film_add.bias"][3] = float("nan")
    save_file(tensors, own / "model.safetensors")
    with pytest.raises(WeightsError, match=r"NaN or infinite values in decoder.film_add.bias"):
        load(own)


def test_a_tokenizer_of_another_model(own: Path) -> None:
    CLIPTokenizer(vocab={"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}, merges=[]).save_pretrained(own)
    with pytest.raises(WeightsError, match=r"ends phrases with id 1; config.json says 640 and 639"):
        load(own)


def test_a_damaged_tokenizer(own: Path) -> None:
    (own / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"tokenizer in .* cannot be read"):
        load(own)


@pytest.mark.parametrize(("option", "value"), [("device", "gpu"), ("precision", "fp8")])
def test_unknown_options(folder: Path, option: str, value: str) -> None:
    with pytest.raises(BenchError, match=f"unknown {option} '{value}'"):
        load(folder, **{option: value})


def test_running_out_of_memory_says_what_to_try(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = load(folder, micro_batch=4)
    pairs = make_pairs(segmenter, [picture("landscape")], SIX[:4])

    def burst(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(segmenter._network, "decode", burst)
    with pytest.raises(BenchError, match=r"clipseg/full\+hf ran out of memory. Try a smaller --micro-batch \(it is 4\)"):
        segmenter.predict(pairs)


@pytest.mark.slow
@pytest.mark.parametrize("phrases", [SIX[:1], SIX])
def test_full_size_on_a_real_photograph(tmp_path_factory: pytest.TempPathFactory, real_data: Path, phrases: tuple[str, ...]) -> None:
    folder = tmp_path_factory.getbasetemp() / "clipseg-full"
    if not folder.is_dir():
        write_clipseg(folder, size="full")
    image = Image.open(next((real_data / "VGPhraseCut_v0" / "images").glob("*.jpg")))
    segmenter = load(folder)
    ours = torch.stack([segmenter.decode([pair])[0] for pair in make_pairs(segmenter, [image], phrases)])
    theirs = reference(folder, image, phrases)
    assert torch.equal(ours, theirs) if len(phrases) == 1 else deviation(ours, theirs) < 1e-4
