from __future__ import annotations

import json
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from fake import Bar, FakeDataset, content, make_cell
from PIL import Image
from pycocotools import mask as coco

from ldznet_bench.errors import PredictionError
from ldznet_bench.evaluation.predictions import Predictions, read_png_mask
from ldznet_bench.evaluation.targets import make_target
from ldznet_bench.protocols import get_protocol

DATA = FakeDataset(images=3)


def masks() -> dict[str, np.ndarray]:
    """The truth of every sample, shifted, so that scores are neither 0 nor 1."""
    return {
        sample.sample_id: np.roll(make_target(sample.geometry, get_protocol("native")).mask, 4, axis=1)
        for group in DATA.groups()
        for sample in group.samples
    }


def write_pngs(folder, found=None):
    folder.mkdir(parents=True, exist_ok=True)
    for ident, mask in (masks() if found is None else found).items():
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{ident}.png")
    return folder


def run(tmp_path, path, protocol="native@1", **options):
    cell = make_cell(tmp_path, Predictions("mine", path, **options), protocol, dataset=DATA)
    cell.run(Bar)
    return cell


def counts(cell) -> list[tuple[int, int]]:
    table = pq.read_table(cell.folder.path / "records.parquet")
    return list(zip(table["intersection"].to_pylist(), table["union"].to_pylist(), strict=True))


def test_every_form_of_the_same_masks_gives_the_same_counts(tmp_path):
    found = masks()
    png = run(tmp_path / "a", write_pngs(tmp_path / "png"))
    (tmp_path / "npy").mkdir()
    for ident, mask in found.items():
        np.save(tmp_path / "npy" / f"{ident}.npy", mask.astype(np.float64))
    np.savez(tmp_path / "maps.npz", **{ident: mask.astype(np.float16) for ident, mask in found.items()})
    codes = {ident: coco.encode(np.asfortranarray(mask.astype(np.uint8))) for ident, mask in found.items()}
    for code in codes.values():
        code["counts"] = code["counts"].decode()
    (tmp_path / "list.json").write_text(json.dumps([{"sample_id": ident, "segmentation": code} for ident, code in codes.items()]))
    (tmp_path / "dict.json").write_text(json.dumps(codes))
    for name in ("npy", "maps.npz", "list.json", "dict.json"):
        other = run(tmp_path / name.replace(".", "-"), tmp_path / name)
        assert counts(other) == counts(png), name
        assert other.segmenter.binary == (name not in ("npy", "maps.npz"))


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16"])
def test_any_non_zero_stored_value_is_foreground(tmp_path, mode):
    stored = np.array([[0, 1, 2], [255, 0, 7]], np.uint8)
    image = Image.fromarray(stored.astype(np.uint16)) if mode == "I;16" else Image.fromarray(stored)
    if mode == "1":
        image = Image.fromarray(stored != 0)
    elif mode == "P":
        image = Image.frombytes("P", (3, 2), stored.tobytes())
        image.putpalette([0, 0, 0] * 256)  # every index is black; the index counts, not the colour
    image.save(tmp_path / "m.png")
    assert read_png_mask(tmp_path / "m.png").pixels.tolist() == (stored != 0).astype(float).tolist()


def test_a_colour_picture_is_no_mask(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "m.png")
    with pytest.raises(PredictionError, match="one channel"):
        read_png_mask(tmp_path / "m.png")


def test_missing_predictions_are_an_error_an_empty_mask_or_left_out(tmp_path):
    found = masks()
    del found["1_1"], found["2_0"]
    folder = write_pngs(tmp_path / "png", found)
    with pytest.raises(PredictionError, match=r"2 of 9 samples have no prediction \(1_1, 2_0\).*--missing"):
        run(tmp_path / "a", folder)
    empty, skip = run(tmp_path / "b", folder, missing="empty"), run(tmp_path / "c", folder, missing="skip")
    assert (empty.folder.summary()["n_samples"], skip.folder.summary()["n_samples"]) == (9, 7)
    summary = skip.folder.summary()
    assert summary["missing"]["n_missing"] == 2
    assert summary["missing"]["miou_with_missing_as_zero"] == pytest.approx(summary["metrics"]["miou"] * 7 / 9)
    rows = {row["sample_id"]: row for row in pq.read_table(empty.folder.path / "records.parquet").to_pylist()}
    assert (rows["1_1"]["pred_area"], rows["1_1"]["flags"]) == (0, ["missing-prediction"])
    assert rows["0_0"]["flags"] == []


def test_a_prediction_of_no_sample_is_an_error_with_the_nearest_id(tmp_path):
    folder = write_pngs(tmp_path / "png", {**masks(), "1_7": np.ones((40, 60))})
    with pytest.raises(PredictionError, match=r"1 predictions belong to no sample of this split \(1_7\).*Did you mean"):
        run(tmp_path, folder)
    run(tmp_path, folder, missing="skip")


