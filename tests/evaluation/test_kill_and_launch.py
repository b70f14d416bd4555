"""Runs that are killed, and runs under torchrun, give the bytes of an undisturbed one. `pytest -m slow tests/evaluation`."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from make_phrasecut import make_phrasecut

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "ldznet_bench.cli.main"]


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    return make_phrasecut(tmp_path_factory.mktemp("release"), images=120, phrases=600, size=(200, 150))


@pytest.fixture(scope="module")
def masks(release, tmp_path_factory) -> Path:
    """Predictions of a third-party model: the box segmenter's masks, written as PNG."""
    import numpy as np
    from PIL import Image

    folder = tmp_path_factory.mktemp("masks")
    draw = np.random.default_rng(1)
    from ldznet_bench.api import load_dataset

    data = load_dataset("phrasecut:test", data_root=release, home=tmp_path_factory.mktemp("home"))
    for ident in data.sample_ids():
        mask = np.zeros((150, 200), bool)
        top, left = draw.integers(0, 100, 2)
        mask[top : top + 50, left : left + 60] = True
        Image.fromarray(mask).save(folder / f"{ident}.png")
    return folder


def verb(kind: str, release: Path, masks: Path, home: Path, output: Path) -> list[str]:
    places = ["--data-root", str(release), "--home", str(home), "--output", str(output), "--protocol", "clipseg@1"]
    if kind == "score":
        return ["score", "--dataset", "phrasecut:test", "--predictions", str(masks), "--name", "boxes", *places]
    return ["run", "--models", kind, "--datasets", "phrasecut:test", *places]


def contents(output: Path) -> dict[str, bytes]:
    return {str(path.relative_to(output)): path.read_bytes() for name in ("records.parquet", "summary.json") for path in output.rglob(name)}


def finished(output: Path) -> bool:
    return any(json.loads(path.read_bytes())["status"] == "complete" for path in output.rglob("run.json"))


@pytest.mark.parametrize("kind", ["noise", "score"])
def test_twenty_kills_change_no_byte(kind, release, masks, tmp_path):
    home = tmp_path / "home"
    start = time.monotonic()
    subprocess.run([*COMMAND, *verb(kind, release, masks, home, tmp_path / "whole")], check=True, capture_output=True)
    length = time.monotonic() - start
    command = [*COMMAND, *verb(kind, release, masks, home, tmp_path / "killed")]
    moments = random.Random(0)
    killed = 0
    while killed < 20:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.2, min(length, 3.0)))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        if finished(tmp_path / "killed"):  # between two kills: begin again elsewhere
            assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
            (tmp_path / "killed").rename(tmp_path / f"finished-{killed}-{moments.random()}")
    subprocess.run(command, check=True, capture_output=True)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert not list((tmp_path / "killed").rglob("*.part"))


def test_ctrl_c_says_that_the_same_command_continues(release, masks, tmp_path):
    command = [*COMMAND, *verb("noise", release, masks, tmp_path / "home", tmp_path / "runs")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list((tmp_path / "runs").rglob("*.bin")) and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "the same command continues" in errors
    assert "Traceback" not in errors
    subprocess.run(command, check=True, capture_output=True)
    assert len(contents(tmp_path / "runs")) == 2


@pytest.mark.parametrize("kind", ["noise", "score"])
def test_one_and_two_processes_and_any_batch_give_the_same_bytes(kind, release, masks, tmp_path):
    home = tmp_path / "home"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def run(name: str, launcher: list[str], *more: str) -> dict[str, bytes]:
        subprocess.run([*launcher, *verb(kind, release, masks, home, tmp_path / name), *more], check=True, capture_output=True, env=environment)
        return contents(tmp_path / name)

    whole = run("one", COMMAND)
    assert len(whole) == 2
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    assert run("torchrun-1", [*torchrun, "1", "-m", "ldznet_bench.cli.main"]) == whole
    assert run("torchrun-2", [*torchrun, "2", "-m", "ldznet_bench.cli.main"]) == whole
    assert run("batch-1", COMMAND, "--micro-batch", "1") == whole
    assert run("batch-7", COMMAND, "--micro-batch", "7") == whole
