from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_runs import write_run

from ldznet_bench.errors import BenchError
from ldznet_bench.metrics.scores import Accumulator, Columns
from ldznet_bench.protocols import get_protocol
from ldznet_bench.reports.grid import Options, Table
from ldznet_bench.reports.render import render
from ldznet_bench.reports.runs import Run, find_run, find_runs, read_run
from ldznet_bench.reports.table import make_table
from ldznet_bench.statistics.samples import read_batches, read_samples
from ldznet_bench.statistics.slices import COLUMNS, Slices

STRICT = Options(strict=True)


def runs_of(root: Path) -> list[Run]:
    return find_runs(root)[0]


def cells(table: Table, label: str) -> dict[str, float | None]:
    row = next(row for row in table.rows if row.label == label)
    return {column.metric + column.slice: value.score for column, value in row.values.items()}


def test_cells_are_the_summaries_numbers(tmp_path: Path) -> None:
    write_run(tmp_path, "alpha")
    run = runs_of(tmp_path)[0]
    assert cells(make_table([run], Options(metrics=("all",))), "alpha") == run.summary["metrics"]


@pytest.mark.parametrize("protocol", ["clipseg@1", "native@1", "phrasecut@1"])
def test_cells_of_a_slice_equal_the_records_recomputation(tmp_path: Path, protocol: str) -> None:
    path = write_run(tmp_path, "alpha", protocol=protocol, n_images=12)
    table = make_table([read_run(path)], Options(metrics=("all",), where="n_instances>=2", by="size"))
    samples = read_samples(path, columns=COLUMNS)
    rules = get_protocol(protocol)
    rows_in_file = [row for batch in read_batches(path, ["sample_id"]) for row in batch.column("sample_id").to_pylist()]
    slices = Slices(samples.table)
    for name, rows in slices.by("size"):
        wanted = set(samples.sample_id[rows & slices.where("n_instances>=2")].tolist())
        acc = Accumulator(rules, dense=True)
        at = 0
        for batch in read_batches(path, ["intersection", "union", "gt_area", "pred_area", "hist_fg", "hist_bg"]):
            keep = [k for k in range(batch.num_rows) if rows_in_file[at + k] in wanted]
            acc.add(Columns.from_arrow(batch.take(keep)))
            at += batch.num_rows
        assert {key: cells(table, "alpha")[key + name] for key in rules.metrics} == acc.result()


def test_headline_stands_for_each_protocols_own(tmp_path: Path) -> None:
    runs = [read_run(write_run(tmp_path, "alpha", protocol=protocol, n_images=4)) for protocol in ("native@1", "ldznet@1")]
    shown = {(column.protocol, column.metric) for column in make_table(runs, Options(metrics=("headline", "ap"))).columns}
    assert shown == {("native@1", "miou"), ("native@1", "ap"), ("ldznet@1", "miou_best"), ("ldznet@1", "ap")}


def test_the_whole_as_a_slice_is_the_summary(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, "alpha", protocol="native@1", n_images=12))
    assert cells(make_table([run], Options(metrics=("all",), where="all")), "alpha") == run.summary["metrics"]


def test_intervals_hold_their_scores(tmp_path: Path) -> None:
    for name, protocol in (("a", "clipseg@1"), ("b", "native@1")):
        write_run(tmp_path, name, protocol=protocol, n_images=30)
    table = make_table(runs_of(tmp_path), Options(metrics=("all",), intervals=True, resamples=300))
    for row in table.rows:
        for column, value in row.values.items():
            assert value.low is not None and value.high is not None and value.score is not None, column
            assert value.low <= value.score <= value.high, column


