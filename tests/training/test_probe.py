"""Probes: deterministic, independent of one another, resumable, and a gate that can be passed and failed."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from training_help import HOME

from ldznet_bench.errors import BenchError
from ldznet_bench.models.sd import SD_V1_UNET, block_names
from ldznet_bench.share import shared
from ldznet_bench.training import probe
from ldznet_bench.training.gate import run_probes, verdict
from ldznet_bench.training.probe import ProbeOrder, Prober, ProbeRecipe
from ldznet_bench.training.probe_decoder import ProbeDecoder

MID, UP = "mid_block.attentions.0", "up_blocks.2.resnets.1"
RECIPE = ProbeRecipe(steps=2, batch_size=2, limit=4)


class Bar:
    def __init__(self, title="", total=0):
        self.total, self.done = total, 0

    def update(self, samples):
        self.done += samples


def order(output, ldms=("trained",), timesteps=(400,), blocks=(MID, UP), gate=False, **changes):
    return ProbeOrder(dataclasses.replace(RECIPE, **changes), ldms, timesteps, blocks, gate, (shared("baselines") / "mini" / "sd",), output, HOME)


def test_blocks_of_stable_diffusion_are_the_papers():
    names = block_names(SD_V1_UNET)
    assert len(names) == 8 + 1 + 12
    assert names[:2] == ("down_blocks.0.attentions.0", "down_blocks.0.attentions.1")
    assert {name for name in names if "resnets" in name} == {f"down_blocks.3.resnets.{i}" for i in (0, 1)} | {
        f"up_blocks.0.resnets.{i}" for i in (0, 1, 2)
    }


def test_decoders_differ_between_blocks_in_what_they_read_alone():
    one, other = (sum(value.numel() for value in ProbeDecoder(width, 16).parameters()) for width in (8, 40))
    assert other - one == 32 * 24
    features, text = torch.randn(2, 8, 3, 3), torch.randn(2, 5, 16)
    decoder = ProbeDecoder(8, 16)
    logits = decoder(features, text, (6, 6))
    assert logits.shape == (2, 1, 6, 6)
    torch.testing.assert_close(decoder(100 * features, text, (6, 6)), logits, atol=1e-3, rtol=1e-3)  # the scale of features decides nothing
    assert not torch.allclose(decoder(features, text + torch.randn(16), (6, 6)), logits)
    logits.sum().backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in decoder.parameters())


def test_a_block_alone_and_a_continued_command_give_the_scores_of_all_at_once(tmp_path, monkeypatch):
    bars = []
    both = run_probes(order(tmp_path / "a", ("trained", "random"), (100, 400)), lambda *given: bars.append(Bar(*given)) or bars[-1])
    assert [bar.done for bar in bars] == [bar.total for bar in bars] == [2 * (2 * 2 + 4)] * 2
    assert both["scores"]["trained"]["400"] != both["scores"]["random"]["400"]
    alone = run_probes(order(tmp_path / "b", blocks=(UP,)), Bar)
    assert alone["scores"]["trained"]["400"][UP] == both["scores"]["trained"]["400"][UP]
    then = run_probes(order(tmp_path / "b", ("trained", "random"), (100, 400)), Bar)
    assert then["scores"]["random"] == both["scores"]["random"]
    assert json.loads((tmp_path / "b" / "probe.json").read_text()) == then
    monkeypatch.setattr(Prober, "probe", lambda *_: pytest.fail("was done before"))
    assert run_probes(order(tmp_path / "b", ("trained", "random"), (400,)), Bar) == then
    with pytest.raises(BenchError, match="holds other probes"):
        run_probes(order(tmp_path / "b", steps=3), Bar)


def test_a_loss_that_is_no_number_stops_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "_loss", lambda logits, masks: logits.sum() * float("nan"))
    with pytest.raises(BenchError, match=r"the probe of mid_block.attentions.0 has a loss that is no number \(trained diffusion model, timestep 400"):
        run_probes(order(tmp_path), Bar)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("gain", "passed"), [(0.0501, True), (0.0499, False)])
def test_the_gate_stands_at_five_points_of_the_mean(gain, passed):
    scores = {
        ldm: {"400": {"a": {"ap": 0.2 + 2 * more}, "b": {"ap": 0.3}}, "500": {"a": {"ap": 0.2 + more}, "b": {"ap": 0.3 + more}}}
        for ldm, more in (("trained", gain), ("random", 0.0))
    }
    found = verdict(scores, ("a", "b"), (400, 500))
    assert found["difference"] == pytest.approx(100 * gain)
    assert found["passed"] is passed
    assert ("void" in found["verdict"]) is not passed
