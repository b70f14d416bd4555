"""Every command in README and docs is run, or at least understood, by the command line; the table in README is what its command prints."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import click
import numpy as np
import pytest
from make_clipseg import write_clipseg
from PIL import Image
from pycocotools import mask as coco

from ldznet_bench.cli import main

REPOSITORY = Path(__file__).parent.parent
GOLDENS = REPOSITORY / "tests" / "goldens"
PAGES = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")])
README = (REPOSITORY / "README.md").read_text()


def blocks(page: Path, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def write_dumps(masks: Path, folder: Path) -> None:
    """The masks in the other forms of docs/other-models.md."""
    (release,) = (GOLDENS / "releases").rglob("refer_test.json")
    tasks = {task["task_id"]: task for task in json.loads(release.read_text())}
    maps = {path.stem: (np.asarray(Image.open(path)) != 0).astype(np.uint8) for path in masks.glob("*.png")}
    codes = {ident: coco.encode(np.asfortranarray(mask)) for ident, mask in maps.items()}
    rles = {ident: {"size": code["size"], "counts": code["counts"].decode()} for ident, code in codes.items()}
    nested: dict[str, dict[str, object]] = {}
    for ident, code in rles.items():
        nested.setdefault(str(tasks[ident]["image_id"]), {})[tasks[ident]["phrase"]] = code
    folder.mkdir()
    np.savez(folder / "maps.npz", **{ident: mask.astype(np.float32) for ident, mask in maps.items()})
    (folder / "by_id.json").write_text(json.dumps([{"sample_id": ident, "segmentation": code} for ident, code in rles.items()]))
    (folder / "nested.json").write_text(json.dumps(nested))
    lines = [{"image": f"{image}.jpg", "phrase": phrase, "masks": [code]} for image, phrases in nested.items() for phrase, code in phrases.items()]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with everything that the pages name."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(GOLDENS / "releases", tmp_path / "releases")
    shutil.copytree(GOLDENS / "evaluation" / "phrasecut_predictions" / "test", tmp_path / "masks")
    write_dumps(tmp_path / "masks", tmp_path / "dumps")
    Image.new("RGB", (64, 48), (90, 120, 30)).save(tmp_path / "photo.jpg")
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "bash")], ids=lambda page: page.name)
def test_commands_run_in_the_order_of_the_page(page, place, capsys):
    commands = [line for block in blocks(page, "bash") for line in block.splitlines() if line.startswith("ldznet-bench")]
    if any("clipseg=" in command for command in commands):
        write_clipseg(place / "clipseg-rd64-refined")
    for command in commands:
        code = main._run(shlex.split(command)[1:])
        said = capsys.readouterr()
        assert code == 0, f"{command}\n{said.err}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_a_page_is_understood(page):
    lines = re.findall(r"^(?:    |\| )?`?(?:\.venv/bin/)?(ldznet-bench [^`\n|]*)", page.read_text(), re.MULTILINE)
    for line in lines:
        verb, *arguments = shlex.split(line.replace("…", "X"), comments=True)[1:]
        command = main.cli.get_command(click.Context(main.cli), verb)
        assert command is not None
        command.make_context(verb, arguments, resilient_parsing=True)
        unknown = [
            word for word in arguments if word.startswith("--") and not any(word.split("=")[0] in parameter.opts for parameter in command.params)
        ]
        assert not unknown, line


def test_python_of_the_readme_runs(place, capsys):
    for block in blocks(REPOSITORY / "README.md", "python"):
        exec(compile(block, "README.md", "exec"), {})
    assert re.search(r"^0\.\d+", capsys.readouterr().out)


def test_the_table_and_the_figure_in_the_readme_are_what_their_commands_make(place, capsys):
    command, table = re.search(r"<!-- printed by: ldznet-bench (.*?) -->\n```text\n(.*?)```", README, re.DOTALL).groups()
    assert main._run(shlex.split(command)) == 0
    assert capsys.readouterr().out == table
    pytest.importorskip("matplotlib")
    command, figure = re.search(r"<!-- made by: ldznet-bench (.*?) -->\n!\[.*?\]\((.*?)\)", README, re.DOTALL).groups()
    assert main._run(shlex.split(command)) == 0
    made, shown = (np.asarray(Image.open(path).convert("RGB"), dtype=int) for path in (*place.glob("figures/*-grid.png"), REPOSITORY / figure))
    # Not byte by byte: another build of the font library sets letters a little differently.
    assert made.shape == shown.shape and np.abs(made - shown).mean() < 0.5


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_sizes_of_jobs_follow_from_what_was_measured():
    """docs/scaling.md reckons with the rates that benchmarks/README.md states."""
    measured = (REPOSITORY / "benchmarks" / "README.md").read_text()
    page = (REPOSITORY / "docs" / "scaling.md").read_text()
    five, one = (
        float(re.search(pattern, measured)[1])
        for pattern in (r"2\.5x the phrases/s \| [\d.]+x \(([\d.]+) against", r"not slower \| [\d.]+x \(([\d.]+) against")
    )
    a, b = (float(re.search(rf"`{name}` = ([\d.]+) s", page)[1]) for name in "ab")
    assert (a + b, a + 5 * b) == pytest.approx((1 / one, 5 / five), abs=2e-3)
    units = {"s": 1, "min": 60, "h": 3600, "days": 86400}
    rows = re.findall(r"^\| [^|]+ \| ([\d,]+) \| ([\d,]+) \| ([\d.]+ \w+) \| ([\d.]+ \w+) \| ([\d.]+ \w+) \|$", page, re.MULTILINE)
    assert len(rows) == 2
    for images, phrases, *times in rows:
        whole = a * int(images.replace(",", "")) + b * int(phrases.replace(",", ""))
        for cores, said in zip((1, 8, 32), times, strict=True):
            value, unit = said.split()
            assert float(value) * units[unit] == pytest.approx(whole / cores, rel=0.02), said
