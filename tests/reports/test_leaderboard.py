from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from picture_dataset import PictureDataset, write_pictured_run
from synthetic_runs import write_run

from ldznet_bench.cli.leaderboard import command
from ldznet_bench.errors import BenchError, RunError
from ldznet_bench.protocols import get_protocol
from ldznet_bench.reports.export import coco_results, eval_results
from ldznet_bench.reports.leaderboard import add, build, check, check_all, entries
from ldznet_bench.reports.runs import Run, read_run


def honest(path: Path) -> Run:
    """The run with the identity that the loop would have given it."""
    from ldznet_bench.reports.leaderboard import _digest

    about, summary = (json.loads((path / name).read_text()) for name in ("run.json", "summary.json"))
    about["identity"]["protocol_digest"] = get_protocol(about["protocol"]).digest()
    summary["identity"] = about["identity_digest"] = _digest(about["identity"])
    (path / "run.json").write_text(json.dumps(about))
    (path / "summary.json").write_text(json.dumps(summary))
    return read_run(path.rename(path.parent / summary["identity"]))


def edit(run: Run, name: str, change: Any) -> Run:
    value = json.loads((run.path / name).read_text())
    change(value)
    (run.path / name).write_text(json.dumps(value))
    return read_run(run.path)


def test_an_honest_run_enters_and_stays_checkable(tmp_path: Path) -> None:
    run = honest(write_run(tmp_path / "runs", "a", n_images=60))
    add(run, tmp_path / "board")
    assert [item.summary for item in check_all(tmp_path / "board")] == [run.summary]


def test_an_entry_does_not_say_where_it_was_made(tmp_path: Path) -> None:
    run = edit(
        honest(write_run(tmp_path / "runs", "a", n_images=5)),
        "run.json",
        lambda about: about["provenance"].update(host="secret", command=["/home/me"]),
    )
    stored = json.loads((add(run, tmp_path / "board") / "run.json").read_text())["provenance"]
    assert not {"host", "command"} & set(stored) and stored["dirty"] is False


def test_adding_twice_changes_nothing(tmp_path: Path) -> None:
    run = honest(write_run(tmp_path / "runs", "a", n_images=6))
    entry = add(run, tmp_path / "board")
    before = (entry / "records.parquet").read_bytes()
    assert add(run, tmp_path / "board") == entry
    assert (entry / "records.parquet").read_bytes() == before


@pytest.mark.parametrize("protocol", ["native@1", "phrasecut@1", "ldznet@1"])
def test_every_protocols_numbers_follow_from_records(tmp_path: Path, protocol: str) -> None:
    check(honest(write_run(tmp_path, "a", protocol=protocol, n_images=8)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["metrics"].update(miou=0.9), "states metrics miou = 0.9"),
        (lambda s: s.update(n_images=7), "states n_images = 7"),
        (lambda s: s["slices"]["p_att"]["metrics"].update(ap=1.0), "slices p_att"),
        (lambda s: s["slices"].pop("p_att"), "differ"),
        (lambda s: s.update(model="better"), "model is"),
        (lambda s: s.update(identity="0" * 12), "identity"),
    ],
)
def test_an_edited_summary_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    run = edit(honest(write_run(tmp_path, "a", n_images=12)), "summary.json", change)
    with pytest.raises(RunError, match=message):
        check(run)


def test_edited_records_are_refused(tmp_path: Path) -> None:
    run = honest(write_run(tmp_path, "a", protocol="refer@1", n_images=12))
    table = pq.read_table(run.path / "records.parquet")
    place = table.schema.get_field_index("intersection")
    better = pa.array([value + 1 for value in table.column("intersection").to_pylist()], pa.int64())
    pq.write_table(table.set_column(place, table.schema.field(place), better), run.path / "records.parquet")
    with pytest.raises(RunError, match="its records make"):
        check(run)


@pytest.mark.parametrize("stamp", [{"partial": ["counts"]}, {"limit": 3}, {"dirty": True}])
def test_stamped_runs_stay_out(tmp_path: Path, stamp: dict[str, object]) -> None:
    with pytest.raises(RunError, match="stay out"):
        check(honest(write_run(tmp_path, "a", n_images=5, **stamp)))  # type: ignore[arg-type]


def test_the_verbs_add_check_and_build(tmp_path: Path) -> None:
    for name, seed in (("a<b>|x", 1), ("b", 2)):
        honest(write_run(tmp_path / "runs", name, n_images=60, model_seed=seed))
    board = str(tmp_path / "board")
    for name in ("a<b>|x", "b"):
        CliRunner().invoke(command, ["add", name, "--to", board, "--output", str(tmp_path / "runs")], catch_exceptions=False)
    assert "2 entries" in CliRunner().invoke(command, ["check", board], catch_exceptions=False).output
    build(Path(board), resamples=100)
    text, page = ((Path(board) / name).read_text() for name in ("LEADERBOARD.md", "index.html"))
    assert "phrasecut:test under clipseg@1" in text and "a&lt;b&gt;\\|x" in text
    assert "a&lt;b&gt;|x" in page and "a<b>" not in page


def test_the_committed_leaderboard_follows_from_its_records() -> None:
    from ldznet_bench.share import shared

    assert check_all(shared("results") / "leaderboard")


def test_no_leaderboard_is_explained(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="leaderboard add"):
        entries(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="no entries"):
        build(tmp_path / "empty")


def test_eval_results_are_what_the_hub_reads(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    run = read_run(write_run(tmp_path, "a", n_images=6))
    found = hub.parse_eval_result_entries(yaml.safe_load(eval_results(run, "owner/phrasecut")))
    assert [entry.task_id for entry in found] == [f"test-{metric}-clipseg@1" for metric in run.summary["metrics"]]
    assert found[0].value == pytest.approx(100 * run.summary["metrics"]["miou"], abs=1e-4)
    assert "threshold fixed" in (found[0].notes or "") and "oracle-test" in (found[1].notes or "")


def test_eval_results_need_an_id_and_a_clean_run(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, "a", n_images=3))
    with pytest.raises(BenchError, match="owner/name"):
        eval_results(run, "phrasecut")
    with pytest.raises(RunError, match="limited"):
        eval_results(read_run(write_run(tmp_path, "b", n_images=3, limit=2)), "o/n")


def test_coco_results_give_the_masks_back(tmp_path: Path) -> None:
    from pycocotools import mask as coco

    data = PictureDataset(tmp_path)
    run = read_run(write_pictured_run(tmp_path / "runs", data, "a", 3))
    rows = json.loads(coco_results(run))
    assert [row["sample_id"] for row in rows] == list(data.samples)
    areas = [int(coco.area(row["segmentation"])) for row in rows]
    assert areas == pq.read_table(run.path / "records.parquet").column("pred_area").to_pylist()


def test_masks_on_a_square_are_not_exported(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="square"):
        coco_results(read_run(write_run(tmp_path, "a", n_images=3)))
