from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_runs import write_run

from ldznet_bench.errors import BenchError
from ldznet_bench.reports.published import Paper, Published, PublishedRow, PublishedValue, load_published
from ldznet_bench.reports.reproduction import check_reproduction, to_text
from ldznet_bench.reports.runs import Run, read_run

ROW = PublishedRow("r", "R", "phrasecut:test", "p", "Table 1", "clipseg@1", "fixed", "x", "V", (PublishedValue("mIoU", "miou", 50.0),), model="alpha")


def known(row: PublishedRow) -> Published:
    return Published({"p": Paper("P", "somebody")}, (row,))


def run(tmp_path: Path, **settings: object) -> Run:
    return read_run(write_run(tmp_path, "alpha/full", n_images=30, **settings))  # type: ignore[arg-type]


def of(run: Run, offset: float) -> Published:
    return known(replace(ROW, values=(PublishedValue("mIoU", "miou", round(100 * run.summary["metrics"]["miou"] + offset, 1)),)))


@pytest.mark.parametrize(("offset", "verdict"), [(0.2, "reproduced within 0.5"), (1.5, "within the interval"), (-25.0, "not reproduced")])
def test_verdict_where_the_rules_are_the_same(tmp_path: Path, offset: float, verdict: str) -> None:
    mine = run(tmp_path)
    check = check_reproduction(mine, published=of(mine, offset))[0]
    assert verdict in check.verdict
    assert check.delta == pytest.approx(-offset, abs=0.06)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"protocol": "unknown"}, "not stated"),
        ({"protocol": "ldznet@1"}, "made under ldznet@1"),
        ({"dataset": "phrasecut:unknown"}, "split is not stated"),
    ],
)
def test_no_verdict_where_they_are_not(tmp_path: Path, change: dict[str, str], reason: str) -> None:
    check = check_reproduction(run(tmp_path), rows=["r"], published=known(replace(ROW, **change)))[0]  # type: ignore[arg-type]
    assert check.delta is None and reason in check.verdict


def test_a_row_of_certain_weights_says_so(tmp_path: Path) -> None:
    mine = run(tmp_path)
    row = replace(of(mine, 0.0).rows[0], weights="rd64")
    assert "reproduced within 0.5, if the run's weights are rd64" in check_reproduction(mine, published=known(row))[0].verdict


def test_clipsegs_own_rows_are_of_the_weights_that_are_not_the_default() -> None:
    rows = [row for row in load_published().rows if row.model == "clipseg" and row.protocol == "clipseg@1"]
    assert rows and all(row.weights == "rd64" for row in rows)


@pytest.mark.parametrize("stamp", [{"partial": ["counts"]}, {"limit": 3}, {"dirty": True}])
def test_no_verdict_for_stamped_runs(tmp_path: Path, stamp: dict[str, object]) -> None:
    mine = run(tmp_path, **stamp)
    assert check_reproduction(mine, published=of(mine, 0))[0].delta is None


def test_table_three_of_ldznet_is_never_compared(tmp_path: Path) -> None:
    mine = read_run(write_run(tmp_path, "ldznet/full", "refcoco-unc:val", "refer@1", n_images=10))
    checks = check_reproduction(mine)
    assert {check.printed for check in checks} == {"IoU", "AP"}
    assert all(check.delta is None and "split is not stated" in check.verdict for check in checks)
    assert "not compared" in to_text(checks, mine)


def test_unknown_rows_and_models_are_explained(tmp_path: Path) -> None:
    mine = run(tmp_path)
    with pytest.raises(BenchError, match="no published row"):
        check_reproduction(mine, rows=["nope"])
    with pytest.raises(BenchError, match="nothing is published"):
        check_reproduction(mine)