def test_renaming_and_shuffling_change_no_number(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    path = write_run(tmp_path / "one", "alpha")
    write_run(tmp_path / "one", "beta", skill=1.2, model_seed=3)
    options = Options(metrics=("all",), intervals=True, resamples=200, where="size<0.3")
    before = make_table(runs_of(tmp_path / "one"), options)
    records = path / "records.parquet"
    table = pq.read_table(records)
    pq.write_table(table.take(list(range(table.num_rows))[::-1]), records)
    (tmp_path / "two").mkdir()
    path.rename(tmp_path / "two" / "elsewhere")
    next((tmp_path / "one").rglob("run.json")).parent.rename(tmp_path / "two" / "other")
    after = make_table(runs_of(tmp_path / "two"), options)
    assert {row.label: dict(row.values) for row in after.rows} == {row.label: dict(row.values) for row in before.rows}


def test_models_that_cannot_be_told_apart_are_tied(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_run(tmp_path, f"same{seed}", n_images=80, model_seed=seed)
    write_run(tmp_path, "worse", n_images=80, skill=-2.0, model_seed=3)
    table = make_table(runs_of(tmp_path), Options(intervals=True, resamples=500))
    tiers = {row.label: value.tier for row in table.rows for value in row.values.values()}
    assert tiers == {"same1": 1, "same2": 1, "worse": 2}
    assert sum("≈" in value.marks for row in table.rows for value in row.values.values()) == 1


def test_no_ties_below_fifty_images(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_run(tmp_path, f"same{seed}", n_images=40, model_seed=seed)
    assert "≈" not in render(runs_of(tmp_path), options=Options(intervals=True, resamples=100)).split("\n\n")[0]


@pytest.mark.parametrize(
    ("bad", "message"),
    [({"limit": 5}, "limited"), ({"dirty": True}, "uncommitted"), ({"partial": ["counts"]}, "partial"), ({"fingerprint": "e" * 64}, "fingerprints")],
)
def test_runs_that_cannot_be_compared_are_refused_by_name(tmp_path: Path, bad: dict[str, object], message: str) -> None:
    write_run(tmp_path, "good")
    culprit = write_run(tmp_path, "bad", **bad)  # type: ignore[arg-type]
    with pytest.raises(BenchError, match=message) as caught:
        make_table(runs_of(tmp_path), STRICT)
    assert str(culprit) in str(caught.value)
    assert len(make_table(runs_of(tmp_path), replace(STRICT, allow_mixed=True)).rows) == 2


def test_what_was_let_through_is_marked(tmp_path: Path) -> None:
    write_run(tmp_path, "good")
    write_run(tmp_path, "bad", limit=5, dirty=True, partial=["counts"])
    table = make_table(runs_of(tmp_path), replace(STRICT, allow_mixed=True))
    assert {row.label: next(iter(row.values.values())).marks for row in table.rows} == {"good": (), "bad": ("p", "l", "d")}


def test_equally_partial_runs_stand_together_marked(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(tmp_path, name, partial=["58 images instead of 100"])
    text = render(runs_of(tmp_path), options=STRICT)
    assert text.count(" ^p") == 3  # two cells and the note


def test_best_thresholds_are_marked_as_chosen_on_the_test_set(tmp_path: Path) -> None:
    write_run(tmp_path, "a")
    text = render(runs_of(tmp_path), ["miou_best"])
    assert "^o" in text and "oracle-test" in text


def test_no_runs_unknown_metric_and_style_are_explained(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no finished run"):
        make_table([])
    write_run(tmp_path, "a")
    with pytest.raises(BenchError, match="Did you mean 'miou'"):
        render(runs_of(tmp_path), ["mioo"])
    with pytest.raises(BenchError, match="table style"):
        render(runs_of(tmp_path), style="word")


def test_repeats_become_mean_and_deviation(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, "a", run_seed=seed, model_seed=seed)
    runs = runs_of(tmp_path)
    row = make_table(runs, Options(repeats=True)).rows[0]
    scores = [run.summary["metrics"]["miou"] for run in runs]
    value = next(iter(row.values.values()))
    assert row.label == "a (3 seeds)"
    assert value.score == pytest.approx(sum(scores) / 3)
    assert value.sd is not None and value.sd > 0


def test_published_rows_of_the_same_rules_rank_and_others_do_not(tmp_path: Path) -> None:
    write_run(tmp_path, "mine", skill=3.0)
    table = make_table(runs_of(tmp_path), Options(published=True))
    column = table.columns[0]
    found = {row.label: row.values[column] for row in table.rows[::-1] if row.published and column in row.values}
    assert found["CLIPSeg (PC+)"].comparable and found["CLIPSeg (PC+)"].marks == ()
    assert not found["LD-ZNet"].comparable and found["LD-ZNet"].marks == ("o", "≠")
    assert not found["GLIPv2-T"].comparable


def test_published_rows_never_rank_beside_partial_runs(tmp_path: Path) -> None:
    write_run(tmp_path, "mine", partial=["counts"])
    table = make_table(runs_of(tmp_path), Options(published=True))
    assert not any(value.comparable for row in table.rows if row.published for value in row.values.values())


def test_published_can_be_limited_to_papers(tmp_path: Path) -> None:
    write_run(tmp_path, "mine")
    labels = {row.label for row in make_table(runs_of(tmp_path), Options(published=True, papers=("mdetr",))).rows if row.published}
    assert labels == {"MDETR (R101)", "MDETR (ENB3)"}
    with pytest.raises(BenchError, match="paper"):
        make_table(runs_of(tmp_path), Options(published=True, papers=("mdetre",)))


def test_csv_and_json_hold_exact_values(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, "a"))
    expected = run.summary["metrics"]["miou"]
    assert float(next(csv.DictReader(io.StringIO(render([run], style="csv"))))["value"]) == expected
    assert json.loads(render([run], style="json"))[0]["value"] == expected


def test_binary_runs_have_no_ap(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, "a", protocol="native@1", binary=True))
    assert "n/a" in render([run], ["ap"], options=Options(intervals=True, resamples=50))


def test_runs_are_found_by_folder_identity_and_model(tmp_path: Path) -> None:
    path = write_run(tmp_path, "alpha/full+hf")
    assert [run.path for text in (str(path), path.name[:6], "alpha") for run in find_run(tmp_path, text)] == [path] * 3
    with pytest.raises(BenchError, match="Did you mean"):
        find_run(tmp_path, "alpha/ful")


def test_an_unfinished_run_is_named(tmp_path: Path) -> None:
    path = write_run(tmp_path, "alpha")
    (path / "run.json").write_text('{"status": "incomplete"}')
    assert find_runs(tmp_path) == ([], [path])
    with pytest.raises(BenchError, match="unfinished"):
        find_run(tmp_path, str(path))


def test_a_formula_as_a_name_stays_text_in_csv(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, "=cmd()"))
    assert "'=cmd()" in render([run], style="csv")


@pytest.mark.parametrize(("damage", "message"), [("missing", "no records.parquet"), ("short", "A shard is missing"), ("version", "version 99")])
def test_a_plain_table_refuses_records_that_its_numbers_cannot_be_made_from(tmp_path: Path, damage: str, message: str) -> None:
    import pyarrow.parquet as pq

    path = write_run(tmp_path, "a", n_images=10)
    records = path / "records.parquet"
    table = pq.read_table(records)
    if damage == "missing":
        records.unlink()
    elif damage == "short":
        pq.write_table(table.slice(3), records)
    else:
        pq.write_table(table.replace_schema_metadata({"ldznet_bench.records": "99"}), records)
    with pytest.raises(BenchError, match=message):
        make_table(runs_of(tmp_path), replace(STRICT, allow_mixed=True))
