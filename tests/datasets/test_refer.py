import json
import pickle
import shutil

import make_releases
import numpy as np
import pytest

from ldznet_bench.datasets.refer import ALL, in_split
from ldznet_bench.errors import DataError
from ldznet_bench.masks.rasterise import rasterise


@pytest.fixture
def folder(tmp_path):
    return make_releases.refer(tmp_path / "data")


def change_refs(folder, change, partition="unc"):
    path = folder / f"refs({partition}).p"
    refs = pickle.loads(path.read_bytes())
    change(refs)
    path.write_bytes(pickle.dumps(refs, 2))


def change_instances(folder, change):
    path = folder / "instances.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


CASES = [
    (dataset, split)
    for dataset in ("refcoco(unc)", "refcoco(google)", "refcocog(umd)")
    for split in ("", "train", "val", "test", "testA", "testB", "testC", "testAB", "testBC", "testAC")
]


@pytest.mark.parametrize("dataset, split", CASES)
def test_refs_of_every_split_equal_getrefids(load, goldens, golden, dataset, split):
    family, partition = dataset[:-1].split("(")
    expected = golden("refer_ids")["getRefIds"][dataset][split]
    refs = pickle.loads((goldens / "refer_data" / family / f"refs({partition}).p").read_bytes(), encoding="utf-8")
    assert [ref["ref_id"] for ref in refs if in_split(ref["split"], split or ALL)] == expected
    if not expected:
        with pytest.raises(DataError, match="has no samples"):
            load(f"{family}-{partition}:{split}", goldens / "refer_data")
        return
    data = load(f"{family}-{partition}:{split or ALL}", goldens / "refer_data")
    by_image = dict.fromkeys(ref["image_id"] for ref in refs if ref["ref_id"] in expected)
    in_order = [ref["ref_id"] for image in sorted(by_image, key=lambda i: _first(refs, expected, i)) for ref in refs if ref["image_id"] == image]
    found = list(dict.fromkeys(int(sample.ref_id) for group in data.groups() for sample in group.samples))
    assert found == [ref_id for ref_id in in_order if ref_id in expected]
    assert data.found.refs == len(expected)


def _first(refs, wanted, image):
    return next(n for n, ref in enumerate(refs) if ref["image_id"] == image and ref["ref_id"] in wanted)


@pytest.mark.parametrize("name", ["refcoco(unc)/val", "refcoco(unc)/testA", "refcoco(google)/test", "refcocog(umd)/val", "refcocog(umd)/test"])
def test_sentences_are_the_official_ones(load, goldens, golden, name):
    dataset, split = name.split("/")
    expected = golden("refer_ids")["order"][name]
    data = load(f"{dataset[:-1].replace('(', '-')}:{split}", goldens / "refer_data")
    found = {(int(sample.ref_id), int(sample.sample_id)) for group in data.groups() for sample in group.samples}
    assert found == {(ref_id, sent_id) for ref_id, sent_id, _ in expected}
    assert data.n_samples == len(expected)


@pytest.mark.parametrize("dataset", ["refcoco(unc)", "refcoco(google)", "refcocog(umd)"])
def test_geometry_gives_the_official_masks(load, goldens, golden, dataset):
    expected = golden("refer_ids")["area"][dataset]
    data = load(f"{dataset[:-1].replace('(', '-')}:all", goldens / "refer_data")
    for group in data.groups():
        for sample in group.samples:
            geometry = sample.geometry
            pixels = np.count_nonzero(rasterise(geometry.parts, geometry.height, geometry.width, "coco"))
            if expected[sample.ref_id] is not None:  # the official code fails on a crowd's uncompressed code
                assert pixels == expected[sample.ref_id]


def test_crowds_with_uncompressed_counts_are_read(load, goldens, golden):
    failing = [ref_id for ref_id, area in golden("refer_ids")["area"]["refcoco(unc)"].items() if area is None]
    data = load("refcoco:all", goldens / "refer_data")
    (sample, *_) = [s for g in data.groups() for s in g.samples if s.ref_id in failing]
    assert np.count_nonzero(rasterise(sample.geometry.parts, 96, 96, "coco")) == 96


def test_samples_hold_what_the_source_states(load, folder):
    refs = pickle.loads((folder / "refs(unc).p").read_bytes())
    ref = refs[2]
    image, sample = load("refcoco:testA", folder.parent).find(str(ref["sent_ids"][0]))
    sentence = ref["sentences"][0]
    assert (sample.phrase, sample.sent) == (sentence["raw"], sentence["sent"])
    assert (sample.ref_id, sample.category) == ("2", "thing")
    assert (image.image_id, image.coco_id) == (str(ref["image_id"]), ref["image_id"])
    assert image.path.name == f"COCO_train2014_{ref['image_id']:012d}.jpg"  # not the ref's file_name
    assert image.path.is_file()
    annotation = json.loads((folder / "instances.json").read_text())["annotations"][2]
    assert [part.xy.ravel().tolist() for part in sample.geometry.parts] == annotation["segmentation"]
    assert list(sample.boxes[0]) == annotation["bbox"]


