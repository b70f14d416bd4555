"""Model cards, those in the repository and the rules they are read by."""

from __future__ import annotations

from pathlib import Path

import pytest

from ldznet_bench.cards import card_names
from ldznet_bench.errors import BenchError
from ldznet_bench.models.card import model_card
from ldznet_bench.models.trivial import WEIGHT_FREE
from ldznet_bench.protocols import PROTOCOLS
from ldznet_bench.registry import Entry

CARD = """
name: it
title: It
family: it
kind: {kind}
scores: dense
status: ours
factory: a:b
summary: it
licence: none
"""


def read(tmp_path: Path, extra: str, kind: str = "network") -> object:
    path = tmp_path / "it.yaml"
    path.write_text(CARD.format(kind=kind) + extra)
    return model_card("it", path)


@pytest.mark.parametrize("name", card_names("baselines"))
def test_every_card_is_valid(name: str) -> None:
    assert model_card(name).name == name


@pytest.mark.parametrize("name", card_names("baselines"))
def test_every_factory_exists(name: str) -> None:
    assert callable(Entry("model", name, model_card(name).factory, "us").resolve())


@pytest.mark.parametrize("name", card_names("baselines"))
def test_published_rows_name_protocols_and_metrics_that_exist(name: str) -> None:
    for row in model_card(name).published:
        assert row.protocol is None or row.metric in PROTOCOLS[row.protocol].metrics, row


@pytest.mark.parametrize("name", sorted(WEIGHT_FREE))
def test_scores_kind_is_the_segmenters(name: str) -> None:
    assert (model_card(name).scores == "binary") == WEIGHT_FREE[name].binary


def test_clipseg_parameters_are_the_networks() -> None:
    import torch
    from make_clipseg import make_config
    from transformers import CLIPSegForImageSegmentation

    with torch.device("meta"):
        model = CLIPSegForImageSegmentation(make_config("full", refined=True, reduce_dim=64))
    stated = model_card("clipseg").parameters
    assert stated is not None
    counted = (sum(p.numel() for p in model.parameters()), sum(p.numel() for p in model.decoder.parameters()))
    assert (stated.total, stated.trainable) == counted


@pytest.mark.parametrize(
    ("extra", "kind", "message"),
    [
        ("variants: {full: {summary: x, parts: [thing]}}", "network", "variant full needs 'thing', which is not among parts"),
        ("", "network", "a network model lacks variants"),
        ("variants: {full: {summary: x}}", "weight-free", "a weight-free model has no variants"),
        ("recipes: {a: {summary: x, status: ours, source: us}}", "weight-free", "default_recipe is None, recipes are a"),
        ("default_recipe: a", "weight-free", "default_recipe is 'a', recipes are none"),
        ("license: none", "weight-free", "unknown key 'license' in the card. Did you mean 'licence'"),
        ("parameters: {total: many, trainable: 1}", "weight-free", "total"),
    ],
)
def test_what_a_card_may_not_say(extra: str, kind: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=message):
        read(tmp_path, extra, kind)
