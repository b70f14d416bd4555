from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
from pathlib import Path

import filelock
import numpy as np
import pyarrow.parquet as pq
import pytest
from fake import Bar, FakeDataset, content, make_cell

from ldznet_bench.errors import BenchError, BenchWarning, DataError, RunError
from ldznet_bench.evaluation import loop, targets
from ldznet_bench.evaluation.agreement import differences
from ldznet_bench.evaluation.runs import RunFolder
from ldznet_bench.evaluation.selection import Selection
from ldznet_bench.evaluation.sharding import Shard
from ldznet_bench.models.load import load_model
from ldznet_bench.models.segmenter import Segmenter
from ldznet_bench.protocols import PROTOCOLS


@pytest.mark.parametrize("protocol", ["native@1", "phrasecut@1", "refer@1"])
def test_the_oracle_is_perfect_where_the_protocol_allows_it(tmp_path, protocol):
    cell = make_cell(tmp_path, load_model("oracle"), protocol)
    assert cell.run(Bar)
    assert cell.folder.summary()["metrics"]["miou"] == 1.0
    assert cell.folder.summary()["metrics"]["oiou"] == 1.0


def test_under_clipseg_the_oracle_scores_a_over_a_plus_one_per_sample(tmp_path):
    cell = make_cell(tmp_path, load_model("oracle"), "clipseg@1")
    cell.run(Bar)
    rows = pq.read_table(cell.folder.path / "records.parquet").to_pylist()
    assert all(row["intersection"] == row["union"] == row["gt_area"] for row in rows)
    expected = np.mean([row["gt_area"] / (row["gt_area"] + 1) for row in rows])
    assert cell.folder.summary()["metrics"]["miou"] == pytest.approx(expected, abs=1e-15)


def test_a_finished_cell_is_not_run_again(tmp_path, monkeypatch):
    cell = make_cell(tmp_path, load_model("noise"))
    cell.run(Bar)
    before = content(cell)
    monkeypatch.setattr(loop.Loop, "run", lambda *_: pytest.fail("ran again"))
    again = make_cell(tmp_path, load_model("noise"))
    assert again.state() == "complete"
    assert again.run(Bar)
    assert content(again) == before


class Interrupted(Exception):
    pass


def interrupted_after(samples: int):
    class Stop(Bar):
        def update(self, count: int) -> None:
            super().update(count)
            if self.done >= samples:
                raise Interrupted

    return Stop


def test_an_interrupted_run_continues_to_the_same_bytes(tmp_path):
    whole = make_cell(tmp_path / "a", load_model("noise"))
    whole.run(Bar)
    for stop in (1, 7, 30, 59):
        with pytest.raises(Interrupted):
            make_cell(tmp_path / "b", load_model("noise")).run(interrupted_after(stop))
    cell = make_cell(tmp_path / "b", load_model("noise"))
    assert cell.state() == "started"
    assert cell.run(Bar)
    assert content(cell) == content(whole)
    assert not list((cell.folder.path / "journal").glob("*.bin"))


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_batches_change_no_byte_and_not_the_folder(tmp_path, batch):
    one, other = make_cell(tmp_path / "a", load_model("noise")), make_cell(tmp_path / "b", load_model("noise"), batch=batch)
    one.run(Bar)
    other.run(Bar)
    assert content(one) == content(other)
    assert one.folder.path.name == other.folder.path.name


def test_shards_merge_to_the_bytes_of_one_process(tmp_path):
    one = make_cell(tmp_path / "a", load_model("noise"))
    one.run(Bar)
    parts = [make_cell(tmp_path / "b", load_model("noise"), shard=Shard(index, 3)) for index in range(3)]
    assert [part.run(Bar) for part in parts] == [False, False, True]
    assert content(parts[0]) == content(one)


def test_a_run_begun_by_two_processes_is_finished_by_one(tmp_path):
    one = make_cell(tmp_path / "a", load_model("noise"))
    one.run(Bar)
    assert not make_cell(tmp_path / "b", load_model("noise"), shard=Shard(1, 2)).run(Bar)
    cell = make_cell(tmp_path / "b", load_model("noise"))
    assert cell.run(Bar)
    assert content(cell) == content(one)


def test_two_processes_that_disagree_are_found_out(tmp_path, monkeypatch):
    make_cell(tmp_path, load_model("noise"), shard=Shard(0, 2)).run(Bar)
    other = make_cell(tmp_path, load_model("noise"), shard=Shard(1, 2))
    real = RunFolder.done
    with monkeypatch.context() as patched:  # a machine that draws other numbers, and does not see what the first one did
        patched.setattr(loop, "seed_of", lambda *_: 3)
        patched.setattr(Shard, "has", lambda *_: True)
        patched.setattr(RunFolder, "done", lambda self: real(self) if len(real(self)) == 60 else set())
        with pytest.raises(RunError, match="counted sample '0_0' differently"):
            other.run(Bar)


