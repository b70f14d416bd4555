"""docs/plugin-example, installed by pip as anybody would, run from another process: its model and its dataset behave as bundled ones do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

EXAMPLE = Path(__file__).parent.parent / "docs" / "plugin-example"
COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 80, 220)}


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The package in a folder of its own; built from a copy, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLE, folder / "source")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(folder / "site")]
    subprocess.run([*command, str(folder / "source")], check=True, capture_output=True, timeout=120)
    return folder / "site"


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    """Three pictures with a red, a green and a blue patch each."""
    folder = tmp_path_factory.mktemp("release") / "patches"
    folder.mkdir()
    lines = []
    for number in range(3):
        image = Image.new("RGB", (60, 40), (128, 128, 128))
        for place, (name, value) in enumerate(COLOURS.items()):
            box = (4 + 18 * place, 5 + 3 * number, 14, 20)
            ImageDraw.Draw(image).rectangle((box[0], box[1], box[0] + box[2] - 1, box[1] + box[3] - 1), fill=value)
            lines.append("\t".join(["test", f"{number}.png", *map(str, box), f"the {name} patch"]))
        image.save(folder / f"{number}.png")
    (folder / "patches.tsv").write_text("\n".join(lines) + "\n")
    return folder.parent


def bench(installed: Path, place: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{installed}{os.pathsep}{Path(__file__).parent.parent}"}
    command = [sys.executable, "-m", "ldznet_bench.cli.main", *map(str, arguments)]
    return subprocess.run(command, env=environment, cwd=place, capture_output=True, text=True, timeout=120, check=False)


def test_both_are_listed_and_described(installed, release, tmp_path):
    done = bench(installed, tmp_path, "list", "--data-root", release, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert any(row["name"] == "colour" and row["status"] == "external" for row in found["models"])
    assert any(row["name"] == "patches:test" and row["state"] == "on disk" for row in found["datasets"])
    assert "colour-bench 0.1.0" in bench(installed, tmp_path, "info", "colour").stdout
    assert "Coloured patches" in bench(installed, tmp_path, "info", "patches").stdout


def test_both_run_to_a_table_and_the_model_listens(installed, release, tmp_path):
    controls = ("--control", "none,blank,shuffled-within")
    done = bench(installed, tmp_path, "run", "--models", "colour", "--datasets", "patches:test", "--data-root", release, *controls, "--json")
    assert done.returncode == 0, done.stderr
    plain, blank, shuffled = (run["metrics"] for run in json.loads(done.stdout)["runs"])
    assert plain["miou"] == 1
    assert plain["ap"] == pytest.approx(1)
    assert blank["miou"] == shuffled["miou"] == 0
    done = bench(installed, tmp_path, "controls")
    assert "colour on patches:test, mIoU@native@1, 9 samples" in done.stdout
    assert "lost  100.0 %" in done.stdout


def test_a_mistake_in_its_release_is_a_sentence(installed, release, tmp_path):
    shutil.copytree(release, tmp_path / "bad")
    table = tmp_path / "bad" / "patches" / "patches.tsv"
    table.write_text(table.read_text() + "test\t0.png\t1\ttwo\n")
    done = bench(installed, tmp_path, "run", "--models", "colour", "--datasets", "patches:test", "--data-root", tmp_path / "bad")
    assert done.returncode == 2
    assert "patches.tsv, line 10" in done.stderr
    assert "Traceback" not in done.stderr
