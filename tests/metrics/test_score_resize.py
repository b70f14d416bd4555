"""Score maps reach the canvas as torch interpolates, and untouched where they have its size."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ldznet_bench.metrics.resize import resize

RULES = ["bilinear", "bilinear-aligned"]


def slow_bilinear(scores, size, aligned):
    """Every output pixel from its four neighbours, in float64."""

    def positions(n_in, n_out):
        index = np.arange(n_out)
        if aligned:
            return index * ((n_in - 1) / (n_out - 1) if n_out > 1 else 0.0)
        return np.clip((index + 0.5) * n_in / n_out - 0.5, 0, None)

    def weights(n_in, n_out):
        table = np.zeros((n_out, n_in))
        for row, position in enumerate(positions(n_in, n_out)):
            low = min(int(position), n_in - 1)
            high, part = min(low + 1, n_in - 1), position - low
            table[row, low] += 1 - part
            table[row, high] += part
        return table

    return weights(scores.shape[0], size[0]) @ scores @ weights(scores.shape[1], size[1]).T


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.integers(1, 9)] * 4), st.integers(0, 2**32 - 1))
def test_resizing_equals_the_slow_rule(rule, sides, seed):
    height, width, rows, columns = sides
    scores = np.random.default_rng(seed).random((height, width), dtype=np.float32)
    expected = slow_bilinear(scores.astype(np.float64), (rows, columns), rule == "bilinear-aligned")
    np.testing.assert_allclose(resize(scores, (rows, columns), rule), expected, atol=2e-6)


@pytest.mark.parametrize("rule", RULES)
def test_a_map_of_the_canvas_size_is_the_same_object(rule):
    scores = np.random.default_rng(0).random((5, 7), dtype=np.float32)
    assert resize(scores, (5, 7), rule) is scores


@pytest.mark.parametrize("rule", RULES)
def test_arrays_and_tensors_give_the_same_bits(rule):
    scores = np.random.default_rng(0).random((22, 27), dtype=np.float32)
    found = resize(torch.from_numpy(scores), (96, 80), rule)
    assert isinstance(found, torch.Tensor)
    np.testing.assert_array_equal(found.numpy(), resize(scores, (96, 80), rule))


@pytest.mark.parametrize("rule", RULES)
def test_resizing_never_leaves_the_unit_interval(rule):
    rng = np.random.default_rng(0)
    scores = rng.choice(np.float32([0, 1, 1 - 2**-24]), (13, 17))
    found = resize(scores, (101, 97), rule)
    assert 0 <= found.min() <= found.max() <= 1


def test_the_two_rules_differ():
    scores = np.random.default_rng(0).random((4, 4), dtype=np.float32)
    assert np.abs(resize(scores, (9, 9), "bilinear") - resize(scores, (9, 9), "bilinear-aligned")).max() > 0.01


def test_maps_that_are_read_only_are_resized_too():
    scores = np.random.default_rng(0).random((4, 4), dtype=np.float32)
    scores.flags.writeable = False
    assert resize(scores, (2, 2), "bilinear").dtype == np.float32


def test_a_stack_of_maps_is_refused():
    with pytest.raises(ValueError, match="two dimensions, this one 3"):
        resize(np.zeros((2, 4, 4), np.float32), (2, 2), "bilinear")


def test_equal_sizes_and_the_numpy_metrics_never_import_torch():
    program = (
        "import sys, numpy as np\n"
        "from ldznet_bench.metrics import average_precision, counts, fixed_interval, phrasecut_extras, resize, scores, simpson\n"
        "resize.resize(np.ones((3, 3), np.float32), (3, 3), 'bilinear')\n"
        "pred = np.random.default_rng(0).random((2, 1, 4, 4), dtype=np.float32)\n"
        "fixed_interval.fixed_interval_counts(pred, pred > 0.5)\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=120).returncode == 0


def test_an_array_is_resized_in_one_thread_and_the_networks_keep_theirs(monkeypatch):
    from torch.nn import functional as F

    seen, interpolate = [], F.interpolate

    def watched(*given, **more):
        seen.append(torch.get_num_threads())
        return interpolate(*given, **more)

    monkeypatch.setattr(F, "interpolate", watched)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        resize(np.zeros((3, 4), np.float32), (6, 8), "bilinear")
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)
