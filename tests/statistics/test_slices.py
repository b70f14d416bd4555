from __future__ import annotations

import pyarrow as pa
import pytest

from ldznet_bench.errors import BenchError
from ldznet_bench.statistics.slices import Slices


@pytest.fixture
def slices() -> Slices:
    return Slices(
        pa.table(
            {
                "phrase": ["man", "black shirt", "two parked cars there", 'the "x" light'],
                "width": [100, 100, 100, 10],
                "height": [100, 100, 100, 10],
                "n_instances": [1, 2, 5, 1],
                "category": ["person", None, "car", "traffic light"],
                "coco_id": pa.array([7, None, None, 9], pa.int64()),
                "tags": [["all", "c21-100"], ["all", "p_att+"], ["all"], ["all", "c500+"]],
                "flags": [[], [], [], []],
                "gt_area": [100, 500, 3000, 100],
                "image_id": ["1", "2", "3", "4"],
            }
        ),
        leaked={"3", "coco:9"},
        absent=["c20"],
    )


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ("size<0.02", [0]),
        ("size >= 0.02 and size <= 0.2", [1]),
        ("n_instances>=5", [2]),
        ("c21-100", [0]),
        ("p_att+ or c500+", [1, 3]),
        ("not p_att+ and n_instances=1", [0, 3]),
        ("not (p_att+ or n_instances=1)", [2]),
        ('category="traffic light"', [3]),
        ("category!=car", [0, 1, 3]),
        ("words>2", [2, 3]),
        ("leaked", [2, 3]),
        ("clean", [0, 1]),
        ("all and not all", []),
        ("n_instances=1 or n_instances=2 and size>0.5", [0, 3]),
    ],
)
def test_expressions(slices: Slices, expression: str, rows: list[int]) -> None:
    assert slices.where(expression).nonzero()[0].tolist() == rows


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "empty"),
        ("p_at", "Did you mean"),
        ("sise<2", "quantity"),
        ("size<small", "not a number"),
        ("(all", "not closed"),
        ("all all", "did not expect"),
        ("and", "expected a name"),
        ("size<", "too early"),
        ("category>3", "text"),
        ("c20", "absent"),
        ("size<<2", "expected a value"),
        ('category="car', "cannot read"),
    ],
)
def test_mistakes_are_explained(slices: Slices, expression: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        slices.where(expression)


def test_leaked_needs_to_be_told(slices: Slices) -> None:
    with pytest.raises(BenchError, match="leaked-ids"):
        Slices(slices._table).where("leaked")


def test_by_size_parts_the_samples(slices: Slices) -> None:
    parts = slices.by("size")
    assert [name for name, _ in parts] == ["small", "mid", "large"]
    assert sum(rows.sum() for _, rows in parts) == 4


@pytest.mark.parametrize("what", ["n_instances", "words"])
def test_bins_part_the_samples(slices: Slices, what: str) -> None:
    assert sum(rows.sum() for _, rows in slices.by(what)) == 4


def test_by_category_and_tags_and_expressions(slices: Slices) -> None:
    assert [name for name, _ in slices.by("category")] == ["car", "person", "traffic light"]
    assert [name for name, _ in slices.by("tags")] == ["all", "c21-100", "c500+", "p_att+"]
    assert [name for name, _ in slices.by("size<0.02; n_instances>=5")] == ["size<0.02", "n_instances>=5"]
