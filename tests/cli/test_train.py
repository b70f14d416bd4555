"""The verb train, as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ldznet_bench.cli import main
from ldznet_bench.share import shared
from ldznet_bench.training.recipe import load_suite
from ldznet_bench.training.start import run_suite

FEW = [
    *("--set", "steps=2", "--set", "batch_size=2", "--set", "held_out=2", "--set", "checkpoint_every=1"),
    *("--set", "model.block_out_channels=[8, 8, 8]"),
]
TINY = [*FEW, "--set", "model.norm_num_groups=4"]


BUNDLED = ("--weights", f"sd={shared('baselines') / 'mini' / 'sd'}")


def bench(*arguments: object) -> int:
    return main._run([str(argument) for argument in arguments])


def test_a_training_ends_in_a_published_folder_and_is_not_done_twice(tmp_path, capsys):
    assert bench("train", "autoencoder", *TINY, "--output", tmp_path, "--json") == 0
    said = capsys.readouterr()
    folder = Path(json.loads(said.out)["published"])
    assert (folder / "vae" / "diffusion_pytorch_model.safetensors").is_file()
    assert "mini-autoencoder: step 2: psnr" in said.err
    assert bench("train", "autoencoder", *TINY, "--output", tmp_path, "--quiet") == 0
    assert capsys.readouterr().err == ""


def test_a_dry_run_prints_what_it_would_take(tmp_path, capsys):
    assert bench("train", "autoencoder", "--set", "batch_size=1", "--dry-run", "--output", tmp_path / "new") == 0
    said = capsys.readouterr().out
    for words in ("trained parameters", "state", "hours", "disk free", "memory free"):
        assert words in said
    assert not (tmp_path / "new").exists()


def test_a_suite_says_what_it_would_train(capsys):
    assert bench("train", "--recipe", "mini", "--dry-run", "--json") == 0
    recipes = [row["recipe"] for row in json.loads(capsys.readouterr().out)["recipes"]]
    assert recipes[:2] == ["mini-autoencoder", "mini-clip"]
    assert "mini-ldznet" in recipes


def test_a_dry_run_of_a_suites_smoke_test_says_its_steps(capsys):
    assert bench("train", "--recipe", "mini", "--smoke", "--dry-run", "--json") == 0
    first = json.loads(capsys.readouterr().out)["recipes"][0]
    assert (first["recipe"], first["steps"]) == ("mini-autoencoder-smoke", 200)


@pytest.mark.parametrize("name", ["mini-segmenters", "mini-controls"])
def test_a_suite_on_given_networks_reads_them_after_its_own(name, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("ldznet_bench.cli.train._Asked.train", lambda _self, order: asked.append(order) or tmp_path / order.recipe.name)
    (tmp_path / "ldm").mkdir()
    assert bench("train", "--recipe", name, "--seed", 2, "--weights", f"ldm={tmp_path / 'ldm'}", "--output", tmp_path, "--quiet") == 0
    assert [order.frozen for order in asked] == [(tmp_path / "ldm",)] * len(load_suite(name).recipes)
    assert {order.seed for order in asked} == {2}


def test_precision_may_be_set_for_a_whole_suite(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("ldznet_bench.cli.train._Asked.train", lambda _self, order: asked.append(order) or tmp_path / order.recipe.name)
    assert bench("train", "--recipe", "mini", "--set", "precision=fp32", "--output", tmp_path, "--quiet") == 0
    assert {order.recipe.precision for order in asked} == {"fp32"}


@pytest.mark.parametrize(("emulated", "precision"), [(True, "bf16"), (True, "fp32"), (False, "bf16")])
def test_a_processor_that_emulates_bf16_is_told(emulated, precision, tmp_path, monkeypatch, capsys):
    from ldznet_bench.training.trainer import Trainer

    monkeypatch.setattr("ldznet_bench.models.devices.emulates_bf16", lambda _device: emulated)
    monkeypatch.setattr(Trainer, "run", lambda self: self.checkpoints.final)
    assert bench("train", "--recipe", "mini-autoencoder", "--set", f"precision={precision}", "--output", tmp_path) == 0
    assert ("faster with --set precision=fp32" in capsys.readouterr().err) == (emulated and precision == "bf16")


def test_a_suite_that_makes_its_frozen_networks_puts_the_latest_first(tmp_path):
    asked = {}

    def train(order):
        asked[order[0].name] = order[1]
        return tmp_path / order[0].name

    run_suite(load_suite("mini"), lambda recipe, folders: (recipe, folders), train, (tmp_path / "given",))
    assert asked["mini-autoencoder"] == (tmp_path / "given",)
    assert asked["mini-znet"] == tuple(tmp_path / one for one in ("mini-ldm", "mini-clip", "mini-autoencoder", "given"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "neither a network nor a recipe"),
        (("autoencoder", "--set", "stepz=3"), "unknown recipe key 'stepz'. Did you mean 'steps'"),
        (("autoencoder", "--set", "steps"), "--set 'steps' is not KEY=VALUE"),
        (("autoencoder", "--variant", "full"), "unknown recipe 'full-autoencoder'"),
        (("znet", "--recipe", "mini-znet", "--variant", "mini"), "--variant mini was given beside --recipe mini-znet"),
        (("znet", "--recipe", "mini-clip"), "the recipe mini-clip trains clip, not znet"),
        (("znet", "--weights", "sd=nowhere"), "there is nothing at nowhere"),
        (("--recipe", "mini", "--set", "steps=3"), "a suite has several"),
        (("--recipe", "mini-controls", "--bundle", "there"), "would hold nothing"),
        (("--recipe", "mini", "--bundle", "."), "is there already"),
        (("clip", "--bundle", "there"), "--bundle goes with a suite"),
        (("autoencoder", "--set", "data=cifar"), "unknown caption stream 'cifar'"),
        (("znet", "--recipe", "mini"), "mini trains several networks, not znet alone"),
        (("autoencoder", "--device", "cuda"), "there is no CUDA device"),
        (("autoencoder", "--device", "cuda", "--dry-run"), "there is no CUDA device"),
        (("autoencoder", "--set", "accumulate=5"), "does not divide among 1 processes and 5 micro-batches"),
        (("autoencoder", "--set", "accumulate=5", "--dry-run"), "does not divide"),
        (("autoencoder", "--set", "model.layers_per_blok=1"), "Did you mean 'layers_per_block'"),
        (("autoencoder", "--set", "model.norm_num_groups=7"), "make no network"),
        (("ldm", *BUNDLED, "--set", "model.foo=1"), "unknown key in mini-ldm's model, 'foo'"),
        (("clip", "--set", "model.vision=5"), "model.vision is 5, it must be a mapping"),
        (("clip", "--set", "model.text.hidden_sise=64"), "Did you mean 'hidden_size'"),
        (("clip", "--set", "model.vision.num_attention_heads=7"), "make no network"),
    ],
)
def test_a_users_mistake_is_a_sentence(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert bench("train", *arguments) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def start(tmp_path: Path, output: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LDZNET_BENCH_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "ldznet_bench.cli.main", "train", "autoencoder", *TINY, "--set", "steps=14", "--output", str(tmp_path / output)]
    return subprocess.Popen([*command, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_killed_again_and_again_it_ends_in_the_same_bits(tmp_path):
    assert start(tmp_path, "whole").wait() == 0
    kills = 0
    for delay in range(6, 40, 2):
        process = start(tmp_path, "broken")
        time.sleep(delay / 2)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert start(tmp_path, "broken").wait() == 0
    assert kills > 0
    one, other = (load_file(next((tmp_path / name).rglob("final/vae/*.safetensors"))) for name in ("whole", "broken"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.slow
def test_two_processes_train_what_one_trains(tmp_path):
    assert start(tmp_path, "one").wait() == 0
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    command = [*launch, "--dynamo_backend", "no", "-m", "ldznet_bench.cli.main", "train", "autoencoder", *TINY, "--set", "steps=14"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LDZNET_BENCH_HOME": str(tmp_path / "home")}
    done = subprocess.run([*command, "--output", str(tmp_path / "two")], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    one, other = (load_file(next((tmp_path / name).rglob("final/vae/*.safetensors"))) for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-2, atol=1e-3)


def test_a_smoke_test_takes_a_tenth_of_the_steps_under_its_own_name(capsys):
    assert bench("train", "clip", "--smoke", "--set", "batch_size=2", "--set", "held_out=2", "--dry-run", "--json") == 0
    smoke = json.loads(capsys.readouterr().out)
    assert smoke["recipe"] == "mini-clip-smoke"
    assert smoke["steps"] == 60


def test_curves_without_tensorboard_are_refused_with_the_remedy(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert bench("train", "autoencoder", *TINY, "--output", tmp_path, "--tensorboard") == 2
    assert "pip install tensorboard" in capsys.readouterr().err


def test_curves_are_written_as_tensorboard_reads_them(tmp_path, monkeypatch):
    written = []

    class Writer:
        def __init__(self, folder):
            self.folder = folder

        def add_scalar(self, name, value, step):
            written.append((name, step))

        def flush(self):
            pass

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer))
    assert bench("train", "autoencoder", *TINY, "--output", tmp_path, "--tensorboard", "--quiet") == 0
    assert {("loss", 2), ("validation/psnr", 2)} <= set(written)