def test_a_changed_identity_runs_anew_beside_the_old_and_says_why(tmp_path):
    first = make_cell(tmp_path, load_model("noise"))
    first.run(Bar)
    second = make_cell(tmp_path, load_model("noise"), seed=5)
    assert second.state() == "new"
    assert second.folder.why_new() == ["seed 0 -> 5"]
    second.run(Bar)
    assert first.folder.complete()
    assert first.folder.path.parent == second.folder.path.parent
    assert first.folder.path != second.folder.path


def test_a_limited_run_is_kept_apart_and_stamped(tmp_path):
    full = make_cell(tmp_path, load_model("noise"))
    limited = make_cell(tmp_path, load_model("noise"), limit=10)
    limited.run(Bar)
    assert full.state() == "new"
    assert limited.folder.path.name == full.folder.path.name + "-limit10"
    summary = limited.folder.summary()
    assert (summary["n_samples"], summary["limit"]) == (10, 10)
    full.run(Bar)
    of_all = {row["sample_id"]: row for row in pq.read_table(full.folder.path / "records.parquet").to_pylist()}
    assert all(of_all[row["sample_id"]] == row for row in pq.read_table(limited.folder.path / "records.parquet").to_pylist())


def test_the_folder_is_named_by_dataset_protocol_model_and_identity(tmp_path):
    cell = make_cell(tmp_path, load_model("box"))
    path = cell.folder.path.relative_to(tmp_path)
    assert path.parts[:4] == ("runs", "fake:test", "native@1", "box")
    assert len(path.name) == 12
    assert int(path.name, 16) >= 0


def test_run_json_tells_what_was_done(tmp_path):
    cell = make_cell(tmp_path, load_model("box"))
    cell.run(Bar)
    about = json.loads((cell.folder.path / "run.json").read_text())
    assert about["status"] == "complete"
    assert about["identity"]["protocol_digest"] == PROTOCOLS["native@1"].digest()
    assert set(about["identity"]["versions"]) == {"Pillow", "scikit-image", "pycocotools"}
    assert {"commit", "dirty", "host", "limit", "started", "finished", "command"} <= set(about["provenance"])


