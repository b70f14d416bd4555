"""Simpson's rule against SciPy's, against the integrals it is exact for, and against its own definition where steps have no width."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate
from hypothesis import given
from hypothesis import strategies as st

from ldznet_bench.metrics.simpson import simpson

RULES = ["avg", "cartwright"]


def points(min_size, max_size, unique=True):
    xs = st.lists(st.integers(0, 1000), min_size=min_size, max_size=max_size, unique=unique)
    return xs.flatmap(lambda x: st.tuples(st.just(sorted(v / 1000 for v in x)), st.lists(st.floats(0, 1), min_size=len(x), max_size=len(x))))


@given(points(3, 60, unique=False))
def test_cartwright_equals_scipy_with_and_without_steps_of_no_width(curve):
    x, y = curve
    assert simpson(y, x, "cartwright") == pytest.approx(scipy.integrate.simpson(y, x=x), abs=1e-9, rel=1e-9)


@given(points(3, 61))
def test_odd_numbers_of_points_do_not_depend_on_the_rule(curve):
    x, y = curve
    odd = len(x) - (len(x) + 1) % 2
    assert simpson(y[:odd], x[:odd], "avg") == simpson(y[:odd], x[:odd], "cartwright")


@given(points(4, 40))
def test_avg_is_the_mean_of_leaving_out_the_first_and_the_last_interval(curve):
    x, y = curve
    even = len(x) - len(x) % 2
    x, y = x[:even], y[:even]
    first = scipy.integrate.simpson(y[:-1], x=x[:-1]) + np.trapezoid(y[-2:], x[-2:])
    last = scipy.integrate.simpson(y[1:], x=x[1:]) + np.trapezoid(y[:2], x[:2])
    assert simpson(y, x, "avg") == pytest.approx((first + last) / 2, abs=1e-9, rel=1e-9)


@pytest.mark.parametrize("n", [3, 4, 7, 10])
def test_parabolas_are_integrated_exactly_by_cartwright(n):
    x = np.cumsum(np.random.default_rng(n).random(n)).tolist()
    y = [2 * v**2 - v + 3 for v in x]
    antiderivative = [2 * v**3 / 3 - v**2 / 2 + 3 * v for v in (x[0], x[-1])]
    assert simpson(y, x, "cartwright") == pytest.approx(antiderivative[1] - antiderivative[0], rel=1e-12)


@pytest.mark.parametrize("even", RULES)
def test_two_points_make_a_trapezium(even):
    assert simpson([1.0, 3.0], [0.5, 1.0], even) == 1.0


@pytest.mark.parametrize("even", RULES)
@pytest.mark.parametrize("n", [0, 1])
def test_fewer_points_have_no_width(n, even):
    assert simpson([0.7] * n, [0.2] * n, even) == 0.0


@pytest.mark.parametrize("even", RULES)
@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_points_at_one_place_have_no_width(n, even):
    assert simpson([0.1 * i for i in range(n)], [0.5] * n, even) == 0.0