def test_refs_of_one_image_are_one_group(load, folder):
    groups = list(load("refcoco:all", folder.parent).groups())
    assert len(groups) == 4
    assert [len({sample.ref_id for sample in group.samples}) for group in groups] == [3, 3, 2, 2]


@pytest.mark.parametrize("layout", ["refer", "refer/refcoco", "data", "bare"])
def test_releases_are_found_where_people_keep_them(load, folder, tmp_path, layout):
    root = {"refer": folder.parent, "refer/refcoco": folder, "data": folder.parent.parent, "bare": tmp_path / "own"}[layout]
    if layout == "bare":
        shutil.copytree(folder, root)
        (root / "train2014").mkdir()
        for path in (folder.parent / "images").rglob("*.jpg"):
            shutil.copy(path, root / "train2014")
    data = load("refcoco:val", root)
    assert data.problems() == [] and data.n_images > 0


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda f: (f / "instances.json").unlink(), "has refs(unc).p, but no instances.json"),
        (lambda f: (f / "refs(unc).p").rename(f / "refs(google).p"), "has refs(google).p"),
        (lambda f: f.rename(f.with_name("refcoco+")), "refcoco+ has refs(unc).p"),
        (lambda f: (shutil.rmtree(f.parent), make_releases.phrasecut(f.parent)), "is a PhraseCut release"),
    ],
)
def test_missing_and_wrong_releases_are_told(load, folder, change, said):
    change(folder)
    with pytest.raises(DataError, match=r"refcoco-unc:val was not found: looked in") as caught:
        load("refcoco:val", folder.parent)
    assert said in str(caught.value)


def test_another_familys_folder_is_not_taken_for_this_one(load, folder):
    with pytest.raises(DataError, match="was not found"):
        load("refcoco+:val", folder)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda refs: refs[1].pop("ann_id"), "ref 1 (ref_id 1): 'ann_id' is missing"),
        (lambda refs: refs[1].update(ann_id=99), "its annotation 99 is not in"),
        (lambda refs: refs[1].update(image_id=99), "its image 99 is not in"),
        (lambda refs: refs[1].update(split=3), "'split' should be text, is 3"),
        (lambda refs: refs[1]["sentences"][0].pop("raw"), "ref 1, sentence 0 (sent_id 1): 'raw' is missing"),
        (lambda refs: refs.__setitem__(1, "x"), "ref 1: an object was expected, found 'x'"),
        (lambda refs: refs[5]["sentences"][0].update(sent_id=1), "sample id '1' is given twice"),
    ],
)
def test_damaged_refs_are_named(load, folder, change, said):
    change_refs(folder, change)
    with pytest.raises(DataError) as caught:
        load("refcoco:val", folder.parent)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda v: v["annotations"][1].pop("segmentation"), "annotations element 1 (id 501): 'segmentation' is missing"),
        (lambda v: v["annotations"][1].update(segmentation=[[1, 2, 3]]), "neither a polygon"),
        (lambda v: v["annotations"][1].update(segmentation=[[1, 2, "3", 4]]), "neither a polygon"),
        (lambda v: v["annotations"][1].update(segmentation={"size": [64, 96], "counts": "zz"}), "run-length code"),
        (lambda v: v["annotations"][1].update(segmentation={"size": [64, 96], "counts": [1, 2]}), "sum to 3 pixels"),
        (lambda v: v["annotations"][1].update(bbox=[1]), "'bbox' should hold boxes of four"),
        (lambda v: v["images"][1].update(file_name="../../etc/passwd"), "is no file name of an image"),
        (lambda v: v["images"][1].update(width=0), "an image has from 1 to 1,000,000 pixels a side"),
        (lambda v: v["categories"][0].pop("name"), "categories element 0 (id 1): 'name' is missing"),
    ],
)
def test_damaged_instances_are_named(load, folder, change, said):
    change_instances(folder, change)
    with pytest.raises(DataError) as caught:
        load("refcoco:val", folder.parent)
    assert said in str(caught.value)


def test_a_pickle_that_is_no_list_and_one_that_runs_code(load, folder):
    (folder / "refs(unc).p").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(DataError, match="a list of refs was expected, found an object of 1 keys"):
        load("refcoco:val", folder.parent)
    (folder / "refs(unc).p").write_bytes(b"cposix\nsystem\n(S'touch owned'\ntR.")
    with pytest.raises(DataError, match=r"not plain data.*posix\.system"):
        load("refcoco:val", folder.parent)


def test_empty_segmentation_is_an_instance_without_pixels(load, folder):
    change_instances(folder, lambda v: v["annotations"][1].update(segmentation=[]))
    _, sample = load("refcoco:val", folder.parent).find("1")
    assert sample.geometry.instances == ((),)
