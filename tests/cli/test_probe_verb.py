"""The verb probe, as a user types it."""

from __future__ import annotations

import json

import pytest
from training_help import HOME

from ldznet_bench.cli import main

FEW = ("--steps", "2", "--batch-size", "2", "--limit", "4", "--blocks", "mid_block.attentions.0", "--home", HOME)


def bench(*arguments: object) -> int:
    return main._run([str(argument) for argument in arguments])


def test_the_gate_prints_a_table_and_a_verdict_and_draws_the_figure(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert bench("probe", "--gate", *FEW, "--output", tmp_path, "--figure", tmp_path / "f.svg") == 0
    said = capsys.readouterr()
    assert "random diffusion model, AP (mIoU) in % on minicut-photo:val, native@1" in said.out
    assert "against the 5 that are asked for: " in said.out
    assert (tmp_path / "f.svg").read_text().startswith("<?xml")
    assert bench("probe", "--gate", *FEW, "--output", tmp_path, "--json", "--figure", tmp_path / "g.svg") == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((tmp_path / "probe.json").read_text())
    assert set(found["gate"]) >= {"passed", "difference", "margin", "verdict"}
    assert (tmp_path / "f.svg").read_bytes() == (tmp_path / "g.svg").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--gate", "--ldm", "random"), "--gate compares both diffusion models"),
        (("--timesteps", "1e2"), "'1e2' is no timestep"),
        (("--timesteps", "1000"), "They are 0 to 999"),
        (("--weights", "sd=nowhere"), "there is nothing at nowhere"),
        (("--figure", "f.gif"), "cannot be written as 'f.gif'"),
        (("--blocks", "mid_block.attention.0"), "Did you mean 'mid_block.attentions.0'"),
    ],
)
def test_a_users_mistake_is_a_sentence(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert bench("probe", "--home", HOME, *arguments) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("arguments", "steps"), [((), 300), (("--gate",), 1500), (("--gate", "--steps", "7"), 7)])
def test_probes_of_the_gate_are_trained_for_longer(arguments, steps, tmp_path, monkeypatch):
    from ldznet_bench.training import gate

    asked = []

    def remember(order, _make_progress):
        asked.append(order.recipe.steps)
        return {"identity": {"recipe": {"val": "v"}}, "scores": {}, "gate": {"timesteps": [], "difference": 0.0, "margin": 5.0, "verdict": "v"}}

    monkeypatch.setattr(gate, "run_probes", remember)
    assert bench("probe", *arguments, "--output", tmp_path, "--home", HOME) == 0
    assert asked == [steps]
