"""Dumps of other models: every form gives the same counts; missing, doubled and unknown entries are refused with their names."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from fake import Bar, FakeDataset, make_cell
from pycocotools import mask as coco

from ldznet_bench.errors import PredictionError
from ldznet_bench.evaluation.predictions import Predictions
from ldznet_bench.evaluation.targets import make_target
from ldznet_bench.protocols import get_protocol


def dataset() -> FakeDataset:
    """Three images, whose phrases name their image, but for one that all share, and one image that has a phrase twice."""
    data = FakeDataset(images=3)
    for index, group in enumerate(data._groups):
        phrases = ["Shared  thing", f"only on {index}", f"twice {index}" if index else f"only on {index}"]
        samples = tuple(dataclasses.replace(sample, phrase=phrase) for sample, phrase in zip(group.samples, phrases, strict=True))
        data._groups[index] = dataclasses.replace(group, samples=samples)
    return data


DATA = dataset()


def rle(mask):
    code = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": code["size"], "counts": code["counts"].decode()}


def truth(sample):
    """Shifted, so that scores are neither 0 nor 1; the same for the same words on an image."""
    first = next(one for group in DATA.groups() for one in group.samples if (one.image_id, one.phrase) == (sample.image_id, sample.phrase))
    return np.roll(make_target(first.geometry, get_protocol("native")).mask, 4, axis=1)


SAMPLES = [(group.image, sample) for group in DATA.groups() for sample in group.samples]
RLES = {sample.sample_id: rle(truth(sample)) for _, sample in SAMPLES}


def halves(sample):
    mask = truth(sample)
    left = mask.copy()
    left[:, 30:] = False
    return [rle(left), rle(mask & ~left)]


def nested():
    found: dict = {}
    for image, sample in SAMPLES:
        found.setdefault(image.image_id, {})[sample.phrase] = RLES[sample.sample_id]
    return found


FORMS = {
    "ids": [{"sample_id": ident, "segmentation": code} for ident, code in RLES.items()],
    "keyed": RLES,
    "pairs": [{"image": image.image_id, "phrase": sample.phrase, "masks": halves(sample)} for image, sample in SAMPLES],
    "lower": [
        {"image_id": image.image_id, "sent": sample.phrase.lower().replace("  ", " "), "pred_masks": halves(sample)} for image, sample in SAMPLES
    ],
    "nested": nested(),
}


def write(folder, value, name="dump.json"):
    path = folder / name
    path.write_text("".join(json.dumps(item) + "\n" for item in value) if name.endswith("l") else json.dumps(value))
    return path


def run(tmp_path, path, **options):
    cell = make_cell(tmp_path, Predictions("mine", path, groups=DATA.groups, **options), "lisa@1", dataset=DATA)
    cell.run(Bar)
    return [row for batch in cell.folder.records(["sample_id", "intersection", "union", "pred_area"]) for row in batch.to_pylist()]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_masks_gives_the_same_counts(tmp_path, form):
    (tmp_path / "a").mkdir()
    assert run(tmp_path, write(tmp_path, FORMS[form])) == run(tmp_path / "a", write(tmp_path, FORMS["ids"], "other.json"))


def test_json_lines(tmp_path):
    (tmp_path / "a").mkdir()
    assert run(tmp_path, write(tmp_path, FORMS["pairs"], "dump.jsonl")) == run(tmp_path / "a", write(tmp_path, FORMS["ids"], "other.json"))


def test_keys_that_are_phrases(tmp_path):
    value = {sample.phrase: RLES[sample.sample_id] for _, sample in SAMPLES if sample.phrase.startswith("only")}
    found = run(tmp_path, write(tmp_path, value), missing="skip")
    assert {row["sample_id"] for row in found} == {sample.sample_id for _, sample in SAMPLES if sample.phrase.startswith("only")}
    with pytest.raises(PredictionError, match=r"1 phrases are on several images and name none: entry 'shared thing'"):
        run(tmp_path, write(tmp_path, {**value, "shared thing": RLES["0_0"]}), missing="skip")


def test_an_answer_of_no_instance_is_an_empty_mask(tmp_path):
    value = [*FORMS["pairs"][1:], {"image": "im0", "phrase": "shared thing", "masks": []}]
    found = {row["sample_id"]: row["pred_area"] for row in run(tmp_path, write(tmp_path, value))}
    assert found["0_0"] == 0
    assert found["0_1"] > 0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (FORMS["pairs"][1:], r"1 of 9 samples have no prediction \(0_0\)"),
        (FORMS["nested"] | {"im1": {"only on 1": RLES["1_1"]}}, r"2 of 9 samples have no prediction \(1_0, 1_2\)"),
        ([*FORMS["ids"], FORMS["ids"][4]], r"1 samples have two predictions \(1_1\)"),
        ([*FORMS["pairs"], {**FORMS["pairs"][4], "masks": [RLES["1_0"]]}], r"1 samples have two predictions \(1_1\)"),
        (
            [*FORMS["pairs"], {"image": "im9", "phrase": "only on 1", "masks": []}],
            r"1 of 10 entries fit no sample .*entry 9 \('only on 1' on image 'im9'\)",
        ),
        ([*FORMS["pairs"], {"image": "im1", "phrase": "a goat", "masks": []}], r"entry 9 \('a goat' on image 'im1'\)"),
        ([{"image": "im1", "masks": []}], "entry 0 has no sample_id .* nor an image and a phrase"),
        ([*FORMS["pairs"][:-1], {**FORMS["pairs"][-1], "masks": [RLES["2_2"], rle(np.ones((3, 4)))]}], "sample '2_2' has masks of several sizes"),
        (3, "holds a int"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_names_and_nothing_is_left(tmp_path, value, message):
    with pytest.raises(PredictionError, match=message):
        run(tmp_path, write(tmp_path, value))
    assert not list((tmp_path / "runs").rglob("summary.json"))


def test_pairs_without_a_dataset_say_what_is_missing(tmp_path):
    with pytest.raises(PredictionError, match=r"entry 0 \('Shared  thing' on image 'im0'\) has no sample_id\. Score it with its dataset"):
        Predictions("mine", write(tmp_path, FORMS["pairs"]))
