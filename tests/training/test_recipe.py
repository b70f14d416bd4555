"""Recipes as data, and what is refused in them."""

import pytest

from ldznet_bench.errors import BenchError
from ldznet_bench.training.recipe import load_recipe, load_suite, recipe_names, suite_names


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_that_comes_along_is_one(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert name.startswith(recipe.variant.split("-")[0])


@pytest.mark.parametrize("name", suite_names())
def test_a_suites_recipes_come_after_what_they_read(name):
    suite = load_suite(name)
    networks = [load_recipe(recipe).network for recipe in suite.recipes]
    everything = {"autoencoder", "clip", "ldm"}
    reads = {"ldm": {"autoencoder", "clip"}, "clipseg": {"clip"}, "rgbnet": everything, "znet": everything, "ldznet": everything}
    if not everything & set(networks):
        return  # on networks that the package carries or --weights gives
    for place, network in enumerate(networks):
        assert reads.get(network, set()) <= set(networks[:place])
    assert set(suite.bundled) <= set(suite.recipes)


def test_keys_are_changed_one_by_one():
    recipe = load_recipe("mini-znet", {"steps": "7", "learning_rate": "1e-5", "crop": "[0.5, 0.9]", "model.image_size": "64", "ema": "null"})
    assert (recipe.steps, recipe.learning_rate, recipe.crop, recipe.model["image_size"], recipe.ema) == (7, 1e-5, (0.5, 0.9), 64, None)
    assert recipe != load_recipe("mini-znet")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stepz": "7"}, "Did you mean 'steps'"),
        ({"steps": "many"}, "steps should be a whole number"),
        ({"steps": "0"}, "at least 1"),
        ({"learning_rate": "-1.0"}, "above 0"),
        ({"crop": "[0.9, 0.5]"}, "the lower one first"),
        ({"data": "minicut-captions"}, "labelled split"),
        ({"start": "imagenet"}, "'imagenet'"),
        ({"steps": "["}, "not YAML"),
        ({"betas": "[1.5, 2]"}, r"two numbers in \[0, 1\)"),
        ({"weight_decay": "-1"}, "0 or more"),
        ({"learning_rate": ".nan"}, "above 0"),
        ({"clip_norm": "-1"}, "above 0"),
        ({"images": "0"}, "at least 1"),
        ({"validate_every": "-1"}, "at least 1"),
        ({"validate_limit": "0"}, "at least 1"),
        ({"warmup": "-1"}, "0 or more"),
        ({"ema": "3"}, r"in \[0, 1\)"),
        ({"name": "../../x"}, "names a folder"),
        ({"model.image_size.wide": "3"}, "image_size has no keys of its own"),
    ],
)
def test_what_is_wrong_is_said(changes, said):
    with pytest.raises(BenchError, match=said):
        load_recipe("mini-znet", changes)


def test_a_key_within_a_key_is_changed():
    recipe = load_recipe("mini-clip", {"model.text.hidden_size": "64"})
    assert recipe.model["text"] == {**load_recipe("mini-clip").model["text"], "hidden_size": 64}
    assert load_recipe("mini-znet", {"model.unet.norm_num_groups": "4"}).model["unet"] == {"norm_num_groups": 4}


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(BenchError, match="mini-ldznet"):
        load_recipe("mini-ldznett")


def test_a_recipe_may_be_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nnetwork: clip\nvariant: mini\nsummary: s\ndata: minicut-captions\nsteps: 3\nbatch_size: 2\nlearning_rate: 1e-3\n")
    assert load_recipe(str(path)).steps == 3
    path.write_text(path.read_text() + "stepz: 4\n")
    with pytest.raises(BenchError, match=r"mine.yaml:9: unknown key 'stepz'"):
        load_recipe(str(path))
