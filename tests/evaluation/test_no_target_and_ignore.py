"""Samples without target and pixels to ignore, through the loop: refused by name, scored by rule, counted in nothing."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from fake import Bar, FakeDataset, make_cell

from ldznet_bench.datasets.sample import ImageFile, Sample
from ldznet_bench.errors import DataError
from ldznet_bench.evaluation.counting import count, make_records
from ldznet_bench.evaluation.targets import make_target
from ldznet_bench.masks import rle
from ldznet_bench.masks.geometry import Geometry
from ldznet_bench.models.load import load_model
from ldznet_bench.protocols import PROTOCOLS, get_protocol


def with_no_target() -> FakeDataset:
    """Every third sample has none."""
    data = FakeDataset(images=4)
    for index, group in enumerate(data._groups):
        first = dataclasses.replace(group.samples[0], geometry=Geometry(40, 60, ()))
        data._groups[index] = dataclasses.replace(group, samples=(first, *group.samples[1:]))
    return data


@pytest.mark.parametrize("protocol", ["clipseg@1", "ldznet@1", "phrasecut@1", "refer@1", "lavt@1"])
def test_a_protocol_without_a_rule_refuses_the_sample_by_name_before_anything_is_written(tmp_path, protocol):
    cell = make_cell(tmp_path, load_model("empty"), protocol, with_no_target())
    with pytest.raises(DataError, match=rf"{protocol} has no rule for samples without target.*4 such samples, the first is '0_0'.*gres@1"):
        cell.run(lambda *_: None)
    assert not (tmp_path / "runs").exists()


def test_every_protocol_either_scores_an_empty_answer_1_or_refuses_the_question():
    assert {name for name, protocol in PROTOCOLS.items() if protocol.scores_no_target} == {"native@1", "lisa@1", "gres@1"}


@pytest.mark.parametrize(("model", "giou", "n_acc", "t_acc"), [("oracle", 1, 1, 1), ("empty", 1 / 3, 1, 0), ("full", None, 0, 1)])
def test_gres_through_the_loop(tmp_path, model, giou, n_acc, t_acc):
    cell = make_cell(tmp_path, load_model(model), "gres@1", with_no_target())
    cell.run(Bar)
    found = json.loads((cell.folder.path / "summary.json").read_text())["metrics"]
    assert (found["n_acc"], found["t_acc"]) == (n_acc, t_acc)
    if giou is not None:
        assert found["giou"] == pytest.approx(giou)


def record(protocol: str, scores: np.ndarray, ignore: np.ndarray | None, truth: np.ndarray) -> dict:
    codes = () if ignore is None else (rle.encode(ignore),)
    sample = Sample("s", "i", "p", Geometry(*truth.shape, ((rle.encode(truth),),), codes))
    rules = get_protocol(protocol)
    return make_records(
        [count(sample, ImageFile("i", None, *truth.shape), make_target(sample.geometry, rules), scores, rules, rules.threshold, seed=0)]
    )[0]  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("protocol", ["native@1", "lisa@1", "refer@1"])
def test_ignored_pixels_count_in_nothing(protocol):
    draw = np.random.default_rng(5)
    truth, ignore = draw.random((2, 30, 20)) < 0.4
    scores = draw.random((30, 20)).astype(np.float32)
    found = record(protocol, scores, ignore, truth)
    predicted, keep = scores > 0.5, ~ignore
    assert found["intersection"] == np.sum(predicted & truth & keep)
    assert found["union"] == np.sum((predicted | truth) & keep)
    assert (found["gt_area"], found["pred_area"]) == (np.sum(truth & keep), np.sum(predicted & keep))
    assert found["instance_areas"] == [found["gt_area"]]
    if found["hist_fg"] is not None:
        assert np.sum(found["hist_fg"]) + np.sum(found["hist_bg"]) == keep.sum()
        thresholds = get_protocol(protocol).thresholds
        above = np.searchsorted(thresholds, scores[truth & keep])
        assert np.array_equal(found["hist_fg"], np.bincount(above, minlength=len(thresholds) + 1))


def test_ignored_pixels_count_the_same_on_a_torch_map():
    import torch

    from ldznet_bench.evaluation import counting
    from ldznet_bench.metrics import torch_counts

    draw = np.random.default_rng(6)
    truth, ignore = draw.random((2, 30, 20)) < 0.4
    scores = draw.random((30, 20)).astype(np.float32)
    target = make_target(Geometry(30, 20, ((rle.encode(truth),),), (rle.encode(ignore),)), get_protocol("native"))
    grid = get_protocol("native").thresholds
    one = torch_counts.histograms(*counting._counted(torch.from_numpy(scores), target), grid)
    other = counting.counts.histograms(*counting._counted(scores, target), grid)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_ignored_regions_follow_the_truth_to_a_square_canvas():
    truth, ignore = np.zeros((2, 60, 30), bool)
    truth[:30], ignore[:15] = True, True
    found = record("clipseg@1", np.ones((8, 8), np.float32), ignore, truth)
    assert (found["width"], found["height"]) == (352, 352)
    assert found["gt_area"] == 352 * 88
    assert found["pred_area"] == 352 * 264


def test_geometry_with_regions_to_ignore_keeps_its_fingerprint_apart_and_reads_back():
    plain = Geometry(4, 4, ((rle.encode(np.eye(4, dtype=bool)),),))
    other = dataclasses.replace(plain, ignore=(rle.encode(np.ones((4, 4), bool)),))
    assert "ignore" not in plain.to_json()
    assert Geometry.from_json(other.to_json()) == other
