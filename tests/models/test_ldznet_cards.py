"""The cards of the diffusion models, and the models loaded by name as the command line does it."""

from __future__ import annotations

from pathlib import Path

import pytest
from diffusion_models import CONFIGS, TINY, given, model, pairs, write_weights
from make_sd import single_file_tensors, write_repository

from ldznet_bench.errors import WeightsError
from ldznet_bench.models.card import model_card
from ldznet_bench.models.diffusion import Recipe
from ldznet_bench.models.load import load_model
from ldznet_bench.models.segunet import SegUNetConfig, parameters_of, rgbnet, znet

NAMES = ("ldznet", "znet", "rgbnet", "ldm-attention")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.mark.parametrize("name", NAMES)
def test_recipes_are_those_of_the_code(name: str) -> None:
    card = model_card(name)
    assert card.default_recipe == Recipe().name
    assert {Recipe.named(recipe).name for recipe in card.recipes} == set(card.recipes)
    assert len(card.recipes) == (5 if name == "ldznet" else 4)


@pytest.mark.parametrize("name", NAMES)
def test_audit_finds_every_component(name: str) -> None:
    card = model_card(name)
    assert "CLIP" in " ".join(entry.component for entry in card.training_data)
    assert card.generator_affinity


@pytest.mark.parametrize(("name", "config"), [("ldznet", SegUNetConfig()), ("znet", znet(SegUNetConfig())), ("rgbnet", rgbnet(SegUNetConfig()))])
def test_trainable_parameters_are_counted(name: str, config: SegUNetConfig) -> None:
    assert model_card(name).parameters.trainable == parameters_of(config)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("ldznet/full", ("ldznet", "sd")),
        ("ldznet", ("ldznet", "sd")),
        ("znet/full+demo-stochastic", ("znet", "sd")),
        ("rgbnet", ("rgbnet", "sd")),
        ("ldm-attention", ("sd",)),
    ],
)
def test_models_load_by_name(weights: Path, name: str, parts: tuple[str, ...]) -> None:
    segmenter = load_model(name, weights={part: weights / part for part in parts}, home=weights / "home")
    family, _, rest = name.partition("/")
    assert segmenter.name == f"{family}/full+{rest.partition('+')[2] or 'paper-deterministic'}"
    assert segmenter.predict(pairs(segmenter, given(), ("cat",)))[0].ndim == 2


def test_rgbnet_from_scratch_is_a_variant_of_its_own(weights: Path) -> None:
    chosen = {"rgbnet-scratch": weights / "rgbnet", "sd": weights / "sd"}
    assert load_model("rgbnet/full-scratch", weights=chosen, home=weights / "home").name == "rgbnet/full-scratch+paper-deterministic"


def test_missing_stable_diffusion_says_how_it_is_fetched(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"--weights sd=DIR.*`ldznet-bench download ldznet/full` fetches it"):
        load_model("ldznet", weights={"ldznet": weights / "ldznet"}, home=tmp_path)


def test_one_folder_may_hold_everything(weights: Path, tmp_path: Path) -> None:
    whole = write_repository(tmp_path / "all", TINY.sd)
    (whole / "segmenter").symlink_to(weights / "ldznet" / "segmenter")
    segmenter = load_model("ldznet", weights={"ldznet": whole, "sd": whole}, home=tmp_path)
    assert segmenter.recipe["ldm_weights"] == "non-ema"
    assert CONFIGS["ldznet"].image_size == segmenter.recipe["image_size"]


def test_single_file_and_repository_give_the_same_scores(weights: Path, tmp_path: Path) -> None:
    import json
    import shutil

    from make_sd import save_lightning

    repository = write_repository(tmp_path / "repository", TINY.sd, sets="both")
    file = tmp_path / "file"
    save_lightning(single_file_tensors(repository, TINY.sd), file / "sd-v1-4-full-ema.ckpt")
    shutil.copytree(repository / "tokenizer", file / "tokenizer")
    (file / "architecture.json").write_text(json.dumps(TINY.to_json()))
    scores = []
    for sd in (repository, file):
        segmenter = model(weights, parts={"ldznet": weights / "ldznet", "sd": sd})
        scores.append(segmenter.predict(pairs(segmenter, given(), ("cat",)))[0].logit())
    assert float((scores[0] - scores[1]).abs().max()) <= 1e-4 * float(scores[0].std())
