"""The smoke test of a recipe."""

from __future__ import annotations

import pytest

from ldznet_bench.training.recipe import load_recipe, recipe_names, shortened


@pytest.mark.parametrize("name", [name for name in recipe_names() if name.startswith("mini-")])
def test_a_tenth_of_the_steps_and_nothing_else_of_what_is_learned_changes(name):
    recipe, short = load_recipe(name), shortened(load_recipe(name))
    assert 20 <= short.steps == max(20, recipe.steps // 10)
    assert short.warmup < short.steps
    assert short.checkpoint_every <= short.steps
    assert (short.model, short.learning_rate, short.batch_size, short.data) == (recipe.model, recipe.learning_rate, recipe.batch_size, recipe.data)


def test_a_short_training_is_not_made_longer():
    assert shortened(load_recipe("mini-znet", {"steps": "5"})).steps == 5
