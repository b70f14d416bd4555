"""Whole runs against the official evaluators' own outputs (tests/goldens): PhraseCut's evaluate.py, and LAVT's loop on REFER."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from fake import Bar
from PIL import Image

from ldznet_bench.api import load_dataset, score
from ldznet_bench.datasets.store import PreparedDataset
from ldznet_bench.evaluation.cell import Cell, Settings
from ldznet_bench.evaluation.predictions import Predictions
from ldznet_bench.evaluation.runs import RunFolder
from ldznet_bench.protocols import get_protocol

GOLDENS = Path(__file__).parent.parent / "goldens"
PREDICTIONS = GOLDENS / "evaluation" / "phrasecut_predictions"
PHRASECUT = json.loads((GOLDENS / "evaluation" / "phrasecut_expected.json").read_text())
REFCOCO = json.loads((GOLDENS / "evaluation" / "refcoco_expected.json").read_text())
# One exact ratio against the official mean of rounded ones: the last bit may differ.
EXACT = 1e-12


def phrasecut(split: str, word_lists: Path | None = None) -> PreparedDataset:
    return load_dataset(f"phrasecut:{split}", data_root=GOLDENS / "releases", word_lists=word_lists)


def rows(run: RunFolder) -> dict[str, dict[str, object]]:
    return {row["sample_id"]: row for row in pq.read_table(run.path / "records.parquet").to_pylist()}


def official(result: dict[str, object]) -> dict[str, float]:
    accuracy = result["pred_mask_acc"]
    return {
        "miou": result["mean_mask_iou"],
        "oiou": result["cum_mask_iou"],
        "ciou": result["cum_mask_iou"],
        **{f"acc{int(100 * float(level))}": share for level, share in accuracy.items()},  # type: ignore[union-attr]
    }


@pytest.mark.parametrize("split", ["train", "val", "test", "miniv"])
def test_phrasecut_every_task_of_every_split(tmp_path, split):
    run = score(phrasecut(split), PREDICTIONS / split, "phrasecut@1", name="golden", output=tmp_path)
    expected = {ident: task for ident, task in PHRASECUT["tasks"].items() if task["split"] == split}
    found = rows(run)
    assert set(found) == set(expected)
    for ident, task in expected.items():
        row = found[ident]
        counted = (row["intersection"], row["union"], row["gt_area"], row["pred_area"])
        assert counted == (task["i"], task["u"], task["gt_pixels"], task["pred_pixels"]), ident


def test_phrasecut_test_split_with_all_its_subsets(tmp_path, subset_words):
    run = score(phrasecut("test", subset_words), PREDICTIONS / "test", "phrasecut@1", name="golden", output=tmp_path)
    check_phrasecut(run, PHRASECUT["test_full"])
    assert run.summary()["absent_slices"] == []


def test_phrasecut_missing_predictions_are_skipped_as_officially(tmp_path, subset_words):
    expected = PHRASECUT["test_missing"]
    folder = tmp_path / "masks"
    folder.mkdir()
    for ident in expected["mask_iou"]:
        (folder / f"{ident}.png").write_bytes((PREDICTIONS / "test" / f"{ident}.png").read_bytes())
    run = score(phrasecut("test", subset_words), folder, "phrasecut@1", name="golden", output=tmp_path / "runs", missing="skip")
    check_phrasecut(run, expected)
    missing = run.summary()["missing"]
    assert missing["n_missing"] == len(expected["dropped"])
    mean = expected["results"]["all"]["mean_mask_iou"]
    assert missing["miou_with_missing_as_zero"] == pytest.approx(mean * expected["evaluated_task_count"] / expected["task_num"], abs=EXACT)


def test_phrasecut_predictions_of_other_splits_are_ignored_as_officially(tmp_path, subset_words):
    folder = tmp_path / "masks"
    folder.mkdir()
    for file in (*(PREDICTIONS / "miniv").iterdir(), *(PREDICTIONS / "val").iterdir()):
        (folder / file.name).write_bytes(file.read_bytes())
    run = score(phrasecut("miniv", subset_words), folder, "phrasecut@1", name="golden", output=tmp_path / "runs", missing="skip")
    check_phrasecut(run, PHRASECUT["miniv_given_foreign_images"])


def check_phrasecut(run: RunFolder, expected: dict[str, dict[str, object]]) -> None:
    summary = run.summary()
    assert summary["metrics"] == pytest.approx(official(expected["results"]["all"]), abs=EXACT)
    assert set(summary["slices"]) == set(expected["results"])
    for name, result in expected["results"].items():
        assert summary["slices"][name]["n_samples"] == expected["counts"][name], name
        assert summary["slices"][name]["metrics"] == pytest.approx(official(result), abs=EXACT), name


def test_phrasecut_without_word_lists_has_the_other_subsets_and_says_which_are_absent(tmp_path):
    run = score(phrasecut("test"), PREDICTIONS / "test", "phrasecut@1", name="golden", output=tmp_path)
    summary, expected = run.summary(), PHRASECUT["test_full"]["results"]
    assert set(summary["slices"]) | set(summary["absent_slices"]) >= set(expected)
    assert not set(summary["slices"]) & set(summary["absent_slices"])
    assert {"a_color", "t_stuff", "c_coco"} <= set(summary["absent_slices"])
    for name, found in summary["slices"].items():
        assert found["metrics"] == pytest.approx(official(expected[name]), abs=EXACT), name


@pytest.mark.parametrize("kind", ["cropped", "padded"])
def test_phrasecut_masks_of_a_wrong_size(tmp_path, kind):
    expected = PHRASECUT["wrong_size"][kind]
    folder = tmp_path / "masks"
    folder.mkdir()
    mask = np.asarray(Image.open(PREDICTIONS / "test" / f"{expected['task_id']}.png")) != 0
    height, width = mask.shape
    changed = mask[: 2 * height // 3, : 2 * width // 3] if kind == "cropped" else np.pad(mask, ((0, 10), (0, 7)))
    assert list(changed.shape) == expected["shape"]
    Image.fromarray(changed).save(folder / f"{expected['task_id']}.png")
    keys = {"name": "golden", "output": tmp_path / "runs", "missing": "skip", "size_mismatch": "official"}
    row = rows(score(phrasecut("test"), folder, "phrasecut@1", **keys))[expected["task_id"]]
    assert (row["intersection"], row["union"]) == (expected["i"], expected["u"])


def refcoco(key: str) -> tuple[PreparedDataset, np.ndarray, list[str]]:
    head, split = key.split("/")
    family, partition = head.rstrip(")").split("(")
    arrays = np.load(GOLDENS / "evaluation" / "refcoco_arrays.npz")
    data = load_dataset(f"{family}-{partition}:{split}", data_root=GOLDENS / "releases")
    order = REFCOCO["evaluate"][key]["order"]
    bits = arrays[f"pred480|{key}"]
    return data, np.unpackbits(bits)[: len(order) * 480 * 480].reshape(len(order), 480, 480), [str(sent) for _, sent, _ in order]


def check_refcoco(run: RunFolder, ids: list[str], expected: dict[str, object]) -> None:
    found = rows(run)
    assert [[found[ident]["intersection"], found[ident]["union"]] for ident in ids] == expected["per_sentence_I_U"]
    metrics = run.summary()["metrics"]
    assert metrics["miou"] == pytest.approx(expected["mIoU"], abs=EXACT)
    assert metrics["oiou"] == pytest.approx(expected["overall_IoU"], abs=EXACT)
    for level, share in expected["precision"].items():  # type: ignore[attr-defined]
        assert metrics[f"pr{int(100 * float(level))}"] == pytest.approx(share, abs=EXACT)


@pytest.mark.parametrize("key", list(REFCOCO["evaluate"]))
def test_lavt_at_480(tmp_path, key):
    data, masks, ids = refcoco(key)
    folder = tmp_path / "masks"
    folder.mkdir()
    for ident, mask in zip(ids, masks, strict=True):
        Image.fromarray(mask.astype(bool)).save(folder / f"{ident}.png")
    check_refcoco(score(data, folder, "lavt@1", name="golden", output=tmp_path / "runs"), ids, REFCOCO["evaluate"][key]["img480"])


@pytest.mark.parametrize("key", list(REFCOCO["evaluate"]))
def test_lavts_arithmetic_at_native_size(tmp_path, key):
    """The goldens keep LAVT's overlap quirk at native size, which is `refer@1` with the other rasteriser."""
    data, _, ids = refcoco(key)
    arrays = np.load(GOLDENS / "evaluation" / "refcoco_arrays.npz")
    folder = tmp_path / "masks"
    folder.mkdir()
    for position, ident in enumerate(ids):
        Image.fromarray(arrays[f"pred|{key}|{position}"].astype(bool)).save(folder / f"{ident}.png")
    protocol = dataclasses.replace(get_protocol("refer"), rasteriser="coco-sum-equals-one")
    cell = Cell(data, Predictions("golden", folder), protocol, Settings(output=tmp_path / "runs"))
    cell.run(Bar)
    check_refcoco(cell.folder, ids, REFCOCO["evaluate"][key]["original_resolution"])


