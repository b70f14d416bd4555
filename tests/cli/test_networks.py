"""Networks through the command line: seeded weights, tiny sizes."""

from __future__ import annotations

import json
import os
import shutil
import warnings

import numpy as np
import pytest
import torch
from diffusion_models import write_weights
from make_clipseg import make_authors_pair
from PIL import Image
from safetensors.torch import load_file, save_file

from ldznet_bench.errors import BenchWarning


def test_decoder_of_clipsegs_authors(bench, tmp_path):
    decoder, clip, _ = make_authors_pair(tmp_path / "made", refined=True)
    said = bench("convert", decoder, "--dry-run", "--clip", clip)
    assert said.code == 0
    assert "set aside         2 tensors: a layer that the authors' network makes and never calls" in said.out
    assert "nothing left over" in said.out
    assert bench("convert", decoder, "--dry-run").code == 2, "sizes of ViT-B/16 are expected where no CLIP is named"
    assert "Add --clip DIR" in bench("convert", decoder, tmp_path / "no").err or not (tmp_path / "no").exists()
    assert bench("convert", decoder, tmp_path / "clipseg", "--clip", clip).code == 0
    ran = bench(
        "run", "--datasets", "example:test", "--models", "clipseg/full", "--weights", f"clipseg={tmp_path / 'clipseg'}", "--limit", "2", "--quiet"
    )
    assert ran.code == 0, ran.err
    weights = ("--weights", f"clipseg={decoder}", "--weights", f"clip={clip}")
    ran = bench("run", "--datasets", "example:test", "--models", "clipseg/authors+paper", *weights, "--limit", "2", "--quiet", "--json")
    assert ran.code == 0, ran.err
    assert "clipseg/authors+paper" in ran.out


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights"))


def given(weights, *families):
    return [word for part in ("sd", *families) for word in ("--weights", f"{part}={weights / part}")]


def test_repeats_are_averaged_in_one_run(bench, weights):
    command = (
        "run",
        "--datasets",
        "example:test",
        "--models",
        "ldznet/full+paper-stochastic",
        *given(weights, "ldznet"),
        "--limit",
        "3",
        "--repeats",
        "2",
    )
    said = bench(*command, "--json")
    (run,) = json.loads(said.out)["runs"]
    assert run["model"] == "ldznet/full+paper-stochastic.mean2"
    again = bench(*command)
    assert "finished before, not run again" in again.err
    assert "paper-stochastic.mean2" in again.out


def test_spread_is_split_by_what_is_drawn(bench, weights):
    command = (
        "run",
        "--datasets",
        "example:test",
        "--models",
        "znet/full+paper-stochastic",
        *given(weights, "znet"),
        "--limit",
        "4",
        "--quiet",
        "--repeats",
        "3",
        "--spread",
    )
    said = bench(*command, "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert len(found["runs"]) == 3 + 2 * 2, "three seeds, and templates and VAE samples twice anew"
    (spread,) = found["spread"]
    assert [(source["name"], source["draws"]) for source in spread["sources"]] == [("everything", 3), ("template", 3), ("vae", 3)]
    scores = [run["metrics"]["miou"] for run in found["runs"][:3]]
    mean = sum(scores) / 3
    assert spread["sources"][0]["scores"]["miou"] == scores
    assert spread["sources"][0]["sd"]["miou"] == pytest.approx((sum((score - mean) ** 2 for score in scores) / 2) ** 0.5)
    assert spread["sources"][2]["scores"]["miou"][0] == scores[0], "the first run is part of every row"
    text = bench(*command).out
    assert "drawn anew" in text
    assert "everything" in text
    table = bench("report", "--limited", "--repeats", "--allow-mixed")
    assert "znet/full+paper-stochastic (3 seeds)" in table.out
    assert "~vae" not in table.out


def test_spread_of_a_rule_that_draws(bench):
    said = bench("run", "--datasets", "example:test", "--models", "noise,box", "--limit", "5", "--repeats", "2", "--spread", "--quiet", "--json")
    assert [one["model"] for one in json.loads(said.out)["spread"]] == ["noise", "box"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--models", "full", "--repeats", "2"), "full is no network that draws"),
        (("--models", "ldznet/full", "--repeats", "2"), "ldznet/full+paper-deterministic is no network that draws"),
        (("--models", "noise", "--repeats", "2"), "Add --spread"),
        (("--models", "noise", "--repeats", "1"), "'--repeats'"),
        (("--models", "noise", "--spread"), "Say how many: --repeats 5 --spread"),
        (("--models", "noise", "--spread", "--repeats", "2", "--control", "blank"), "do not go together"),
    ],
)
def test_repeats_that_make_no_sense(bench, weights, tmp_path, arguments, said):
    extra = given(weights, "ldznet") if "ldznet/full" in arguments else []
    found = bench("run", "--datasets", "example:test", *arguments, *extra, "--limit", "2", "--quiet")
    assert found.code == 2
    assert said in found.err
    assert not list(tmp_path.rglob("run.json"))


