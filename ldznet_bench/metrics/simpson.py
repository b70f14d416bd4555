"""Composite Simpson's rule over irregular points, with both historical answers to an even number of them.

SciPy is not needed: its rule changed between the releases that published numbers were made with, and `simps` is gone from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

EvenRule = Literal["avg", "cartwright"]

# Rules of scipy.integrate.simpson: "avg" up to 1.10 (so of every published CLIPSeg and LD-ZNet number), "cartwright" from 1.11.
DEFAULT_EVEN: EvenRule = "avg"


def simpson(y: Sequence[float], x: Sequence[float], even: EvenRule = DEFAULT_EVEN) -> float:
    """The integral of y over x, parabola by parabola.

    Terms that divide by a step of width 0 count as 0, as SciPy has them since 1.10 (1.7 and before gave NaN).

    Args:
        y: values.
        x: positions, ascending; equal neighbours are allowed.
        even: what to do about the odd interval that an even number of points leaves over. ``avg``: the mean of leaving out the first and
            the last one, each as a trapezium. ``cartwright``: the last one as a part of the parabola through the last three points.

    Returns:
        The integral; 0.0 for fewer than two points, the trapezium for two.
    """
    n = len(x)
    if n < 2:
        return 0.0
    if n == 2:
        return _trapezium(y, x, 0)
    if n % 2:
        return _parabolas(y, x, 0)
    if even == "avg":
        first = _parabolas(y[:-1], x[:-1], 0) + _trapezium(y, x, n - 2)
        last = _parabolas(y, x, 1) + _trapezium(y, x, 0)
        return (first + last) / 2
    return _parabolas(y[:-1], x[:-1], 0) + _last_interval(y, x)


def _trapezium(y: Sequence[float], x: Sequence[float], i: int) -> float:
    return 0.5 * (x[i + 1] - x[i]) * (y[i] + y[i + 1])


def _parabolas(y: Sequence[float], x: Sequence[float], start: int) -> float:
    return math.fsum(_parabola(y, x, i) for i in range(start, len(x) - 2, 2))


def _parabola(y: Sequence[float], x: Sequence[float], i: int) -> float:
    h0, h1 = x[i + 1] - x[i], x[i + 2] - x[i + 1]
    width, ratio = h0 + h1, _divide(h0, h1)
    return width / 6 * (y[i] * (2 - _divide(1.0, ratio)) + y[i + 1] * width * _divide(width, h0 * h1) + y[i + 2] * (2 - ratio))


def _last_interval(y: Sequence[float], x: Sequence[float]) -> float:
    """Cartwright 2017, equation 8: the integral over the last interval of the parabola through the last three points."""
    h0, h1 = x[-2] - x[-3], x[-1] - x[-2]
    width = h0 + h1
    last = _divide(2 * h1**2 + 3 * h0 * h1, 6 * width)
    middle = _divide(h1**2 + 3 * h0 * h1, 6 * h0)
    before = _divide(h1**3, 6 * h0 * width)
    return last * y[-1] + middle * y[-2] - before * y[-3]


def _divide(a: float, b: float) -> float:
    return a / b if b else 0.0
