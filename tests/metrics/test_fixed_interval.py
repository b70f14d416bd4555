"""CLIPSeg's official evaluator, reproduced: every configuration of the goldens, and every refusal."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from ldznet_bench.errors import BenchError
from ldznet_bench.metrics.average_precision import precision_recall_points
from ldznet_bench.metrics.fixed_interval import fixed_interval_counts, fixed_interval_scores, fixed_interval_thresholds
from ldznet_bench.protocols import CLIPSEG_GRID

GOLDENS = Path(__file__).parents[1] / "goldens" / "metrics"
TRUTHS = {
    "gt_float32": lambda gt: gt.float(),
    "gt_uint8": lambda gt: gt,
    "gt_bool": lambda gt: gt.bool(),
    "gt_int64": lambda gt: gt.long(),
    "gt_float16": lambda gt: gt.half(),
    "gt_0_255_float": lambda gt: gt.float() * 255,
    "gt_soft": lambda gt: gt.float() * 0.7,
}


@cache
def arrays(case, kind):
    with np.load(GOLDENS / "fixed_interval" / f"{case}_{kind}.npz") as file:
        return {name: file[name] for name in file}


@cache
def expected(case):
    return json.loads((GOLDENS / "fixed_interval" / f"{case}_expected.json").read_text())["results"]


CASES = ("case1_prob64", "case2_logit96x80", "case3_lowres_27x22_to_96x80", "case4_ap_edges", "case5_dtype_quirks")
CONFIGS = [(case, config) for case in CASES for config in arrays(case, "counts")]
SCORED = [(case, config) for case, config in CONFIGS if "value" in expected(case)[config]]


def maps(case, config):
    """Prediction, truth, mask and classes, as the README of the goldens says they were fed."""
    inputs = arrays(case, "inputs")
    if case == "case4_ap_edges":
        pred, gt, classes = (inputs[f"{config}__{name}"] for name in ("pred", "gt", "cls"))
        return pred, gt.astype(np.float32), None, classes
    if case == "case5_dtype_quirks":
        gt = torch.from_numpy(inputs["gt"])
        classes = np.arange(len(gt))
        if config.startswith("exact_thr"):
            pred = torch.from_numpy(inputs["base_float64"]).to(getattr(torch, config.split("_")[2]))
            return pred, gt.float(), None, classes
        if config == "nan_pred":
            return inputs["nan_pred"], gt.float().numpy(), None, classes
        return torch.from_numpy(inputs["plain_pred"]), TRUTHS[config](gt), None, classes
    rows = expected(case)[config].get("sample_index", slice(None))
    mask = inputs["mask"][rows] if "mask" in config else None
    return inputs["pred"][rows], inputs["gt"][rows].astype(np.float32), mask, inputs["cls"][rows]


def options(case, config):
    given = dict(expected(case)[config]["config"])
    custom = given.pop("custom_threshold", None)
    if "resize_to" in given:
        given["resize_to"] = tuple(given["resize_to"])
    return given, {"n_values": given.get("n_values", 51), "custom_threshold": custom}


@cache
def counted(case, config):
    pred, gt, mask, _ = maps(case, config)
    return fixed_interval_counts(pred, gt, mask, **options(case, config)[0])


@cache
def scored(case, config):
    return fixed_interval_scores(counted(case, config), maps(case, config)[3], **options(case, config)[1], even="cartwright")


def test_every_golden_configuration_is_covered():
    known = {(case, config) for case in CASES for config, result in expected(case).items() if "config" in dict_or_empty(result)}
    assert known == set(CONFIGS)


def dict_or_empty(value):
    return value if isinstance(value, dict) else {}


@pytest.mark.parametrize(("case", "config"), CONFIGS)
def test_counts_equal_the_official_ones(case, config):
    golden = arrays(case, "counts")[config]
    # One golden depends on the last bit of the sigmoid; it lists how many pixels per threshold that may move.
    slack = np.array(expected(case)[config].get("sensitive_pixels_per_threshold", 0))
    assert np.all(np.abs(counted(case, config) - golden) <= slack)


@pytest.mark.parametrize(("case", "config"), [pair for pair in SCORED if pair[1] != "sigT_resF" or pair[0] != "case1_prob64"])
def test_every_scalar_and_curve_equals_the_official_one(case, config):
    ours = scored(case, config)
    for name, value in expected(case)[config]["value"].items():
        if value is None:
            assert ours[name] is None, name
        elif isinstance(value, dict):
            assert json.loads(json.dumps(ours[name])) == value, name
        else:
            np.testing.assert_allclose(ours[name], value, rtol=0, atol=1e-12, err_msg=name)


def test_scores_equal_the_official_ones_where_the_sigmoid_is_sensitive():
    golden = expected("case1_prob64")["sigT_resF"]
    counts = arrays("case1_prob64", "counts")["sigT_resF"]
    ours = fixed_interval_scores(counts, maps("case1_prob64", "sigT_resF")[3], even="cartwright")
    names = [name for name, value in golden["value"].items() if isinstance(value, float)]
    assert {name: ours[name] for name in names} == pytest.approx({name: golden["value"][name] for name in names}, abs=1e-12)


@pytest.mark.parametrize(("case", "config"), CONFIGS)
def test_the_points_under_simpsons_rule_are_the_official_ones(case, config):
    tp, fp, fn, _ = arrays(case, "counts")[config].sum(axis=1, dtype=np.int64).tolist()
    points = sorted(set(precision_recall_points(tp, fp, fn)), key=lambda point: point[0])
    golden = expected(case)[config]
    assert points == list(zip(golden["ap_input_recall"], golden["ap_input_precision"], strict=True))


def test_end_to_end_on_phrasecut_equals_the_official_evaluator():
    golden = json.loads((GOLDENS / "phrasecut_clipseg.json").read_text())["value"]
    with np.load(GOLDENS / "phrasecut_clipseg.npz") as file:
        pred, gt = file["pred"], np.unpackbits(file["seg"])[: file["pred"].size].reshape(file["pred"].shape)
    counts = fixed_interval_counts(pred, gt.astype(np.float32), sigmoid=True, resize_pred=True)
    ours = fixed_interval_scores(counts, np.arange(len(pred)), even="cartwright")
    names = [name for name, value in golden.items() if isinstance(value, float)]
    assert {name: ours[name] for name in names} == pytest.approx({name: golden[name] for name in names}, abs=1e-12)


PLAIN = arrays("case5_dtype_quirks", "inputs")["plain_pred"], arrays("case5_dtype_quirks", "inputs")["gt"]
LITERALS = expected("case5_dtype_quirks")["custom_threshold_literals"]
N_VALUES = expected("case5_dtype_quirks")["n_values_ap"]


@pytest.mark.parametrize("literal", [name for name, value in LITERALS.items() if isinstance(value[0], float)])
def test_custom_thresholds_read_the_curves(literal):
    scores = fixed_interval_scores(fixed_interval_counts(*PLAIN), range(4), custom_threshold=float(literal))
    ours = [scores[f"{name}_ct"] for name in ("fgiou", "biniou", "mean_iou")]
    assert ours == pytest.approx(LITERALS[literal], abs=1e-12)


@pytest.mark.parametrize("literal", [name for name, value in LITERALS.items() if value[0] == "ValueError"])
def test_custom_thresholds_that_miss_the_grid_by_a_bit_are_refused(literal):
    counts = fixed_interval_counts(*PLAIN)
    with pytest.raises(BenchError, match=rf"{literal} is not one of the 49 thresholds.*nearest is {literal}0000"):
        fixed_interval_scores(counts, range(4), custom_threshold=float(literal))


@pytest.mark.parametrize("n_values", [int(name) for name, value in N_VALUES.items() if isinstance(value, float)])
def test_finer_grids_give_the_official_ap(n_values):
    counts = fixed_interval_counts(*PLAIN, n_values=n_values)
    assert fixed_interval_scores(counts, range(4), n_values=n_values, even="cartwright")["ap"] == pytest.approx(N_VALUES[str(n_values)], abs=1e-12)


@pytest.mark.parametrize("n_values", [int(name) for name, value in N_VALUES.items() if not isinstance(value, float)])
def test_grids_without_the_reported_thresholds_are_refused(n_values):
    counts = fixed_interval_counts(*PLAIN, n_values=n_values)
    with pytest.raises(BenchError, match="is not one of the"):
        fixed_interval_scores(counts, range(4), n_values=n_values)


def test_scores_without_classes_are_refused():
    with pytest.raises(BenchError, match="need a class for every sample"):
        fixed_interval_scores(fixed_interval_counts(*PLAIN), None)


def test_no_prediction_at_any_threshold_is_refused():
    with pytest.raises(BenchError, match="no pixel is predicted"):
        fixed_interval_scores(counted("case4_ap_edges", "no_prediction"), [0, 1])


def test_a_half_precision_truth_that_overflows_is_refused():
    pred = np.full((1, 1, 300, 300), 0.5, np.float32)
    with pytest.raises(BenchError, match="float16 truth is infinite"):
        fixed_interval_counts(pred, np.ones_like(pred, dtype=np.float16))


def test_a_half_precision_truth_rounds_its_sums():
    pred = np.full((1, 1, 1, 4099), 0.5, np.float32)
    assert fixed_interval_counts(pred, np.ones_like(pred, dtype=np.float16))[0, 0, 0] == 4100


def test_a_bfloat16_truth_is_refused():
    with pytest.raises(BenchError, match="bfloat16 truth"):
        fixed_interval_counts(np.zeros((1, 1, 2, 2), np.float32), torch.ones(1, 1, 2, 2, dtype=torch.bfloat16))


@pytest.mark.parametrize("resizing", [{"resize_pred": True}, {"resize_to": (4, 4)}])
def test_only_four_dimensional_maps_are_resized(resizing):
    with pytest.raises(BenchError, match="3 dimensions cannot be resized"):
        fixed_interval_counts(np.zeros((1, 2, 2), np.float32), np.zeros((1, 2, 2), np.float32), **resizing)


def test_sizes_that_differ_are_refused():
    with pytest.raises(BenchError, match=r"differ in size: \(1, 1, 2, 2\), \(1, 1, 3, 3\)"):
        fixed_interval_counts(np.zeros((1, 1, 2, 2), np.float32), np.zeros((1, 1, 3, 3), np.float32))


def test_an_empty_mask_counts_as_none():
    counts = fixed_interval_counts(*PLAIN, np.zeros(0))
    np.testing.assert_array_equal(counts, fixed_interval_counts(*PLAIN))


def test_infinities_spread_when_a_map_is_resized_to_its_own_size():
    pred = np.zeros((1, 1, 3, 3), np.float32)
    pred[0, 0, 1, 1] = np.inf
    gt = np.zeros_like(pred)
    kept, resized = fixed_interval_counts(pred, gt), fixed_interval_counts(pred, gt, resize_pred=True)
    assert kept[1, 0, 0] == 1
    assert resized[1, 0, 0] != 1


def test_the_thresholds_are_the_grids_in_float64():
    np.testing.assert_array_equal(fixed_interval_thresholds().astype(np.float32), CLIPSEG_GRID.thresholds())
