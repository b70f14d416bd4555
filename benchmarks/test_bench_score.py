"""`score` end to end over PhraseCut test's 14,354 samples, beside PhraseCut's own way of scoring a task; peak memory at a tenth and at full size.

pytest benchmarks/test_bench_score.py -s
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from make_scored import make
from PIL import Image, ImageDraw

SIZES = {"tenth": (255, 1435), "full": (2545, 14354)}


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, tuple[Path, Path]]:
    return {name: make(tmp_path_factory.mktemp(name), *size) for name, size in SIZES.items()}


def idiom(release: Path, masks: Path, count: int) -> float:
    """Seconds per task of the usual way: a canvas per polygon, a stack, float masks, sums."""
    tasks = json.loads((release / "refer_test.json").read_text())[:count]
    start = time.perf_counter()
    total = 0.0
    for task in tasks:
        predicted = np.array(Image.open(masks / f"{task['task_id']}.png"), dtype=np.float64)
        layers = []
        for instance in task["Polygons"]:
            for polygon in instance:
                layer = Image.new("L", (500, 375), 0)
                ImageDraw.Draw(layer).polygon([(int(x), int(y)) for x, y in polygon], outline=1, fill=1)
                layers.append(np.array(layer))
        truth = np.max(np.stack(layers), axis=0).astype(np.float64)
        total += np.sum(np.logical_and(predicted, truth)) / np.sum(np.logical_or(predicted, truth))
    assert total > 0
    return (time.perf_counter() - start) / count


def score(release: Path, masks: Path, folder: Path, run: str) -> tuple[float, float]:
    """Wall seconds and peak megabytes of the whole command, imports and preparing included on the first call."""
    command = [sys.executable, "-m", "ldznet_bench.cli.main", "score", "--dataset", "phrasecut:test", "--predictions", str(masks)]
    command += ["--protocol", "phrasecut@1", "--name", run, "--data-root", str(release), "--home", str(folder / "home"), "--output", str(folder)]
    code = f"import resource, subprocess; subprocess.run({command!r}, check=True, capture_output=True)"
    code += "; print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return time.perf_counter() - start, int(done.stdout) / 1024


@pytest.mark.timeout(1800)
def test_score_end_to_end(places, tmp_path, benchmark):
    figures = {}
    for name, (release, masks) in places.items():
        folder = tmp_path / name
        figures[name] = {"cold": score(release, masks, folder, "cold"), "cached masks": score(release, masks, folder, "warm")}
    usual = idiom(*places["full"], 1000)
    benchmark.pedantic(score, args=(*places["full"], tmp_path / "full", "again"), rounds=1)
    for name, by_kind in figures.items():
        for kind, (seconds, megabytes) in by_kind.items():
            count = SIZES[name][1]
            print(f"{count:>6} samples, {kind}: {seconds:6.1f} s, {1000 * seconds / count:.2f} ms a sample, peak {megabytes:.0f} MB")
    print(f"the usual way: {1000 * usual:.2f} ms a task without preparing, records or subsets: {usual * SIZES['full'][1]:.1f} s")
    assert figures["full"]["cached masks"][1] < 1.2 * figures["tenth"]["cached masks"][1]
