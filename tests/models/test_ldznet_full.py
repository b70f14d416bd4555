"""The networks at full size, seeded weights, on real photographs through the command line. `-m slow`; 15 GB of disk, 6 minutes on two cores.

Prints seconds per phase and peak memory. Scores mean nothing; that they are made, from start to table, under 10 GB, does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from make_sd import write_repository, write_segmenter

from ldznet_bench.models.checkpoints import Architecture
from ldznet_bench.models.segunet import rgbnet, znet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
_NEEDED = 16 << 30
_SAMPLES = 6


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full")
    free = shutil.disk_usage(folder).free
    if free < _NEEDED:
        pytest.skip(f"{free >> 30} GB of disk are free, {_NEEDED >> 30} are needed")
    architecture = Architecture()
    write_repository(folder / "sd", architecture.sd)
    for name, config in (("ldznet", architecture.segmenter), ("znet", znet(architecture.segmenter)), ("rgbnet", rgbnet(architecture.segmenter))):
        write_segmenter(folder / name, config)
    return folder


@pytest.mark.parametrize(
    ("model", "precision"), [("ldznet", "fp32"), ("ldznet", "bf16"), ("znet", "fp32"), ("rgbnet", "fp32"), ("ldm-attention", "fp32")]
)
def test_full_size_on_real_photographs(weights: Path, real_data: Path, tmp_path: Path, model: str, precision: str) -> None:
    parts = {"sd"} if model == "ldm-attention" else {model, "sd"}
    command = [sys.executable, "-m", "ldznet_bench.cli.main", "run", "--models", f"{model}/full", "--datasets", "phrasecut:miniv"]
    command += ["--data-root", str(real_data), "--limit", str(_SAMPLES), "--output", str(tmp_path / "runs"), "--home", str(weights / "home")]
    command += ["--precision", precision, *(word for part in sorted(parts) for word in ("--weights", f"{part}={weights / part}"))]
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    run = next((tmp_path / "runs").rglob("run.json")).parent
    assert json.loads((run / "summary.json").read_text())["n_samples"] == _SAMPLES
    timings = pq.read_table(run / "timings.parquet").to_pydict()
    seconds = {name: sum(value or 0 for value in values) / _SAMPLES for name, values in timings.items() if name not in ("block", "samples")}
    phases = ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items() if isinstance(value, float))
    peak = usage.ru_maxrss / 1e6
    print(f"{model} {precision}: per sample {phases}; peak {peak:.1f} GB, mapped weights included")
    assert peak < 10
