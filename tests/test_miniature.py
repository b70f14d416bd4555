"""The command behind the miniature's reference table, on a handful of samples."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def command(tmp_path: Path, rows: str, *more: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "rows.yaml").write_text(rows)
    (tmp_path / "to").mkdir()
    script = [sys.executable, str(ROOT / "benchmarks" / "miniature.py"), "--rows", str(tmp_path / "rows.yaml"), "--to", str(tmp_path / "to")]
    folders = ["--trainings", str(tmp_path / "none"), "--output", str(tmp_path / "runs")]
    return subprocess.run([*script, *folders, "--limit", "4", *more], capture_output=True, text=True, check=False)


@pytest.mark.timeout(180)
def test_it_writes_every_table_and_says_what_is_not_trained(tmp_path):
    rows = (
        "rows:\n- {model: center}\n- {model: oracle}\n- {model: znet/mini-scratch, part: mini-znet-scratch, recipe: mini-znet-scratch, seeds: [3]}\n"
    )
    done = command(tmp_path, rows + "claims:\n- {claim: it helps, a: center, b: znet/mini-scratch}\n")
    assert done.returncode == 0, done.stderr
    assert "znet/mini-scratch: seed 3 is not trained" in done.stderr
    assert {path.name for path in (tmp_path / "to").iterdir()} == {"table.md", "table-ldznet.md", "slices.md", "controls.md", "claims.md"}
    assert "| Oracle" in (tmp_path / "to" / "table.md").read_text()
    assert "not trained, so not compared" in (tmp_path / "to" / "claims.md").read_text()


@pytest.mark.parametrize("name", ["rows.yaml", "rows-longer.yaml"])
def test_every_row_of_the_plan_names_a_model_and_a_recipe_that_are_there(name):
    import yaml

    from ldznet_bench.models.card import model_card
    from ldznet_bench.models.load import parse_model_name
    from ldznet_bench.training.recipe import recipe_names

    plan = yaml.safe_load((ROOT / "results" / "mini" / name).read_text())
    for row in plan["rows"]:
        card = model_card(parse_model_name(row["model"]).family)
        assert row.get("part") is None or row["part"] in card.parts
        assert row.get("recipe") is None or row["recipe"] in recipe_names()
    rows = {row["model"] for row in plan["rows"]}
    assert {model for claim in plan["claims"] for model in (claim["a"], claim["b"])} | set(plan["controlled"]) <= rows


def test_a_misspelt_row_is_refused(tmp_path):
    done = command(tmp_path, "rows:\n- {model: center}\nclaims: []\n", "--only", "centre")
    assert done.returncode == 2
    assert "--only: centre is no row of" in done.stderr
