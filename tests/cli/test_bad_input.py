"""Every mistake: a message that says what, where and what to do; a non-zero exit; nothing half-written."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_paths import MASKS, RELEASES

from ldznet_bench.cli import main
from ldznet_bench.evaluation import runs


@pytest.fixture
def release(tmp_path) -> Path:
    """A copy of the releases that a test may damage."""
    shutil.copytree(RELEASES, tmp_path / "releases")
    return tmp_path / "releases"


def run(bench, root, dataset="phrasecut:test", models="box"):
    return bench("run", "--models", models, "--datasets", dataset, "--data-root", root)


def refused(said, *words: str, tmp_path: Path | None = None) -> None:
    assert said.code == 2, said
    for word in words:
        assert word in said.err
    if tmp_path is not None:
        assert not [path for name in ("run.json", "*.parquet", "*.bin") for path in (tmp_path / "runs").rglob(name)]


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (("run", "--models", "orcale"), "Did you mean 'oracle'?"),
        (("run", "--models", "box", "--datasets", "phrasecutt:test"), "phrasecut"),
        (("run", "--models", "box", "--datasets", "phrasecut:tset"), "Did you mean 'test'?"),
        (("run", "--models", "box", "--datasets", "refcoco-umd:val"), "unc"),
        (("run", "--models", "box", "--protocol", "clipsg@1"), "Did you mean 'clipseg@1'?"),
        (("run", "--models", "box", "--protocol", "clipseg@7"), "clipseg@1"),
        (("info", "refcoc"), "Did you mean 'refcoco'?"),
        (("scor",), "Did you mean 'score'?"),
        (("run", "--models", "box+hf"), "box"),
        (("run", "--models", "clipseg/medium"), "variant"),
        (("run", "--models", ","), "no model is named"),
        (("run", "--models", "box", "--keep-maps", "some"), "--keep-maps"),
        (("run", "--models", "box", "--shard", "5/2"), "i/n"),
        (("run", "--models", "clipseg", "--weights", "clipseg"), "MODEL=PATH"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(bench, arguments, near):
    refused(bench(*arguments), near)


def test_no_root_a_missing_root_and_a_wrong_release(bench, tmp_path):
    refused(bench("run", "--models", "box", "--datasets", "phrasecut:test"), "--data-root", tmp_path=tmp_path)
    refused(run(bench, tmp_path / "nowhere"), "nowhere", tmp_path=tmp_path)
    refused(run(bench, RELEASES / "refer"), "PhraseCut", tmp_path=tmp_path)


def test_truncated_json_names_file_and_place(bench, release, tmp_path):
    file = release / "VGPhraseCut_v0" / "refer_test.json"
    file.write_bytes(file.read_bytes()[:-400])
    refused(run(bench, release), "refer_test.json", tmp_path=tmp_path)


class Bomb:
    def __reduce__(self):
        return (os.system, ("touch bomb-went-off",))


def test_a_pickle_that_runs_code_is_refused_and_does_not(bench, release, tmp_path):
    (release / "refer" / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps([{"ref_id": Bomb()}], protocol=2))
    refused(run(bench, release, "refcoco:testA"), "refs(unc).p", "system", tmp_path=tmp_path)
    assert not (tmp_path / "bomb-went-off").exists()


def test_a_missing_image_stops_run_but_not_score(bench, release, tmp_path):
    (release / "VGPhraseCut_v0" / "images" / "2366789.jpg").unlink()
    refused(run(bench, release), "2366789", "missing", tmp_path=tmp_path)
    keys = ("--dataset", "phrasecut:test", "--data-root", release, "--protocol", "phrasecut@1", "--name", "m")
    assert bench("score", *keys, "--predictions", MASKS / "test").code == 0


def test_a_truncated_image_is_named(bench, release, tmp_path):
    file = release / "VGPhraseCut_v0" / "images" / "2366789.jpg"
    file.write_bytes(file.read_bytes()[:-200])
    refused(run(bench, release), "2366789", "truncated", tmp_path=tmp_path)


def test_an_unknown_id_among_predictions(bench, tmp_path):
    shutil.copytree(MASKS / "test", tmp_path / "masks")
    shutil.copy(tmp_path / "masks" / "236__3577026.png", tmp_path / "masks" / "236__9999999.png")
    keys = ("--dataset", "phrasecut:test", "--data-root", RELEASES, "--protocol", "phrasecut@1", "--name", "m")
    refused(bench("score", *keys, "--predictions", tmp_path / "masks"), "236__9999999", tmp_path=tmp_path)


def test_nan_in_a_score_map(bench, tmp_path):
    (tmp_path / "maps").mkdir()
    for file in (MASKS / "test").iterdir():
        np.save(tmp_path / "maps" / f"{file.stem}.npy", np.full((3, 3), np.nan))
    keys = ("--dataset", "phrasecut:test", "--data-root", RELEASES, "--name", "m")
    refused(bench("score", *keys, "--predictions", tmp_path / "maps"), "NaN", tmp_path=tmp_path)


def test_duplicate_ids_in_a_release(bench, release, tmp_path):
    file = release / "VGPhraseCut_v0" / "refer_test.json"
    tasks = json.loads(file.read_text())
    file.write_text(json.dumps([*tasks, tasks[3]]))
    refused(run(bench, release), tasks[3]["task_id"], tmp_path=tmp_path)


def test_a_run_folder_that_cannot_be_written(bench, tmp_path):
    (tmp_path / "file").write_text("")
    refused(bench("run", "--models", "box", "--output", tmp_path / "file"), "cannot write")


@pytest.mark.parametrize("step", ["records", "summary", "journal"])
def test_a_full_disk_leaves_nothing_half_written_and_the_run_continues(bench, tmp_path, monkeypatch, step):
    full = OSError(28, "No space left on device")

    def fail(*_: object, **__: object) -> None:
        raise full

    with monkeypatch.context() as patched:
        if step == "records":
            patched.setattr(runs.pq.ParquetWriter, "write_table", fail)
        elif step == "summary":
            patched.setattr(Path, "write_bytes", fail)
        else:
            patched.setattr(os, "write", fail)
        said = bench("run", "--models", "box")
    refused(said, "No space left on device", "Free some space")
    assert not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.rglob("summary.json"))
    assert bench("run", "--models", "box").code == 0


@pytest.mark.filterwarnings("default::ldznet_bench.errors.BenchWarning")
@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"status": "complete"}'])
@pytest.mark.parametrize("name", ["run.json", "summary.json"])
def test_a_damaged_run_folder_is_told_and_the_others_are_reported(bench, tmp_path, name, text):
    bench("run", "--models", "box,oracle", "--limit", 3)
    next((tmp_path / "runs").rglob(f"box/*/{name}")).write_text(text)
    refused(bench("run", "--models", "box", "--limit", 3), name)
    said = bench("report", "--limited")
    assert (said.code, "oracle" in said.out, "box" in said.out) == (0, True, False)
    assert f"left out: {next((tmp_path / 'runs').rglob(f'box/*/{name}')).relative_to(tmp_path)}" in said.err
    refused(bench("report", "--limited", "--models", "box"), "no finished run")


def test_where_nobody_listens_the_run_goes_on(bench, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", None)
        patched.setattr(sys, "stderr", None)
        assert main._run(["run", "--models", "box", "--limit", "3"]) == 0
        sys.stdout.close()
        sys.stderr.close()

    def full(_: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(sys.stderr, "write", full)
        assert main._run(["run", "--models", "box,oracle", "--limit", "3"]) == 0, "box is finished, as is said to nobody"
        assert main._run(["run", "--models", "box", "--limit", "0"]) == 2
    assert len(list((tmp_path / "runs").rglob("summary.json"))) == 2


def test_a_terminal_that_cannot_print_it(monkeypatch, capsys):
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
        assert main._run(["run", "--help"]) == 2
        sys.stdout.detach()
    assert "cannot be written in this terminal's latin-1" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_plan_does_not_stop_its_run(bench, tmp_path, damage):
    first = ("run", "--models", "box", "--limit", 40, "--shard")
    assert bench(*first, "0/3").code == 0
    (plan,) = (tmp_path / "runs").rglob("plan.parquet")
    whole = plan.read_bytes()
    plan.write_bytes(whole[:50] if damage == "cut" else whole[:4] + bytes(byte ^ 255 for byte in whole[4:40]) + whole[40:])
    refused(bench("report"), "no finished run", "plan.parquet cannot be read")
    assert bench("run", "--models", "box", "--limit", 40, "--dry-run").code == 0
    said = bench(*first, "1/3")
    assert (said.code, plan.read_bytes() == whole) == (0, True)
    assert "part 2/3 was never started" in said.err


def test_an_output_that_is_no_text(bench):
    refused(bench("run", "--models", "box", "--limit", "3", "--output", os.fsdecode(b"x\xff")), "udcff is no character of UTF-8")


def test_a_model_that_cannot_be_loaded_leaves_the_others_theirs(bench, tmp_path):
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "model.safetensors").write_bytes(b"junk")
    (tmp_path / "junk" / "config.json").write_text("{}")
    said = bench("run", "--models", "box,clipseg/full,oracle", "--weights", "clipseg=junk", "--limit", 3, "--json")
    found = json.loads(said.out)
    assert (said.code, [run["model"] for run in found["runs"]]) == (2, ["box", "oracle"])
    assert len(found["errors"]) == 1 and found["errors"][0].startswith("clipseg/full: ")


@pytest.mark.parametrize("name", ["", " ", "..", "mine~blank"])
def test_a_name_that_no_model_can_have(bench, tmp_path, name):
    refused(bench("score", "--dataset", "minicut-photo:test", "--predictions", "masks", "--name", name), "cannot name a model", tmp_path=tmp_path)


@pytest.mark.filterwarnings("default::ldznet_bench.errors.BenchWarning")
def test_runs_in_the_current_folder_and_behind_links(bench, tmp_path):
    assert bench("run", "--models", "box", "--limit", 3, "--output", ".").code == 0
    assert "box" in bench("report", "--limited", "--allow-mixed", "--ci", "--output", ".").out
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "linked").symlink_to(tmp_path / "minicut-photo:test")
    (tmp_path / "minicut-photo:test" / "round").symlink_to(tmp_path)
    assert "box" in bench("report", "--limited", "--allow-mixed", "--output", "elsewhere").out


def test_weights_that_are_not_there(bench, tmp_path):
    said = bench("run", "--models", "clipseg/full", "--weights", f"clipseg={tmp_path / 'nowhere'}")
    refused(said, "nowhere", tmp_path=tmp_path)
    refused(bench("run", "--models", "oracle,clipseg/full"), "--weights clipseg=DIR", tmp_path=tmp_path)


def test_an_image_to_predict_on_that_is_none(bench, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    refused(bench("predict", "text.jpg", "cat", "--model", "box"), "cannot be decoded")
    refused(bench("predict", "gone.jpg", "cat", "--model", "box"), "missing")
    refused(bench("predict", "gone.jpg", "cat", "--model", "oracle"), "gone.jpg")
