"""Labelled pairs: crops that keep the object, templates, and which splits may be trained on."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from training_help import HOME

from ldznet_bench.datasets.load import load_dataset
from ldznet_bench.errors import DataError
from ldznet_bench.models.diffusion import TEMPLATES
from ldznet_bench.training.draws import numpy_generator
from ldznet_bench.training.labelled import LabelledPairs, square_around


@settings(max_examples=60, deadline=None)
@given(mask=arrays.arrays(bool, st.tuples(st.integers(2, 24), st.integers(2, 24))), low=st.floats(0.2, 1), place=st.integers(0, 99))
def test_a_crop_is_a_square_inside_the_image_that_shows_the_object(mask, low, place):
    top, left, side = square_around(mask, (low, 1.0), numpy_generator(0, "crop", place))
    assert side >= 1
    assert 0 <= top <= mask.shape[0] - side
    assert 0 <= left <= mask.shape[1] - side
    if mask.any():
        assert mask[top : top + side, left : left + side].any()


@pytest.fixture(scope="module")
def train():
    return load_dataset("minicut-photo:train", home=HOME)


def test_an_example_is_image_mask_and_templated_phrase(train):
    pairs = LabelledPairs(train, 96, 0, crop=(0.75, 1.0))
    pixels, masks, prompts = pairs.batch(range(6))
    assert pixels.shape == (6, 3, 96, 96)
    assert masks.shape == (6, 1, 96, 96)
    assert float(pixels.min()) >= -1
    assert float(pixels.max()) <= 1
    assert set(masks.unique().tolist()) <= {0.0, 1.0}
    assert bool((masks.flatten(1).sum(1) > 0).all())
    phrases = {train.sample(i).phrase for i in range(train.n_samples)}
    for prompt in prompts:
        assert any(prompt == template.replace("{}", phrase) for template in TEMPLATES for phrase in phrases)


def test_an_uncropped_example_is_the_datasets_own(train):
    pairs = LabelledPairs(train, 96, 0, templates=False)
    example = pairs.example(0)
    again = pairs.example(0)
    assert torch.equal(example.pixels, again.pixels)
    assert example.prompt.startswith("a photo of a ")
    assert np.isin(example.mask.numpy(), (0, 1)).all()


def test_a_blind_network_is_shown_no_phrase(train):
    assert LabelledPairs(train, 96, 0, templates=False, blank=True).example(3).prompt == "a photo of a ."


@pytest.mark.parametrize("split", ["val", "test"])
def test_what_is_for_measuring_is_not_trained_on(split):
    with pytest.raises(DataError, match=f"minicut-photo:{split} is not a train split"):
        LabelledPairs(load_dataset(f"minicut-photo:{split}", home=HOME), 96, 0)
