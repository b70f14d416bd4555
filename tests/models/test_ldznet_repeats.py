"""Several draws of a stochastic recipe: averages, and how far scores spread by what is drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusion_models import given, model, pairs, write_weights

from ldznet_bench.errors import BenchError
from ldznet_bench.models.ldznet import LDZNet
from ldznet_bench.models.repeats import Averaged, averaged, draws, spread, variants
from ldznet_bench.models.trivial import Full, Noise

SAMPLES = [("a", "cat", 3), ("b", "the red car", 4)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def stochastic(weights: Path) -> LDZNet:
    return model(weights, recipe="paper-stochastic", micro_batch=2)


def test_spread_is_told_by_source(stochastic: LDZNet) -> None:
    found = spread(stochastic, given(), SAMPLES, 3)
    assert [set(one.deviation) for one in found] == [{"all", "template", "timestep", "noise", "vae"}] * 2
    assert all(value > 0 for one in found for name, value in one.deviation.items() if name != "template")


def test_spread_is_the_deviation_over_draws_done_by_hand(stochastic: LDZNet) -> None:
    found = spread(stochastic, given(), SAMPLES[:1], 3)[0]
    draws = []
    for repeat in range(3):
        drawn = stochastic.repeated(repeat, ("noise",))
        draws.append(drawn.predict(pairs(drawn, given(), ("cat",), seed=3))[0])
    mean = sum(draws) / 3
    squares = sum((draw - mean) ** 2 for draw in draws) / 2
    assert found.deviation["noise"] == pytest.approx(float(squares.mean().sqrt()), rel=1e-4)


def test_average_is_the_mean_of_the_draws(stochastic: LDZNet) -> None:
    averaged = Averaged(stochastic, 3)
    ours = averaged.predict(pairs(averaged, given(), ("cat", "the red car")))
    draws = [draw.predict(pairs(draw, given(), ("cat", "the red car"))) for draw in variants(stochastic, 3)["all"]]
    for index, scores in enumerate(ours):
        assert torch.allclose(scores, sum(draw[index] for draw in draws) / 3, atol=1e-6)


def test_average_has_an_identity_and_a_name_of_its_own(stochastic: LDZNet) -> None:
    made = averaged(stochastic, 3)
    assert made.recipe == {**stochastic.recipe, "repeats": 3}
    assert made.name == f"{stochastic.name}.mean3"


def test_draws_are_seeds_and_each_stream_alone(stochastic: LDZNet) -> None:
    found = draws(stochastic, 3, 7)
    assert [(draw.segmenter.name.partition("~")[2], draw.seed) for draw in found] == [
        *[("", 7), ("", 8), ("", 9)],
        *[(f"{stream}{repeat}", 7) for stream in ("template", "timestep", "noise", "vae") for repeat in (1, 2)],
    ]
    assert len({str(draw.segmenter.recipe) for draw in found}) == 9


def test_what_draws_nothing_is_refused() -> None:
    for make in (lambda: draws(Full(), 2, 0), lambda: averaged(Full(), 2)):
        with pytest.raises(BenchError, match="full is no network that draws anything"):
            make()
    assert [draw.seed for draw in draws(Noise(), 2, 4)] == [4, 5]
    with pytest.raises(BenchError, match="Add --spread"):
        averaged(Noise(), 2)


def test_average_refuses_the_character_that_separates_prompts(stochastic: LDZNet) -> None:
    averaged = Averaged(stochastic, 2)
    with pytest.raises(BenchError, match=r"U\+001E"):
        averaged.encode_text([averaged.prompt("a\x1eb", 0)])


@pytest.mark.parametrize("count", [0, 1])
def test_one_draw_has_no_spread(stochastic: LDZNet, count: int) -> None:
    with pytest.raises(BenchError, match="at least 2"):
        variants(stochastic, count)


def test_deterministic_recipe_has_no_spread(weights: Path) -> None:
    with pytest.raises(BenchError, match="no network that draws anything"):
        Averaged(model(weights), 2)