def test_clipsegs_whole_pipeline_on_phrasecut(tmp_path):
    """Its data class and metric at 48 pixels: polygon2mask at annotation size, nearest to the square, 17 images dropped, sigmoid, 49 thresholds."""
    expected = json.loads((GOLDENS / "evaluation" / "clipseg_pipeline.json").read_text())
    arrays = np.load(GOLDENS / "evaluation" / "clipseg_pipeline.npz")
    data = phrasecut("test")
    maps = (torch.from_numpy(arrays["pred"]).sigmoid()).numpy()
    dropped = {sample.sample_id: np.zeros((2, 2)) for group in data.groups() if group.image.image_id == "61564" for sample in group.samples}
    np.savez(tmp_path / "maps.npz", **dropped, **dict(zip(expected["task_ids"], maps, strict=True)))
    protocol = dataclasses.replace(get_protocol("clipseg"), canvas=48)
    cell = Cell(data, Predictions("golden", tmp_path / "maps.npz"), protocol, Settings(output=tmp_path / "runs"))
    cell.run(Bar)
    found = rows(cell.folder)
    assert set(found) == set(expected["task_ids"])
    assert [found[ident]["phrase"] for ident in expected["task_ids"]] == expected["phrases"]
    truths = np.unpackbits(arrays["seg"])[: len(found) * 48 * 48].reshape(-1, 48 * 48).sum(1)
    assert [found[ident]["gt_area"] for ident in expected["task_ids"]] == truths.tolist()
    names = {"miou": "miou_0.3", "miou_best": "miou_best", "iou_fg": "fgiou_0.3", "iou_fg_best": "fgiou_best", "ap": "ap"}
    metrics = cell.folder.summary()["metrics"]
    assert metrics == pytest.approx({name: expected["value"][key] for name, key in names.items()}, abs=EXACT)
    thresholds = cell.folder.summary()["thresholds"]
    assert thresholds["miou_best"] == {"source": "oracle-test", "value": pytest.approx(expected["value"]["miou_best_t"])}