@pytest.mark.parametrize("output", [".", "s3:runs"])
def test_runs_may_lie_where_their_path_looks_like_a_uri(tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    cell = make_cell(Path(), load_model("box"), dataset=FakeDataset(images=2))
    cell = dataclasses.replace(cell, settings=dataclasses.replace(cell.settings, output=Path(output)))
    assert cell.run(Bar)
    assert differences(cell.folder.path, cell.folder.path) == []


def test_slices_are_scored_apart(tmp_path):
    cell = make_cell(tmp_path, load_model("noise"))
    cell.run(Bar)
    summary = cell.folder.summary()
    slices = summary["slices"]
    assert slices["all"] == {"n_samples": 60, "metrics": summary["metrics"]}
    assert slices["few"]["n_samples"] + slices["many"]["n_samples"] == 60
    assert slices["few"]["metrics"]["miou"] != slices["many"]["metrics"]["miou"]


def test_masks_and_maps_are_kept_as_asked(tmp_path):
    bare = make_cell(tmp_path / "a", load_model("noise"), keep_masks=False)
    bare.run(Bar)
    table = pq.read_table(bare.folder.path / "records.parquet")
    assert table["pred_rle"].null_count == table["score_map"].null_count == 60
    some = make_cell(tmp_path / "b", load_model("noise"), keep_maps="7")
    some.run(Bar)
    assert pq.read_table(some.folder.path / "records.parquet")["score_map"].null_count == 53


def test_other_content_is_made_anew_in_the_same_folder(tmp_path):
    bare = make_cell(tmp_path, load_model("noise"), keep_masks=False)
    bare.run(Bar)
    full = make_cell(tmp_path, load_model("noise"))
    assert full.folder.path == bare.folder.path
    assert full.state() == "new"
    full.run(Bar)
    assert pq.read_table(full.folder.path / "records.parquet")["pred_rle"].null_count == 0


class Maps(Segmenter):
    """Every map as given, on a grid of its own."""

    name, recipe, binary, micro_batch = "maps", {}, False, 4

    def __init__(self, value: np.ndarray) -> None:
        self.value = value
        self.sizes: list[int] = []
        self.images: list[str] = []
        self.texts: list[str] = []

    def encode_image(self, images):
        self.images += [image.image_id for image in images]
        return [image.image_id for image in images]

    def encode_text(self, prompts):
        self.texts += prompts
        return list(prompts)

    def decode(self, pairs):
        self.sizes.append(len(pairs))
        assert all(pair.text == pair.phrase for pair in pairs)
        return [self.value] * len(pairs)


def test_a_network_is_called_once_per_image_once_per_prompt_and_in_full_batches(tmp_path):
    model = Maps(np.full((8, 8), 0.25, np.float32))
    make_cell(tmp_path, model).run(Bar)
    assert sorted(model.images) == sorted({f"im{k}" for k in range(20)})
    assert sorted(model.texts) == ["thing 0", "thing 1", "thing 2"]
    assert set(model.sizes) == {4}


@pytest.mark.parametrize("bad", [np.full((8, 8), np.nan), np.full((8, 8), 1.5), np.zeros((0, 4)), np.zeros(5)])
def test_what_is_no_score_map_is_refused_and_the_sample_named(tmp_path, bad):
    with pytest.raises(BenchError, match="'0_0'"):
        make_cell(tmp_path, Maps(bad.astype(np.float32))).run(Bar)


def test_missing_images_stop_a_run_before_it_starts(tmp_path):
    data = FakeDataset()
    data.problems = lambda: [("im3", Path("gone.jpg"), "missing"), ("im4", Path("odd.jpg"), "size 3x3, annotation says 60x40")]  # type: ignore[method-assign]
    cell = make_cell(tmp_path, load_model("box"), dataset=data)
    with pytest.raises(DataError, match=r"1 images cannot be used: im3 \(missing: gone.jpg\)"):
        cell.run(Bar)
    assert not cell.folder.path.exists()


def test_the_mask_cache_gives_the_same_bytes(tmp_path):
    plain = make_cell(tmp_path / "a", load_model("noise"), "clipseg@1")
    plain.run(Bar)
    cached = [make_cell(tmp_path / name, load_model("noise"), "clipseg@1", cache=tmp_path / "masks") for name in ("b", "c")]
    for cell in cached:
        cell.run(Bar)
        assert content(cell) == content(plain)
    assert len(list((tmp_path / "masks").glob("*.sqlite"))) == 1


@pytest.mark.parametrize("damage", ["truncated", "empty", "junk", "another database", "flipped bits"])
def test_a_damaged_mask_cache_is_done_without_and_written_anew(tmp_path, damage):
    plain = make_cell(tmp_path / "a", load_model("noise"))
    plain.run(Bar)
    make_cell(tmp_path / "b", load_model("noise"), cache=tmp_path / "masks").run(Bar)
    (path,) = (tmp_path / "masks").glob("*.sqlite")
    whole = path.read_bytes()
    if damage == "another database":
        path.unlink()
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE other (x)")
    elif damage == "flipped bits":
        with contextlib.closing(sqlite3.connect(path)) as its, its:
            ((masks,),) = its.execute("SELECT masks FROM targets WHERE sample = '0_0'").fetchall()
            its.execute("UPDATE targets SET masks = ? WHERE sample = '0_0'", (masks[:14] + bytes([masks[14] ^ 4]) + masks[15:],))
    else:
        path.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "junk": b"x" * 9000}[damage])
    again = make_cell(tmp_path / "c", load_model("noise"), cache=tmp_path / "masks")
    with pytest.warns(BenchWarning, match=f"without the cache {path}"):
        again.run(Bar)
    assert content(again) == content(plain)
    make_cell(tmp_path / "d", load_model("noise"), cache=tmp_path / "masks").run(Bar)
    make_cell(tmp_path / "e", load_model("noise"), cache=tmp_path / "masks").run(Bar)