def test_predict_with_repeats_gives_the_mean_and_the_spread(bench, weights, tmp_path):
    Image.radial_gradient("L").resize((90, 60)).save(tmp_path / "photo.png")
    command = ("predict", "photo.png", "a cat", "road", *given(weights, "ldznet"), "--micro-batch", "2", "--json")
    said = bench(*command, "--model", "ldznet/full+paper-stochastic", "--repeats", "2")
    assert said.code == 0, said.err
    for line in json.loads(said.out)["predictions"]:
        assert set(line["spread"]) == {"all", "template", "timestep", "noise", "vae"}
        assert np.load(tmp_path / line["scores"]).ndim == 2
    assert "is no network that draws" in bench(*command, "--model", "ldznet/full", "--repeats", "2").err


# Sizes that a notebook's floor sends to zero; phrases that are empty, too long, or in another script.
@pytest.mark.parametrize(("model", "parts"), [("ldznet/full+demo-deterministic", ("ldznet",)), ("ldm-attention/full", ())])
@pytest.mark.parametrize("size", [(1, 1), (20_000, 3)])
def test_odd_images_and_phrases(bench, weights, tmp_path, model, parts, size):
    Image.radial_gradient("L").resize(size).save(tmp_path / "photo.png")
    phrases = ("", " ".join(["word"] * 500), "猫が座っている")
    with warnings.catch_warnings():
        warnings.simplefilter("always", BenchWarning)
        said = bench("predict", "photo.png", *phrases, "--model", model, *given(weights, *parts), "--json")
    assert said.code == 0, said.err
    assert said.err.count("were cut to 77; this is said once") == 1
    found = json.loads(said.out)["predictions"]
    assert [Image.open(tmp_path / line["mask"]).size for line in found] == [size] * 3


def _truncated(folder):
    torch.save({"model.diffusion_model.final.0.weight": torch.ones(4000)}, folder / "x.ckpt")
    (folder / "x.ckpt").write_bytes((folder / "x.ckpt").read_bytes()[:9000])


def _hostile(folder):
    torch.save({"state_dict": {"a": Bomb(folder / "ran")}}, folder / "x.ckpt")


def _web_page(folder):
    (folder / "x.ckpt").write_text("<html>quota exceeded</html>")


def _other_network(folder):
    torch.save({"backbone.layer1.weight": torch.ones(3)}, folder / "x.ckpt")


def _without_text_encoder(folder):
    shutil.rmtree(folder / "sd" / "text_encoder")


def _not_finite(folder):
    path = folder / "ldznet" / "segmenter" / "model.safetensors"
    tensors = load_file(path)
    tensors["final.0.weight"] = tensors["final.0.weight"] * float("nan")
    save_file(tensors, path, metadata={"format": "pt"})  # as long as before


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    ("spoil", "ldznet", "said"),
    [
        (_truncated, "x.ckpt", "is truncated or damaged"),
        (_hostile, "x.ckpt", "holds no tensors"),
        (_web_page, "x.ckpt", "it is a web page"),
        (_other_network, "x.ckpt", "neither LD-ZNet's checkpoint nor Stable Diffusion's"),
        (_without_text_encoder, "ldznet", "needs a text encoder"),
        (_not_finite, "ldznet", "NaN or infinite weights in segmenter/final.0.weight"),
        (None, "znet", "holds znet's network, ldznet was asked for"),
        (None, "sd", "holds no segmentation network"),
        (None, "absent", "there is nothing at that path"),
    ],
    ids=["truncated", "hostile", "web page", "other network", "no text encoder", "NaN", "znet", "sd", "absent"],
)
def test_bad_weights_end_in_words(bench, weights, tmp_path, spoil, ldznet, said):
    folder = tmp_path / "weights"
    for part in ("sd", "ldznet", "znet"):
        shutil.copytree(weights / part, folder / part)
    if spoil is not None:
        spoil(folder)
    given = ("--weights", f"ldznet={folder / ldznet}", "--weights", f"sd={folder / 'sd'}")
    found = bench("run", "--datasets", "example:test", "--models", "ldznet/full", *given, "--limit", "1", "--quiet")
    assert found.code == 2
    assert said in found.err
    assert not (folder / "ran").exists()
    assert not list((tmp_path / "runs").rglob("summary.json"))
