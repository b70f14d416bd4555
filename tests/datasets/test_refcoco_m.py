"""RefCOCO-M: new masks, and the old ones of the same samples; only what survived."""

from __future__ import annotations

import pickle

import make_releases
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as coco

from ldznet_bench.errors import DataError
from ldznet_bench.masks.rasterise import rasterise


@pytest.fixture
def folder(tmp_path):
    return make_releases.refcoco_m(tmp_path / "data")


def rewrite(folder, edit):
    (path,) = folder.glob("data/validation-00000-*")
    rows = pq.read_table(path).to_pylist()
    edit(rows)
    pq.write_table(pa.Table.from_pylist(rows), path)


def instances(folder):
    return [one for path in sorted(folder.glob("data/*.parquet")) for row in pq.read_table(path).to_pylist() for one in row["samples"]]


def test_new_and_old_hold_the_same_samples_under_other_masks(load, folder, tmp_path):
    new, old = load("refcoco-m:val", tmp_path / "data"), load("refcoco-m-old:val", tmp_path / "data")
    assert (new.name, old.name) == ("refcoco-m-new:val", "refcoco-m-old:val")
    assert new.sample_ids() == old.sample_ids()
    assert new.column("phrase") == old.column("phrase")
    assert new.fingerprint != old.fingerprint
    refcoco = load("refcoco:val", tmp_path / "data")
    assert 0 < new.n_samples < refcoco.n_samples
    by_words = {(sample.image_id, sample.sent): sample for group in refcoco.groups() for sample in group.samples}
    for one in instances(folder):
        for number, sentence in enumerate(one["sentences"]):
            image, fresh = new.find(f"{one['id']}__{number}")
            code = {"size": one["mask"]["size"], "counts": one["mask"]["counts"].encode()}
            assert np.array_equal(rasterise(fresh.geometry.parts, 64, 96, "coco"), coco.decode(code).astype(bool))
            assert image.path.is_file()
            then = by_words[str(one["image_id"]), sentence].geometry
            before = old.find(fresh.sample_id)[1].geometry
            assert np.array_equal(rasterise(before.parts, 64, 96, "coco"), rasterise(then.parts, 64, 96, "coco"))


def test_where_two_referents_share_the_words_the_nearest_box_decides(load, folder, tmp_path):
    path = folder.parent / "refcoco" / "refs(unc).p"
    refs = pickle.loads(path.read_bytes())
    val = [ref for ref in refs if ref["split"] == "val"]
    twin = next(ref for ref in val if ref["image_id"] == val[0]["image_id"] and ref is not val[0])
    for ref in (val[0], twin):
        ref["sentences"][0] |= {"raw": "same words", "sent": "same words"}
    path.write_bytes(pickle.dumps(refs, 2))
    first = 9000 + val[0]["ref_id"]

    def edit(rows):
        for row in rows:
            for one in row["samples"]:
                if one["id"] == first:
                    one["sentences"][0] = "same words"

    rewrite(folder, edit)
    old = load("refcoco-m-old:val", tmp_path / "data").find(f"{first}__0")[1]
    mine = load("refcoco:val", tmp_path / "data").find(str(val[0]["sentences"][0]["sent_id"]))[1]
    assert old.boxes == mine.boxes


def edit_first(**values):
    return lambda rows: rows[0]["samples"][0].update(values)


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        (
            "refcoco-m:val",
            edit_first(bbox=[500.0, 1.0, 9.0, 9.0]),
            r"row 0 \(id \d+\): its box \[500.0, 1.0, 9.0, 9.0\] lies outside its image of 96x64",
        ),
        ("refcoco-m:val", edit_first(mask={"counts": "~~~", "size": [64, 96]}), r"row 0 \(id \d+\): its mask"),
        (
            "refcoco-m-old:val",
            edit_first(sentences=["nobody said this"]),
            r"\('nobody said this' on image \d+\) is in no referent of .*refs\(unc\)\.p",
        ),
    ],
)
def test_bad_input_is_named(load, folder, tmp_path, name, edit, message):
    rewrite(folder, edit)
    with pytest.raises(DataError, match=message):
        load(name, tmp_path / "data")


def test_a_broken_table_and_an_absent_one(load, folder, tmp_path):
    next(folder.glob("data/*00000*")).write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="cannot be read"):
        load("refcoco-m:val", tmp_path / "data")
    with pytest.raises(DataError, match=r"data/validation-\*\.parquet"):
        load("refcoco-m:val", tmp_path)
