from __future__ import annotations

from pathlib import Path

import pytest

from ldznet_bench.errors import BenchError
from ldznet_bench.reports.published import load_published, model_rows
from ldznet_bench.share import shared

GOOD = """
papers:
  p: {title: P, citation: somebody}
rows:
  - id: a
    method: A
    dataset: phrasecut:test
    paper: p
    table: Table 1
    protocol: clipseg@1
    threshold: fixed
    training: unknown
    checked: V
    values: [{printed: mIoU, metric: miou, value: 43.4}]
"""


def value(row: str, printed: str) -> float:
    rows = {item.id: item for item in load_published().rows}
    return next(item.value for item in rows[row].values if item.printed == printed)


@pytest.mark.parametrize(
    ("row", "printed", "expected"),
    [
        ("ldznet-1-ldznet", "mIoU", 52.7),
        ("ldznet-1-clipseg-pc128", "IoU_FG", 56.5),
        ("ldznet-2-ldznet", "AP", 89.6),
        ("ldznet-3-ldznet-refcoco+", "IoU", 42.5),
        ("ldznet-4-concatenation", "mIoU", 50.2),
        ("clipseg-3-vitseg-pc", "AP", 74.4),
        ("mdetr-r101", "Pr@0.5", 56.1),
        ("lavt-one-refcocog-google-val", "mIoU", 64.84),
        ("refdiff-refcoco+-unc-testA", "cIoU", 38.7),
    ],
)
def test_numbers_are_the_papers(row: str, printed: str, expected: float) -> None:
    assert value(row, printed) == expected


def test_table_three_is_of_unknown_rules() -> None:
    rows = [row for row in load_published().rows if row.table == "Table 3" and row.paper == "ldznet"]
    assert len(rows) == 12
    assert {(row.protocol, item.metric, row.dataset.split(":")[1]) for row in rows for item in row.values} == {("unknown", "unknown", "unknown")}


def test_numbers_from_memory_stay_out() -> None:
    assert not {20.2, 39.9, 41.1} & {item.value for row in load_published().rows for item in row.values if row.paper == "phrasecut"}


def test_each_number_once_on_a_dataset() -> None:
    rows = load_published().of("phrasecut:test")
    assert [row.id for row in rows if row.method == "RGBNet"] == ["ldznet-1-rgbnet"]
    assert not any(row.id == "clipseg-3-pcplus" for row in rows)


def test_rows_of_a_model() -> None:
    assert {row.id for row in model_rows(load_published(), "ldznet/full+paper", "refcoco-unc:val")} == {"ldznet-3-ldznet-refcoco"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("metric: miou", "metric: mioU", "Did you mean 'miou'"),
        ("metric: miou", "metric: miou_best", "does not make miou_best"),
        ("clipseg@1", "clipsec@1", "Did you mean 'clipseg@1'"),
        ("43.4", "434", "no percentage"),
        ("checked: V", "checked: M", "'M'"),
        ("paper: p", "paper: q", "paper 'q'"),
        ("printed: mIoU", "printet: mIoU", "printet"),
        ("phrasecut:test", "phrasecut", "no split"),
        ("threshold: fixed", "threshold: fixd", "fixed"),
    ],
)
def test_a_typo_is_an_error_with_its_file(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "published.yaml"
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(BenchError, match=message) as caught:
        load_published(file)
    assert "published.yaml" in str(caught.value)


def test_the_good_file_is_good(tmp_path: Path) -> None:
    file = tmp_path / "published.yaml"
    file.write_text(GOOD)
    assert len(load_published(file).rows) == 1


def test_a_row_twice_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "published.yaml"
    file.write_text(GOOD + GOOD.split("rows:\n")[1])
    with pytest.raises(BenchError, match="there twice"):
        load_published(file)


def test_cards_and_published_rows_agree() -> None:
    from ldznet_bench.cards import card_names
    from ldznet_bench.models.card import model_card

    known = {(row.dataset, row.protocol, item.metric, item.value) for row in load_published().rows for item in row.values}
    for name in card_names("baselines"):
        for row in model_card(name).published:
            if row.protocol is not None:
                assert (row.dataset, row.protocol, row.metric, row.value) in known, (name, row)


def test_layouts_are_read() -> None:
    from ldznet_bench.reports.layout import load_layout

    names = [path.stem for path in (shared("results") / "tables").glob("*.yaml")]
    assert {"ldznet-table1", "ldznet-table2", "ldznet-table3"} <= set(names)
    assert all(load_layout(name).rows for name in names)
