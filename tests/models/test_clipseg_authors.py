"""The authors' decoder-only files: every tensor in its place, the same network as transformers', and what is refused."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from make_clipseg import make_authors_pair, official_state
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

from ldznet_bench.errors import WeightsError
from ldznet_bench.models.clipseg_authors import convert_authors, official_decoder_name, read_decoder
from ldznet_bench.models.load import load_model
from ldznet_bench.models.segmenter import ImageInput, Pair, Segmenter


@pytest.fixture(scope="module", params=[True, False], ids=["refined", "simple"])
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, CLIPSegForImageSegmentation]:
    """The authors' file, CLIP's folder, and the network that both were taken from."""
    return make_authors_pair(tmp_path_factory.mktemp("authors"), refined=request.param)


def load(decoder: Path, clip: Path, name: str = "clipseg/authors", **options: Any) -> Segmenter:
    return load_model(name, weights={"clipseg-authors": decoder, "clip": clip}, **options)


def logits(segmenter: Segmenter, phrase: str = "a red car") -> torch.Tensor:
    image = Image.radial_gradient("L").resize((90, 60)).convert("RGB")
    encoded = segmenter.encode_image([ImageInput("i", 60, 90, 0, lambda: image)])[0]
    return segmenter.decode([Pair("s", phrase, 60, 90, 0, encoded, segmenter.encode_text([phrase])[0])])[0]


def test_it_is_the_network_that_transformers_has(published, tmp_path):
    decoder, clip, model = published
    segmenter = load(decoder, clip)
    image = Image.radial_gradient("L").resize((90, 60)).convert("RGB")
    encoded = segmenter.encode_image([ImageInput("i", 60, 90, 0, lambda: image)])[0]
    ours = segmenter.decode([Pair("s", "a red car", 60, 90, 0, encoded, segmenter.encode_text(["a red car"])[0])])[0]
    with torch.no_grad():
        theirs = model(pixel_values=segmenter._pixels(image), input_ids=segmenter._tokens("a red car"), interpolate_pos_encoding=True).logits
    assert float((ours - theirs.reshape(ours.shape)).abs().max()) <= 1e-4 * float(theirs.std())
    assert float(ours.std()) > 0.1, "a map that says nothing would agree with anything"


def test_nothing_is_left_over(published):
    report = read_decoder(published[0], published[2].config_of_clip).report
    assert report.complete
    assert report.used["decoder"] == len(torch.load(published[0], weights_only=True)) - 2
    assert [list(names) for names in report.set_aside.values()] == [["reduce.weight", "reduce.bias"]]


def test_names_go_both_ways_without_collision(published):
    ours = list(published[2].decoder.state_dict())
    theirs = [official_decoder_name(name) for name in ours]
    assert len(set(theirs)) == len(ours)
    assert {name for name, _ in theirs} == official_state(published[2].decoder).keys() - {"reduce.weight", "reduce.bias"}


@pytest.mark.parametrize("drop", ["blocks.1.norm2.weight", "trans_conv", "film_add.bias", "reduces.2"])
def test_a_missing_tensor_is_named(published, tmp_path, drop):
    state = torch.load(published[0], weights_only=True)
    if drop == "trans_conv":
        gone = [name for name in state if name.startswith(drop)][-1:]
    else:
        gone = [name for name in state if name.startswith(drop)]
    torch.save({name: value for name, value in state.items() if name not in gone}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=gone[0].replace(".", r"\.")):
        load(tmp_path / "x.pth", published[1])


def test_tensors_of_another_network_and_another_shape_are_named(published, tmp_path):
    state = torch.load(published[0], weights_only=True)
    state |= {"clip_model.logit_scale": torch.ones(()), "blocks.0.linear2.bias": torch.ones(5)}
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"only in the file: clip_model\.logit_scale \[\]; .*of another shape: blocks\.0\.linear2\.bias \[5\]"):
        load(tmp_path / "x.pth", published[1])


def test_weights_of_other_widths_and_other_clips_do_not_pass(published, tmp_path):
    wider, _, _ = make_authors_pair(tmp_path / "wider", refined=True, reduce_dim=24)
    assert load(wider, published[1]).weights != load(published[0], published[1]).weights
    small = json.loads((published[1] / "config.json").read_text())
    small["vision_config"]["num_hidden_layers"] = 4
    other = tmp_path / "clip"
    other.mkdir()
    for path in published[1].iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "config.json").write_text(json.dumps(small))
    with pytest.raises(WeightsError, match=r"tower with 4 layers; CLIPSeg reads layers \[3, 6, 9\]"):
        load(published[0], other)


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"film_mul.weight": torch.ones(1), "extra": "bomb"}, "no plain file of tensors"),
        ({"state": torch.ones(1)}, "no decoder of CLIPSeg's authors"),
        ("truncated", "truncated or damaged"),
        ("nan", "NaN or infinite values in decoder.film_mul.weight"),
    ],
)
def test_bad_files(published, tmp_path, content, said):
    path, mark = tmp_path / "rd64-uni.pth", tmp_path / "ran"
    if content == "truncated":
        path.write_bytes(published[0].read_bytes()[:-500])
    elif content == "nan":
        state = copy.deepcopy(torch.load(published[0], weights_only=True))
        state["film_mul.weight"][0, 0] = float("nan")
        torch.save(state, path)
    else:
        torch.save({key: Bomb(mark) if value == "bomb" else value for key, value in content.items()} if "extra" in content else content, path)
    with pytest.raises(WeightsError, match=said):
        load(path, published[1])
    assert not mark.exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_clip_without_one_of_its_files(published, tmp_path, name):
    for path in published[1].iterdir():
        if path.name != name:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(WeightsError, match=rf"lacks .*{name}.*clip-vit-base-patch16"):
        load(published[0], tmp_path)


def test_a_converted_folder_is_the_same_model_and_transformers_loads_it(published, tmp_path):
    convert_authors(published[0], published[1], tmp_path / "made")
    converted = load_model("clipseg", weights={"clipseg": tmp_path / "made"})
    straight = load(published[0], published[1], name="clipseg/authors+hf")
    assert converted.recipe == {**straight.recipe}
    one, other = logits(converted), logits(straight)
    assert float((one - other).abs().max()) <= 1e-4 * float(other.std())
    theirs = CLIPSegForImageSegmentation.from_pretrained(tmp_path / "made").state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in load_file(tmp_path / "made" / "model.safetensors").items())
    convert_authors(published[0], published[1], tmp_path / "again")
    assert all(path.read_bytes() == (tmp_path / "again" / path.name).read_bytes() for path in (tmp_path / "made").iterdir())


def test_the_published_sizes_are_those_of_the_repositorys_pointers():
    """4,306,645 and 1,118,607 bytes: the tensors, and some 300 bytes of zip for each. rd64-uni has no room for `reduce`, rd16-uni has."""
    for width, bytes_, spare in ((64, 4_306_645, 0), (16, 1_118_607, 2)):
        with torch.device("meta"):
            decoder = CLIPSegForImageSegmentation(CLIPSegConfig(vision_config={"patch_size": 16}, reduce_dim=width)).decoder
        state = {name: value for name, value in official_state(decoder).items() if spare or not name.startswith("reduce.")}
        overhead = bytes_ - 4 * sum(value.numel() for value in state.values())
        assert 250 < overhead / len(state) < 400
