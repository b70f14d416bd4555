"""Means whose last bit does not depend on the order or the batching of their terms."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldznet_bench.metrics import exact
from ldznet_bench.metrics.exact import ExactMean

RATIOS = st.integers(1, 2**34).flatmap(lambda union: st.integers(0, union).map(lambda overlap: overlap / union))


def mean_of(values):
    mean = ExactMean()
    mean.add(np.array(values))
    return mean.means()[0]


@given(st.lists(RATIOS, min_size=1, max_size=50))
def test_the_mean_is_the_correctly_rounded_one(values):
    assert mean_of(values) == float(sum(map(Fraction, values)) / len(values))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=50), st.data())
def test_neither_order_nor_batching_changes_a_bit(values, data):
    order = data.draw(st.permutations(values))
    cut = data.draw(st.integers(0, len(values)))
    mean = ExactMean()
    mean.add(np.array(order[cut:]))
    mean.add(np.array(order[:cut]))
    assert mean.means()[0] == mean_of(values)


def test_columns_have_means_of_their_own():
    mean = ExactMean(3)
    mean.add(np.array([[0.0, 0.5, 1.0], [0.0, 0.25, 1.0]]))
    assert mean.means() == [0.0, 0.375, 1.0]


def test_a_floating_point_sum_would_depend_on_the_order():
    # Keeps the property above honest: with plain addition these two orders differ.
    values = [1.0, 2**-53, 2**-53]
    assert sum(values) != sum(values[::-1])
    assert mean_of(values) == mean_of(values[::-1])


def test_more_rows_than_fit_one_integer_sum(monkeypatch):
    monkeypatch.setattr(exact, "_ROWS", 7)
    values = np.random.default_rng(0).random(100)
    assert mean_of(values) == float(sum(map(Fraction, values.tolist())) / 100)


def test_many_perfect_samples_stay_perfect():
    assert mean_of(np.ones(1_000_000)) == 1.0


def test_no_samples_have_no_mean():
    with pytest.raises(ZeroDivisionError):
        ExactMean().means()
