"""Scores from counts: the official evaluators' numbers, the toy vectors made by hand, and bits that do not depend on batching."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ldznet_bench.errors import BenchError, RunError
from ldznet_bench.metrics import scores
from ldznet_bench.metrics.average_precision import precision_recall_points, simpson_ap, step_ap
from ldznet_bench.metrics.counts import binarise, histograms, overlap
from ldznet_bench.metrics.fixed_interval import fixed_interval_counts, fixed_interval_scores
from ldznet_bench.metrics.scores import Accumulator, Columns, iou_bin, sample_dice, sample_iou
from ldznet_bench.protocols import PROTOCOLS
from ldznet_bench.records import SCHEMA

GOLDENS = Path(__file__).parents[1] / "goldens" / "metrics"
PHRASECUT = json.loads((GOLDENS / "phrasecut.json").read_text())
REFCOCO = json.loads((GOLDENS / "refcoco.json").read_text())
LEVELS = (50, 60, 70, 80, 90)


def columns(pairs, gt_area=None, pred_area=None):
    """Samples of which only intersection and union matter."""
    intersection, union = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Columns(intersection, union, union if gt_area is None else gt_area, intersection if pred_area is None else pred_area)


def area_columns(*samples):
    """Samples given as (tp, fp, fn)."""
    tp, fp, fn = np.array(samples, dtype=np.int64).T
    return Columns(tp, tp + fp + fn, tp + fn, tp + fp)


def counted(maps, truths, protocol, threshold=None):
    """Samples counted as the evaluation counts them."""
    threshold = protocol.threshold if threshold is None else threshold
    areas = np.array([overlap(binarise(scores, threshold), truth) for scores, truth in zip(maps, truths, strict=True)], dtype=np.int64)
    hists = [histograms(scores, truth, protocol.thresholds) for scores, truth in zip(maps, truths, strict=True)]
    return Columns(*areas.T, np.array([fg for fg, _ in hists]), np.array([bg for _, bg in hists]))


def result(protocol, *batches, dense=False, **options):
    accumulator = Accumulator(PROTOCOLS[protocol] if isinstance(protocol, str) else protocol, dense, **options)
    for batch in batches:
        accumulator.add(batch)
    return accumulator.result()


def random_maps(seed, n=12, scale=3.0, shape=(20, 16)):
    rng = np.random.default_rng(seed)
    truths = rng.random((n, *shape)) < rng.random((n, 1, 1)) * 0.6
    logits = scale * (rng.normal(size=(n, *shape)) + truths)
    return (1 / (1 + np.exp(-logits))).astype(np.float32), truths


# The official PhraseCut evaluator.

SUBSETS = [(run, subset) for run, golden in PHRASECUT["runs"].items() for subset in golden["results"]]


@pytest.mark.parametrize(("run", "subset"), SUBSETS)
def test_phrasecut_equals_the_official_evaluator_in_every_run_and_subset(run, subset):
    golden = PHRASECUT["runs"][run]
    tasks = [PHRASECUT["tasks"][task] for task in golden["mask_iou"] if subset in PHRASECUT["tasks"][task]["subsets"]]
    expected = golden["results"][subset]
    found = result("phrasecut@1", columns([(task["i"], task["u"]) for task in tasks]))
    assert found["miou"] == pytest.approx(expected["mean_mask_iou"], abs=1e-12)
    assert found["ciou"] == found["oiou"] == pytest.approx(expected["cum_mask_iou"], abs=1e-12)
    assert [found[f"acc{level}"] for level in LEVELS] == pytest.approx(list(expected["pred_mask_acc"].values()), abs=1e-12)


@pytest.mark.parametrize("run", list(PHRASECUT["runs"]))
def test_phrasecut_task_ious_equal_the_official_ones(run):
    golden = PHRASECUT["runs"][run]["mask_iou"]
    pairs = np.array([(PHRASECUT["tasks"][task]["i"], PHRASECUT["tasks"][task]["u"]) for task in golden], dtype=np.int64)
    found = sample_iou(pairs[:, 0], pairs[:, 1], PROTOCOLS["phrasecut@1"])
    assert found.tolist() == pytest.approx(list(golden.values()), abs=1e-12)


@pytest.mark.parametrize("case", list(PHRASECUT["wrong_size"]))
def test_phrasecut_predictions_of_a_wrong_size_score_what_the_official_evaluator_gives(case):
    golden = PHRASECUT["wrong_size"][case]
    assert result("phrasecut@1", columns([(golden["i"], golden["u"])]))["miou"] == pytest.approx(golden["iou"], abs=1e-12)


# LAVT's loop over REFER's sentences.


@pytest.mark.parametrize("run", list(REFCOCO))
@pytest.mark.parametrize("protocol", ["lavt@1", "refer@1"])
def test_refcoco_equals_the_official_loop(run, protocol):
    golden = REFCOCO[run]
    found = result(protocol, columns(golden["per_sentence_I_U"]))
    assert found["miou"] == pytest.approx(golden["mIoU"], abs=1e-12)
    assert found["oiou"] == pytest.approx(golden["overall_IoU"], abs=1e-12)
    assert [found[f"pr{level}"] for level in LEVELS] == pytest.approx(list(golden["precision"].values()), abs=1e-12)


@pytest.mark.parametrize("run", list(REFCOCO))
def test_refcoco_sentence_ious_equal_the_official_ones(run):
    pairs = np.array(REFCOCO[run]["per_sentence_I_U"], dtype=np.int64)
    found = sample_iou(pairs[:, 0], pairs[:, 1], PROTOCOLS["lavt@1"])
    assert found.tolist() == pytest.approx(REFCOCO[run]["per_sentence_iou"], abs=1e-12)


# CLIPSeg's evaluator, through the path that the suite takes.


@pytest.fixture(scope="module")
def clipseg_case():
    maps, truths = random_maps(3, n=30)
    counts = fixed_interval_counts(maps[:, None], truths[:, None].astype(np.float32))
    return counted(maps, truths, PROTOCOLS["clipseg@1"]), fixed_interval_scores(counts, np.arange(30))


@pytest.mark.parametrize(
    ("metric", "official"),
    [("miou", "miou_0.3"), ("miou_best", "miou_best"), ("iou_fg", "fgiou_0.3"), ("iou_fg_best", "fgiou_best"), ("ap", "ap")],
)
def test_clipseg_equals_the_fixed_interval_evaluator(clipseg_case, metric, official):
    statistics, expected = clipseg_case
    assert result("clipseg@1", statistics, dense=True)[metric] == pytest.approx(expected[official], abs=1e-12)


def test_clipseg_best_thresholds_equal_the_fixed_interval_evaluators(clipseg_case):
    statistics, expected = clipseg_case
    accumulator = Accumulator(PROTOCOLS["clipseg@1"], dense=True)
    accumulator.add(statistics)
    found = accumulator.best_thresholds()
    assert found == pytest.approx({"miou_best": expected["miou_best_t"], "iou_fg_best": expected["fgiou_best_t"]}, abs=1e-12)


def test_iou_bin_equals_the_fixed_interval_evaluators(clipseg_case):
    statistics, expected = clipseg_case
    accumulator = Accumulator(PROTOCOLS["clipseg@1"], dense=True)
    accumulator.add(statistics)
    at_half = [int(count[24]) for count in accumulator.pooled_counts()]
    assert iou_bin(*at_half) == pytest.approx(expected["biniou_0.5"], abs=1e-12)


# Toy vectors, by hand.

EMPTY, PERFECT = (0, 0, 0), (4, 0, 0)


@pytest.mark.parametrize(
    ("protocol", "sample", "expected"),
    [
        ("clipseg@1", EMPTY, 0.0),
        ("phrasecut@1", EMPTY, 0.0),
        ("refer@1", EMPTY, 0.0),
        ("lavt@1", EMPTY, 0.0),
        ("native@1", EMPTY, 1.0),
        ("clipseg@1", PERFECT, 4 / 5),
        ("phrasecut@1", PERFECT, 1.0),
        ("lavt@1", PERFECT, 1.0),
        ("native@1", PERFECT, 1.0),
        ("clipseg@1", (3, 1, 2), 3 / 7),
        ("phrasecut@1", (3, 1, 2), 0.5),
        ("lavt@1", (3, 1, 2), 0.5),
    ],
)
def test_toy_mean_iou(protocol, sample, expected):
    assert result(protocol, area_columns(sample))["miou"] == expected


@pytest.mark.parametrize(("protocol", "metric", "expected"), [("phrasecut@1", "acc50", 0.0), ("lavt@1", "pr50", 1.0), ("refer@1", "pr50", 1.0)])
def test_an_iou_at_the_level_passes_where_the_protocol_says_so(protocol, metric, expected):
    assert result(protocol, area_columns((3, 1, 2)))[metric] == expected


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("protocol", "prefix", "passes"), [("phrasecut@1", "acc", 0.0), ("native@1", "pr", 1.0)])
def test_every_level_is_met_exactly(protocol, prefix, passes, level):
    assert result(protocol, columns([(level, 100)]))[f"{prefix}{level}"] == passes


@pytest.mark.parametrize(
    ("protocol", "mean", "overall", "name"),
    [("clipseg@1", (3 / 7 + 90 / 101) / 2, 93 / 107, "iou_fg"), ("phrasecut@1", 0.7, 93 / 106, "ciou"), ("native@1", 0.7, 93 / 106, "oiou")],
)
def test_toy_mean_and_overall_iou(protocol, mean, overall, name):
    found = result(protocol, area_columns((3, 1, 2), (90, 10, 0)))
    assert (found["miou"], found[name]) == pytest.approx((mean, overall), abs=1e-15)


def test_toy_dice():
    assert result("native@1", area_columns((3, 1, 2), EMPTY))["dice"] == (6 / 9 + 1) / 2


def test_dice_of_each_sample_follows_from_its_iou():
    statistics = area_columns((3, 1, 2), (5, 0, 0), (0, 7, 1))
    iou = sample_iou(statistics.intersection, statistics.union, PROTOCOLS["native@1"])
    np.testing.assert_allclose(sample_dice(statistics, PROTOCOLS["native@1"]), 2 * iou / (1 + iou))


# What is not defined is None, never 0.


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_no_samples_have_no_scores(protocol):
    assert result(protocol) == dict.fromkeys(PROTOCOLS[protocol].metrics)


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_no_samples_have_no_best_threshold(protocol):
    assert Accumulator(PROTOCOLS[protocol], dense=True).best_thresholds() == {}


@pytest.mark.parametrize("protocol", ["phrasecut@1", "refer@1", "native@1"])
def test_overall_iou_of_nothing_but_empty_samples_is_none(protocol):
    assert result(protocol, area_columns(EMPTY, EMPTY))["oiou"] is None


@pytest.mark.parametrize("protocol", ["clipseg@1", "native@1"])
@pytest.mark.parametrize(
    ("score", "true", "dense"),
    [(0.7, False, True), (0.0, True, True), (1.0, True, False)],
    ids=["no truth", "no prediction", "binary maps"],
)
def test_ap_is_none_without_truth_without_prediction_and_for_binary_maps(protocol, score, true, dense):
    statistics = counted(np.full((1, 3, 3), score, np.float32), np.full((1, 3, 3), true), PROTOCOLS[protocol])
    assert result(protocol, statistics, dense=dense)["ap"] is None


def test_clipseg_ap_of_one_point_is_0_as_the_official_code_has_it():
    statistics = counted(np.full((1, 3, 3), 0.99, np.float32), np.ones((1, 3, 3), np.bool_), PROTOCOLS["clipseg@1"])
    assert result("clipseg@1", statistics, dense=True)["ap"] == 0.0


def test_binary_maps_have_a_best_threshold_nonetheless():
    statistics = counted(np.eye(4, dtype=np.float32)[None], np.eye(4, dtype=np.bool_)[None], PROTOCOLS["clipseg@1"])
    accumulator = Accumulator(PROTOCOLS["clipseg@1"], dense=False)
    accumulator.add(statistics)
    assert (accumulator.result()["miou_best"], accumulator.best_thresholds()["miou_best"]) == (4 / 5, 0.02)


# Definitions against a slow oracle.


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["clipseg@1", "ldznet@1"]))
def test_best_over_thresholds_is_the_best_of_scoring_at_each(seed, name):
    maps, truths = random_maps(seed, n=4, shape=(6, 5))
    protocol = PROTOCOLS[name]
    found = result(protocol, counted(maps, truths, protocol), dense=True)
    means, overalls = [], []
    for threshold in protocol.thresholds:
        tp = [int((truth & (scores > threshold)).sum()) for scores, truth in zip(maps, truths, strict=True)]
        union = [int((truth | (scores > threshold)).sum()) for scores, truth in zip(maps, truths, strict=True)]
        means.append(sum(t / (1 + u) for t, u in zip(tp, union, strict=True)) / len(tp))
        overalls.append(sum(tp) / (1 + sum(union)))
    assert (found["miou_best"], found["iou_fg_best"]) == pytest.approx((max(means), max(overalls)), abs=1e-12)


def test_ap_is_that_of_the_pooled_pixels():
    maps, truths = random_maps(5)
    for name in ("clipseg@1", "native@1"):
        fg, bg = histograms(maps.reshape(1, -1), truths.reshape(1, -1), PROTOCOLS[name].thresholds)
        above = [np.cumsum(hist[::-1])[:-1][::-1].tolist() for hist in (fg, bg)]
        missed = [int(fg.sum()) - tp for tp in above[0]]
        expected = {"clipseg@1": simpson_ap(precision_recall_points(above[0], above[1], missed)), "native@1": step_ap(fg, bg)}[name]
        assert result(name, counted(maps, truths, PROTOCOLS[name]), dense=True)["ap"] == expected


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(["clipseg@1", "native@1", "phrasecut@1"]))
def test_neither_order_nor_batching_changes_a_bit(data, name):
    protocol = PROTOCOLS[name]
    maps, truths = random_maps(data.draw(st.integers(0, 9)), n=8, shape=(5, 4))
    whole = counted(maps, truths, PROTOCOLS["clipseg@1"] if protocol.grid is None else protocol)
    order = np.array(data.draw(st.permutations(range(8))))
    cuts = sorted(data.draw(st.lists(st.integers(0, 8), max_size=4)))
    parts = [whole.take(rows) for rows in np.split(order, cuts)]
    dense = protocol.grid is not None
    assert result(protocol, *parts, dense=dense) == result(protocol, whole, dense=dense)


@pytest.mark.parametrize("name", ["clipseg@1", "native@1"])
def test_samples_are_looked_at_in_blocks_of_any_size(monkeypatch, name):
    maps, truths = random_maps(1)
    statistics = counted(maps, truths, PROTOCOLS[name])
    expected = result(name, statistics, dense=True)
    monkeypatch.setattr(scores, "_CELLS", 5 * statistics.hist_fg.shape[1])
    assert result(name, statistics, dense=True) == expected


@given(hnp.arrays(np.int64, 5, elements=st.integers(0, 2**40)), hnp.arrays(np.int64, 5, elements=st.integers(0, 2**40)))
def test_sample_iou_is_a_plain_ratio(intersection, rest):
    union = intersection + rest
    for name, protocol in PROTOCOLS.items():
        slow = [
            i / (u + protocol.smoothing) if u + protocol.smoothing else float(protocol.empty_iou) for i, u in zip(intersection, union, strict=True)
        ]
        assert sample_iou(intersection, union, protocol).tolist() == slow, name


# Contracts.


def test_metrics_come_in_the_protocols_order():
    assert list(result("clipseg@1")) == list(PROTOCOLS["clipseg@1"].metrics)


@pytest.mark.parametrize(("alias", "metric"), [("giou", "miou"), ("ciou", "oiou"), ("iou_fg", "oiou"), ("acc70", "pr70")])
def test_names_of_the_field_are_aliases(alias, metric):
    protocol = dataclasses.replace(PROTOCOLS["refer@1"], metrics=(alias, metric))
    found = result(protocol, area_columns((3, 1, 0), (8, 1, 1)))
    assert found[alias] == found[metric]


def test_a_metric_that_nobody_computes_is_refused_with_the_nearest():
    with pytest.raises(BenchError, match=r"unknown metric 'mio'\. Did you mean 'miou'"):
        Accumulator(dataclasses.replace(PROTOCOLS["refer@1"], metrics=("mio",)), dense=False)


def test_records_counted_at_another_threshold_are_refused():
    maps, truths = random_maps(0)
    statistics = counted(maps, truths, PROTOCOLS["clipseg@1"], threshold=0.5)
    with pytest.raises(RunError, match="12 of 12 records hold areas that do not follow"):
        result("clipseg@1", statistics, dense=True)


@pytest.mark.parametrize("threshold", [0.5, 0.123])
def test_records_counted_at_the_runs_threshold_are_scored(threshold):
    maps, truths = random_maps(0)
    statistics = counted(maps, truths, PROTOCOLS["clipseg@1"], threshold)
    expected = sample_iou(statistics.intersection, statistics.union, PROTOCOLS["clipseg@1"]).mean()
    assert result("clipseg@1", statistics, dense=True, threshold=threshold)["miou"] == pytest.approx(expected, abs=1e-12)


def test_dense_maps_without_histograms_are_refused():
    with pytest.raises(ValueError, match="come without histograms"):
        result("native@1", area_columns(PERFECT), dense=True)


@pytest.mark.parametrize("first", [0, 1])
def test_binary_maps_of_which_only_some_have_histograms_are_refused(first):
    eye = np.eye(3, dtype=np.float32)[None]
    batches = [counted(eye, eye > 0, PROTOCOLS["clipseg@1"]), area_columns(PERFECT)]
    with pytest.raises(ValueError, match="without histograms"):
        result("clipseg@1", batches[first], batches[1 - first])


def test_records_of_another_grid_are_refused():
    maps, truths = random_maps(0)
    with pytest.raises(RunError, match="50 score bins where native@1 has 6432"):
        result("native@1", counted(maps, truths, PROTOCOLS["clipseg@1"]), dense=True)


def test_binary_maps_need_no_histograms():
    assert result("native@1", area_columns(PERFECT)) == {**dict.fromkeys(PROTOCOLS["native@1"].metrics, 1.0), "ap": None}


def test_taking_samples_takes_their_histograms():
    maps, truths = random_maps(2)
    whole, rows = counted(maps, truths, PROTOCOLS["clipseg@1"]), np.array([7, 1, 4])
    apart = counted(maps[rows], truths[rows], PROTOCOLS["clipseg@1"])
    assert result("clipseg@1", whole.take(rows), dense=True) == result("clipseg@1", apart, dense=True)


def test_samples_can_be_taken_twice_and_by_mask():
    maps, truths = random_maps(2)
    whole = counted(maps, truths, PROTOCOLS["clipseg@1"])
    twice = whole.take(np.arange(12) % 2 == 0).take(np.array([1, 3]))
    assert result("clipseg@1", twice, dense=True) == result("clipseg@1", whole.take(np.array([2, 6])), dense=True)


def as_records(statistics):
    plain = dict.fromkeys(SCHEMA.names)
    blank = plain | {"sample_id": "s", "image_id": "i", "phrase": "p", "width": 1, "height": 1, "n_instances": 1, "seed": 0}
    blank |= {"tags": [], "flags": [], "instance_areas": [], "instance_intersections": []}
    hists = [(None, None)] * len(statistics) if statistics.hist_fg is None else zip(statistics.hist_fg, statistics.hist_bg, strict=True)
    areas = zip(*(getattr(statistics, name).tolist() for name in ("intersection", "union", "gt_area", "pred_area")), strict=True)
    names = ("intersection", "union", "gt_area", "pred_area", "hist_fg", "hist_bg")
    return [blank | dict(zip(names, (*area, *hist), strict=True)) for area, hist in zip(areas, hists, strict=True)]


@pytest.fixture(params=["clipseg@1", "phrasecut@1"])
def recorded(request):
    protocol = PROTOCOLS[request.param]
    maps, truths = random_maps(4)
    statistics = counted(maps, truths, PROTOCOLS["clipseg@1"])
    if protocol.grid is None:
        statistics = dataclasses.replace(statistics, hist_fg=None, hist_bg=None)
    return protocol, statistics, as_records(statistics)


def test_columns_of_records_score_the_same(recorded):
    protocol, statistics, records = recorded
    dense = protocol.grid is not None
    assert result(protocol, Columns.from_records(records), dense=dense) == result(protocol, statistics, dense=dense)


@pytest.mark.parametrize("form", ["batch", "sliced batches", "table"])
def test_columns_of_arrow_score_the_same(recorded, form):
    protocol, statistics, records = recorded
    dense = protocol.grid is not None
    batch = pa.RecordBatch.from_pylist(records, schema=SCHEMA)
    forms = {"batch": [batch], "sliced batches": [batch.slice(0, 5), batch.slice(5)], "table": [pa.Table.from_batches([batch, batch.slice(0, 0)])]}
    parts = [Columns.from_arrow(part) for part in forms[form]]
    assert result(protocol, *parts, dense=dense) == result(protocol, statistics, dense=dense)


@pytest.mark.parametrize("source", ["records", "arrow"])
def test_records_of_which_only_some_have_histograms_are_refused(source):
    maps, truths = random_maps(4)
    records = as_records(counted(maps, truths, PROTOCOLS["clipseg@1"]))
    records[3] |= {"hist_fg": None, "hist_bg": None}
    with pytest.raises(ValueError, match="some records have threshold counts and some have none"):
        Columns.from_records(records) if source == "records" else Columns.from_arrow(pa.RecordBatch.from_pylist(records, schema=SCHEMA))
