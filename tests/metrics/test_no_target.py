"""`lisa@1` and `gres@1`: vectors made by hand from the authors' rules, and the evaluators' loops written out slowly, pixel by pixel."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldznet_bench.metrics.counts import overlap
from ldznet_bench.metrics.scores import Accumulator, Columns
from ldznet_bench.protocols import PROTOCOLS


def scored(protocol: str, *pairs: tuple[object, object]) -> dict[str, float | None]:
    """(prediction, truth) masks under a protocol; masks are rows of 0 and 1."""
    counted = [overlap(np.atleast_2d(np.asarray(p, bool)), np.atleast_2d(np.asarray(t, bool))) for p, t in pairs]
    accumulator = Accumulator(PROTOCOLS[protocol], dense=False)
    accumulator.add(Columns(*np.array(counted, np.int64).T))
    return accumulator.result()


HIT = ([1, 1, 1, 0, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0, 0, 0])  # 2 of 4
MISS = ([0] * 8, [1, 1, 0, 0, 0, 0, 0, 0])  # silent on a target of 2
QUIET = ([0] * 8, [0] * 8)  # silent where there is no target
ALARM = ([1, 1, 1, 1, 1, 0, 0, 0], [0] * 8)  # 5 pixels where there is no target


@pytest.mark.parametrize(
    ("pairs", "giou", "ciou", "n_acc", "t_acc"),
    [
        ([HIT], 0.5, 0.5, None, None),  # a split without no-target samples has neither accuracy
        ([QUIET], 1, None, 1, None),  # scores 1 and adds nothing to either sum: 0 / 0
        ([ALARM], 0, 0, 0, None),
        ([HIT, QUIET], 0.75, 0.5, 1, 1),  # the union stays 4
        ([HIT, ALARM], 0.25, 2 / 9, 0, 1),  # the false alarm's 5 pixels join the union: 2 / (4 + 5)
        ([HIT, MISS, QUIET, ALARM], 0.375, 2 / 11, 0.5, 0.5),  # (1/2 + 0 + 1 + 0) / 4; 2 / (4 + 2 + 0 + 5)
    ],
)
def test_gres_by_hand(pairs, giou, ciou, n_acc, t_acc):
    found = scored("gres@1", *pairs)
    assert list(found) == ["giou", "ciou", "n_acc", "t_acc"]
    assert found == {"giou": giou, "ciou": pytest.approx(ciou), "n_acc": n_acc, "t_acc": t_acc}


@pytest.mark.parametrize(
    ("pairs", "giou", "ciou"),
    [([HIT], 0.5, 0.5), ([QUIET], 1, None), ([ALARM], 0, 0), ([HIT, MISS, QUIET, ALARM], 0.375, 2 / 11)],
)
def test_lisa_by_hand(pairs, giou, ciou):
    assert scored("lisa@1", *pairs) == {"giou": giou, "ciou": pytest.approx(ciou)}


masks = st.lists(st.booleans(), min_size=6, max_size=6)
# Half of the masks empty, so that every case of the evaluators is met.
samples = st.lists(st.tuples(st.one_of(st.just([False] * 6), masks), st.one_of(st.just([False] * 6), masks)), min_size=1, max_size=8)


@settings(deadline=None)
@given(samples)
def test_gres_equals_the_evaluators_loop(pairs):
    """The loop of ReferEvaluator.evaluate from its description: one sample and one pixel at a time, in fractions."""
    intersections = unions = Fraction(0)
    ious, right = [], {"TP": 0, "TN": 0, "FP": 0, "FN": 0}
    for prediction, truth in pairs:
        both = sum(p and t for p, t in zip(prediction, truth, strict=True))
        either = sum(p or t for p, t in zip(prediction, truth, strict=True))
        if not any(truth):
            right["FN" if any(prediction) else "TP"] += 1
            ious.append(Fraction(0 if any(prediction) else 1))
            unions += either if any(prediction) else 0
        else:
            right["TN" if any(prediction) else "FP"] += 1
            ious.append(Fraction(both, either))
            intersections, unions = intersections + both, unions + either
    found = scored("gres@1", *pairs)
    assert found["giou"] == pytest.approx(float(sum(ious) / len(ious)), abs=1e-15)
    assert found["ciou"] == (pytest.approx(float(intersections / unions), abs=1e-15) if unions else None)
    none, targets = right["TP"] + right["FN"], right["TN"] + right["FP"]
    assert found["n_acc"] == (right["TP"] / none if none else None)
    assert found["t_acc"] == (right["TN"] / targets if none and targets else None)


@settings(deadline=None)
@given(samples)
def test_lisa_equals_the_validation_loop_but_for_its_guard_against_zero(pairs):
    """LISA adds 1e-5 to every union and 1e-10 to their sum, in float32; that is left out, and worth 1e-5 on a union of one pixel."""
    giou, inter, union = [], 0, 0
    for prediction, truth in pairs:
        both = sum(p and t for p, t in zip(prediction, truth, strict=True))
        either = sum(p or t for p, t in zip(prediction, truth, strict=True))
        giou.append(both / (either + 1e-5) + (1.0 if either == 0 else 0.0))
        inter, union = inter + both, union + either
    found = scored("lisa@1", *pairs)
    assert found["giou"] == pytest.approx(sum(giou) / len(giou), abs=1.1e-5)
    assert found["ciou"] == (pytest.approx(inter / (union + 1e-10), abs=1e-9) if union else None)
