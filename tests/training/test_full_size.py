"""A training at full size, seeded weights, on a few real photographs through the command line. `-m slow`; 18 GB of memory, 12 GB of disk, 10 minutes.

Prints seconds per step and peak memory.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from make_sd import write_repository

from ldznet_bench.models.checkpoints import Architecture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
_DISK, _MEMORY = 24 << 30, 18 << 30
_STEPS = 2


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full")
    disk, memory = shutil.disk_usage(folder).free, psutil.virtual_memory().available
    if disk < _DISK or memory < _MEMORY:
        pytest.skip(f"{disk >> 30} GB of disk and {memory >> 30} GB of memory are free, {_DISK >> 30} and {_MEMORY >> 30} are needed")
    write_repository(folder / "sd", Architecture().sd)
    return folder / "sd"


@pytest.mark.parametrize("network", ["znet", "ldznet"])
def test_two_steps_at_full_size_on_photographs(network: str, stable_diffusion: Path, real_data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ldznet_bench.cli.main", "train", network, "--variant", "full", "--dataset", "refcoco:train"]
    command += ["--data-root", str(real_data), "--weights", f"sd={stable_diffusion}", "--output", str(tmp_path / "trainings")]
    command += ["--home", str(tmp_path / "home"), "--json"]
    for change in (f"steps={_STEPS}", "batch_size=1", "ema=null", "validate_on=null", "checkpoint_every=1000"):
        command += ["--set", change]
    began = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    log = next((tmp_path / "trainings").rglob("log.jsonl")).read_text().splitlines()
    steps = [json.loads(line) for line in log if "samples_per_s" in line]
    print(f"full {network}: {steps}; {time.monotonic() - began:.0f} s in all; peak {usage.ru_maxrss / 1e6:.1f} GB, mapped weights included")
    assert steps[-1]["step"] == _STEPS
    shutil.rmtree(tmp_path / "trainings")
