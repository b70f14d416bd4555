"""gRefCOCO: none, one and several targets, held against the slow reading that ReLA's loader does; bad input is named."""

from __future__ import annotations

import json

import make_releases
import numpy as np
import pytest
from pycocotools import mask as coco

from ldznet_bench.errors import DataError
from ldznet_bench.masks.rasterise import rasterise


@pytest.fixture
def folder(tmp_path):
    return make_releases.grefcoco(tmp_path / "data")


def change(folder, edit, name="grefs(unc).json"):
    path = folder / name
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def merged(ref, instances):
    """G_REFER.getMaskByRef(merge=True), one annotation at a time."""
    anns = {annotation["id"]: annotation for annotation in instances["annotations"]}
    ids = ref["ann_id"] if isinstance(ref["ann_id"], list) else [ref["ann_id"]]
    mask = np.zeros((64, 96), bool)
    for ident in ids:
        if ident != -1 and not anns[ident]["iscrowd"]:
            for code in coco.frPyObjects(anns[ident]["segmentation"], 64, 96):
                mask |= coco.decode(code).astype(bool)
    return mask


@pytest.mark.parametrize("split", ["train", "val", "testA", "testB"])
def test_truth_of_every_sentence_equals_the_loaders(load, folder, split):
    refs = [ref for ref in json.loads((folder / "grefs(unc).json").read_text()) if ref["split"] == split]
    instances = json.loads((folder / "instances.json").read_text())
    data = load(f"grefcoco:{split}", folder.parent.parent)
    assert data.name == f"grefcoco-unc:{split}"
    assert data.n_samples == sum(len(ref["sentences"]) for ref in refs)
    for ref in refs:
        for sentence in ref["sentences"]:
            _, sample = data.find(str(sentence["sent_id"]))
            assert sample.phrase == sentence["raw"]
            assert np.array_equal(rasterise(sample.geometry.parts, 64, 96, "coco"), merged(ref, instances))
            kinds = {0: "no-target", 1: "single-target"}
            assert sample.tags == (kinds.get(len(sample.geometry.instances), "multi-target"),)
            assert sample.no_target == (sample.tags == ("no-target",))


def test_a_release_is_found_where_people_have_it_and_named_where_it_is_not(load, folder, tmp_path):
    assert load("grefcoco:val", folder).fingerprint == load("grefcoco:val", tmp_path / "data").fingerprint
    (folder / "instances.json").unlink()
    with pytest.raises(DataError, match=r"grefs\(unc\)\.json, but no instances\.json"):
        load("grefcoco:val", tmp_path / "data")


@pytest.mark.parametrize(
    ("edit", "name", "message"),
    [
        (lambda refs: refs[1].update(ann_id=[77]), "grefs(unc).json", r"ref 1 \(ref_id 1\): its annotation 77 is not in .*instances.json"),
        (lambda refs: refs[1].update(ann_id=[-1, 501]), "grefs(unc).json", r"'ann_id' should be one or several annotation ids, or \[-1\]"),
        (lambda refs: refs[1].update(ann_id="[501]"), "grefs(unc).json", r"'ann_id' should be"),
        (lambda refs: refs[1].update(ann_id=[501], no_target=True), "grefs(unc).json", "marked no_target and names annotation 501"),
        (lambda refs: refs[1].update(image_id=5), "grefs(unc).json", "its image 5 is not in"),
        (
            lambda value: value["annotations"][1].update(bbox=[200, 3, 10, 10]),
            "instances.json",
            "box of its annotation 501 lies outside its image of 96x64",
        ),
        (
            lambda value: value["annotations"][1].update(segmentation="[[1, 2, 3"),
            "instances.json",
            r"id 501\): 'segmentation': '\[\[1, 2, 3' is neither a polygon",
        ),
    ],
)
def test_bad_input_is_named(load, folder, edit, name, message):
    change(folder, lambda refs: refs[1].update(split="val", ann_id=[501], no_target=False))
    change(folder, edit, name)
    with pytest.raises(DataError, match=message):
        load("grefcoco:val", folder)