def test_a_mask_cache_that_cannot_be_opened_or_removed_is_done_without(tmp_path, monkeypatch):
    plain = make_cell(tmp_path / "a", load_model("noise"), cache=tmp_path / "masks")
    plain.run(Bar)
    (path,) = (tmp_path / "masks").glob("*.sqlite")

    def fail(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", fail)
        cell = make_cell(tmp_path / "b", load_model("noise"), cache=tmp_path / "masks")
        with pytest.warns(BenchWarning, match="unable to open"):
            cell.run(Bar)
    assert content(cell) == content(plain) and path.is_file()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path.write_bytes(b"junk" * 999)
    monkeypatch.setattr(Path, "unlink", refuse)
    cached = targets.TargetCache(tmp_path / "masks", "f" * 64, PROTOCOLS["native@1"], complete=False)
    sample = next(FakeDataset().groups()).samples[0]
    with pytest.warns(BenchWarning, match="without the cache"):
        assert cached.get([sample])[0].shape == (40, 60)


def test_a_mask_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    plain = make_cell(tmp_path / "a", load_model("noise"))
    plain.run(Bar)
    (tmp_path / "file").write_text("")
    cell = make_cell(tmp_path / "b", load_model("noise"), cache=tmp_path / "file" / "masks")
    with pytest.warns(BenchWarning, match="without the cache"):
        cell.run(Bar)
    assert content(cell) == content(plain)

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(targets._Writer, "add", full)
    cell = make_cell(tmp_path / "c", load_model("noise"), cache=tmp_path / "masks")
    with pytest.warns(BenchWarning, match="disk is full"):
        cell.run(Bar)
    assert content(cell) == content(plain)
    assert list((tmp_path / "masks").iterdir()) == []


def test_what_a_killed_merge_left_behind_is_cleared_away(tmp_path):
    cell = make_cell(tmp_path, load_model("noise"))
    cell.folder.path.mkdir(parents=True)
    (cell.folder.path / ".records.parquet.abc.part").write_bytes(b"half")
    cell.run(Bar)
    (cell.folder.path / "journal").mkdir()
    (cell.folder.path / "journal" / "masks.0of1.other.bin").write_bytes(b"")
    before = content(cell)
    cell.run(Bar)
    assert content(cell) == before
    assert sorted(path.name for path in cell.folder.path.iterdir() if path.suffix != ".lock") == [
        "records.parquet",
        "run.json",
        "summary.json",
        "timings.parquet",
    ]


def test_a_finished_run_without_its_records_is_made_anew(tmp_path):
    cell = make_cell(tmp_path, load_model("noise"))
    cell.run(Bar)
    before = content(cell)
    (cell.folder.path / "records.parquet").unlink()
    assert cell.state() == "new"
    assert cell.run(Bar) and content(cell) == before


def test_parts_that_keep_other_things_do_not_meet(tmp_path):
    make_cell(tmp_path, load_model("noise"), shard=Shard(0, 2)).run(Bar)
    with pytest.raises(RunError, match=r"another kind \(masks; this command asks for no-masks\)"):
        make_cell(tmp_path, load_model("noise"), shard=Shard(1, 2), keep_masks=False).run(Bar)
    assert make_cell(tmp_path, load_model("noise"), shard=Shard(1, 2)).run(Bar)
    other = make_cell(tmp_path, load_model("noise"), keep_masks=False)
    assert other.run(Bar), "of a finished run nothing is left that could not meet"


def test_a_folder_without_file_locks_is_told(tmp_path, monkeypatch):
    def none(*_: object, **__: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", none)
    with pytest.raises(BenchError, match="cannot be locked: No locks available"):
        make_cell(tmp_path, load_model("noise")).run(Bar)


def test_a_stopped_run_leaves_no_mask_cache(tmp_path):
    with pytest.raises(Interrupted):
        make_cell(tmp_path, load_model("noise"), cache=tmp_path / "masks").run(interrupted_after(20))
    assert list((tmp_path / "masks").iterdir()) == []


def test_a_limited_run_fills_its_micro_batches(tmp_path, monkeypatch):
    """Its blocks are of images that take part: 20 samples on as many images are 3 calls of 8, not one for each block of the dataset."""

    class Network(type(load_model("noise"))):
        micro_batch, name = 8, "noise-in-batches"

    calls = []
    real = Network.decode
    monkeypatch.setattr(Network, "decode", lambda self, pairs: calls.append(len(pairs)) or real(self, pairs))
    cell = make_cell(tmp_path, Network(), dataset=FakeDataset(images=160, per_image=1), limit=20)
    assert cell.run(Bar) and calls == [8, 8, 8]
    parts = [make_cell(tmp_path / "b", Network(), dataset=FakeDataset(images=160, per_image=1), limit=20, shard=Shard(i, 3)) for i in range(3)]
    assert [part.run(Bar) for part in parts] == [False, False, True]
    assert content(parts[0]) == content(cell)


def test_an_empty_selection_is_an_error(tmp_path):
    data = FakeDataset(images=1)
    data.family = "phrasecut"
    group = next(data.groups())
    data._groups = [dataclasses.replace(group, samples=tuple(dataclasses.replace(sample, image_id="61564") for sample in group.samples))]
    with pytest.raises(DataError, match="no sample left"):
        make_cell(tmp_path, load_model("box"), "clipseg@1", dataset=data).run(Bar)


def test_the_time_to_look_images_up_grows_with_their_number_alone(tmp_path, monkeypatch):
    calls, groups = [], Selection.groups
    monkeypatch.setattr(Selection, "groups", property(lambda self: calls.append(1) or groups.fget(self)))
    make_cell(tmp_path, load_model("box")).run(Bar)
    assert len(calls) == 1
