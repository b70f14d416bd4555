from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import write_run

from ldznet_bench.errors import BenchError
from ldznet_bench.metrics.scores import sample_iou
from ldznet_bench.protocols import get_protocol
from ldznet_bench.reports.comparison import Settings, compare_models
from ldznet_bench.reports.grid import Options, Table, Value
from ldznet_bench.reports.layout import lay_out, load_layout
from ldznet_bench.reports.render import render
from ldznet_bench.reports.runs import Run, find_runs
from ldznet_bench.reports.seeds import refuse_strangers
from ldznet_bench.reports.table import make_table
from ldznet_bench.statistics.bootstrap import draws
from ldznet_bench.statistics.intervals import interval
from ldznet_bench.statistics.samples import read_samples

TRAINED = Options(training_seeds=True, intervals=True, resamples=200)


def runs_of(root: Path) -> list[Run]:
    return find_runs(root)[0]


def only(table: Table, label: str) -> Value:
    row = next(row for row in table.rows if row.label == label)
    return next(iter(row.values.values()))


def train(root: Path, count: int, model: str = "mine", **options: object) -> list[Path]:
    return [write_run(root, model, weights=f"{seed:064d}", model_seed=seed, **options) for seed in range(count)]  # type: ignore[arg-type]


def test_runs_that_differ_in_more_than_their_seed_stay_apart(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, "a", run_seed=seed, model_seed=seed)
    odd = write_run(tmp_path, "a", run_seed=0, model_seed=9, threshold=0.7)
    labels = [row.label for row in make_table(runs_of(tmp_path), Options(repeats=True)).rows]
    assert len(labels) == 2 and sum("(3 seeds)" in label for label in labels) == 1
    assert f"a [{odd.name}]" in labels


def tuned(run: Run, value: float) -> Run:
    threshold = {"value": value, "source": "tuned-on-val", "file": f"sha of {value}"}
    return replace(run, about={**run.about, "identity": {**run.about["identity"], "threshold": threshold}})


def test_every_training_seed_has_a_tuned_threshold_of_its_own(tmp_path: Path) -> None:
    train(tmp_path, 3)
    runs = [tuned(run, 0.1 * (place + 1)) for place, run in enumerate(runs_of(tmp_path))]
    assert [row.label for row in make_table(runs, Options(training_seeds=True)).rows] == ["mine (3 training seeds)"]
    refuse_strangers(runs)
    again = [*runs, tuned(runs[0], 0.9)]
    assert len(make_table(again, Options(training_seeds=True)).rows) > 1
    with pytest.raises(BenchError, match="differ in threshold"):
        refuse_strangers(again)


def test_draws_of_a_stochastic_recipe_are_repeats_and_those_of_one_stream_are_not(tmp_path: Path) -> None:
    runs = []
    for repeat, streams in ((0, ("vae", "noise")), (1, ("vae", "noise")), (1, ("vae",))):
        path = write_run(tmp_path, "a", model_seed=len(runs))
        run = next(run for run in runs_of(tmp_path) if run.path == path)
        recipe = {"repeats": {"vae": 0, "noise": 0, **dict.fromkeys(streams, repeat)}}
        runs.append(replace(run, about={**run.about, "identity": {**run.about["identity"], "recipe": recipe}}))
    rows = make_table(runs, Options(repeats=True)).rows
    assert sorted("(2 seeds)" in row.label for row in rows) == [False, True]


def test_six_training_seeds_are_drawn_as_images_are(tmp_path: Path) -> None:
    train(tmp_path, 6, n_images=30)
    value = only(make_table(runs_of(tmp_path), TRAINED), "mine (6 training seeds)")
    rules = get_protocol("clipseg@1")
    trained = [read_samples(run.path) for run in sorted(runs_of(tmp_path), key=lambda run: run.about["identity"]["weights"])]
    by_path = [read_samples(run.path) for run in runs_of(tmp_path)]
    images = np.unique(trained[0].image_id)
    chosen = np.random.default_rng([0, 6]).integers(0, 6, size=(200, 6))
    expected, at = [], 0
    for weights in draws(len(images), 200, 0):
        for row in weights:
            scores = []
            for seed in chosen[at]:
                item = by_path[seed]
                iou = sample_iou(item.counts.intersection, item.counts.union, rules)
                times = row[np.searchsorted(images, item.image_id)]
                scores.append((iou * times).sum() / times.sum())
            expected.append(np.mean(scores))
            at += 1
    found = interval(np.array(expected), len(images))
    assert (value.low, value.high) == pytest.approx((found.low, found.high))
    assert value.sd is None and "w" not in value.marks
    assert value.score == pytest.approx(np.mean([run.summary["metrics"]["miou"] for run in runs_of(tmp_path)]))


def test_fewer_than_six_are_conditional_on_these_weights(tmp_path: Path) -> None:
    train(tmp_path, 3)
    table = make_table(runs_of(tmp_path), TRAINED)
    assert "w" in only(table, "mine (3 training seeds)").marks
    assert "conditional on these weights" in render(runs_of(tmp_path), options=TRAINED)


def test_without_intervals_training_seeds_have_a_deviation(tmp_path: Path) -> None:
    train(tmp_path, 3)
    value = only(make_table(runs_of(tmp_path), Options(training_seeds=True)), "mine (3 training seeds)")
    scores = [run.summary["metrics"]["miou"] for run in runs_of(tmp_path)]
    assert value.sd == pytest.approx(np.std(scores, ddof=1))


def test_ranks_are_of_rows_not_of_runs(tmp_path: Path) -> None:
    train(tmp_path, 2, "good", n_images=60, skill=3.0)
    train(tmp_path, 2, "bad", n_images=60, skill=-3.0)
    table = make_table(runs_of(tmp_path), TRAINED)
    assert {row.label: value.tier for row in table.rows for value in row.values.values()} == {
        "good (2 training seeds)": 1,
        "bad (2 training seeds)": 2,
    }


def test_both_kinds_of_seeds_at_once(tmp_path: Path) -> None:
    for seed in range(2):
        for draw in range(3):
            write_run(tmp_path, "a", weights=str(seed) * 64, run_seed=draw, model_seed=10 * seed + draw)
    row = make_table(runs_of(tmp_path), Options(repeats=True, training_seeds=True)).rows[0]
    assert row.label == "a (2 training seeds, 6 runs)"


def test_without_being_asked_nothing_is_averaged(tmp_path: Path) -> None:
    train(tmp_path, 3)
    assert len(make_table(runs_of(tmp_path)).rows) == 3


def test_a_papers_table_takes_seeds_together_too(tmp_path: Path) -> None:
    train(tmp_path, 2, "clipseg/full", protocol="ldznet@1", n_images=10)
    labels = [row.label for row in lay_out(load_layout("ldznet-table1"), runs_of(tmp_path), replace(TRAINED, resamples=20)).rows]
    assert labels[-1] == "CLIPSeg (2 training seeds)"


def test_a_comparison_does_not_take_strangers_for_seeds(tmp_path: Path) -> None:
    write_run(tmp_path, "a", threshold=0.5)
    write_run(tmp_path, "a", threshold=0.7, model_seed=1)
    write_run(tmp_path, "b", model_seed=2)
    with pytest.raises(BenchError, match="differ in threshold: they are not one model"):
        compare_models(tmp_path, "a", "b", Settings(resamples=100))