def test_no_prediction_for_any_sample_names_what_is_expected(tmp_path):
    with pytest.raises(PredictionError, match="first expected: '0_0'; first found: 'other'"):
        run(tmp_path, write_pngs(tmp_path / "png", {"other": np.ones((40, 60))}), missing="skip")


def test_a_mask_of_another_size_is_an_error_unless_official(tmp_path):
    found = {**masks(), "0_1": np.ones((30, 50), bool)}
    folder = write_pngs(tmp_path / "png", found)
    with pytest.raises(PredictionError, match="'0_1' is 50x30, the annotation is 60x40"):
        run(tmp_path / "a", folder, "phrasecut@1")
    assert not (tmp_path / "a" / "runs").exists() or not list((tmp_path / "a" / "runs").rglob("*.json"))
    cell = run(tmp_path / "b", folder, "phrasecut@1", size_mismatch="official")
    row = pq.read_table(cell.folder.path / "records.parquet").to_pylist()[1]
    assert (row["sample_id"], row["width"], row["height"]) == ("0_1", 50, 30)
    assert row["pred_area"] == 1500


def test_masks_of_the_protocols_square_are_welcome(tmp_path):
    folder = write_pngs(tmp_path / "png", {ident: np.ones((352, 352), bool) for ident in masks()})
    assert run(tmp_path, folder, "clipseg@1").folder.summary()["n_samples"] == 9


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (np.full((4, 4), np.nan), "16 NaN"),
        (np.full((4, 4), 1.01), "from 1.01 to 1.01"),
        (np.full((4, 4), -1e-6), "from -1e-06"),
        (np.ones((4, 4, 1)), "shape"),
    ],
)
def test_a_bad_score_map_is_named_and_nothing_is_left(tmp_path, value, fault):
    maps = {ident: np.zeros((4, 4)) for ident in masks()}
    np.savez(tmp_path / "maps.npz", **{**maps, "2_1": value})
    with pytest.raises(PredictionError, match=rf"sample '2_1' .*{fault}"):
        run(tmp_path, tmp_path / "maps.npz")
    assert not list((tmp_path / "runs").rglob("*.bin"))
    assert not list((tmp_path / "runs").rglob("*.json"))


def test_two_predictions_of_a_sample_are_an_error(tmp_path):
    folder = write_pngs(tmp_path / "png")
    np.save(folder / "0_0.npy", np.zeros((4, 4)))
    with pytest.raises(PredictionError, match="'0_0' has two predictions"):
        Predictions("mine", folder)
    (tmp_path / "twice.json").write_text(json.dumps([{"sample_id": "a", "segmentation": {}}] * 2))
    with pytest.raises(PredictionError, match=r"1 samples have two predictions \(a\)"):
        Predictions("mine", tmp_path / "twice.json")


@pytest.mark.parametrize(
    ("name", "content_", "fault"),
    [
        ("p.json", b"[{", "not valid JSON"),
        ("p.json", b"3", "holds a int"),
        ("p.json", b'[{"id": 3}]', "entry 0 has no sample_id"),
        ("p.npz", b"PK\x03\x04nonsense", "cannot be read"),
        ("p.txt", b"", "neither a folder nor"),
    ],
)
def test_what_is_no_prediction_file_is_refused(tmp_path, name, content_, fault):
    (tmp_path / name).write_bytes(content_)
    with pytest.raises(PredictionError, match=fault):
        Predictions("mine", tmp_path / name)


def test_objects_in_a_numpy_file_are_never_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "touched"), "w"))

    (tmp_path / "p").mkdir()
    np.save(tmp_path / "p" / "0_0.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(PredictionError, match="without objects"):
        run(tmp_path, tmp_path / "p", missing="skip")
    assert not (tmp_path / "touched").exists()


def test_a_hostile_rle_is_refused_with_its_sample(tmp_path):
    code = {"size": [40, 60], "counts": "not a code \x00\x7f"}
    (tmp_path / "p.json").write_text(json.dumps({**dict.fromkeys(masks(), code)}))
    with pytest.raises(PredictionError, match="sample '0_0'"):
        run(tmp_path, tmp_path / "p.json")


def test_a_repeated_member_of_an_npz_is_an_error(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 2)))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("x.npy", archive.read("x.npy"))
    with pytest.raises(PredictionError, match="'x' twice"):
        Predictions("mine", tmp_path / "a.npz")


def test_changed_predictions_are_another_run(tmp_path):
    folder = write_pngs(tmp_path / "png")
    first = run(tmp_path, folder)
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(folder / "0_0.png")
    second = run(tmp_path, folder)
    assert first.folder.path != second.folder.path
    assert second.folder.why_new()[0].startswith("weights ")
    assert content(first) != content(second)
