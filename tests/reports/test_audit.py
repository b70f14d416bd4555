from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from synthetic_runs import write_run

from ldznet_bench.cli.audit import command
from ldznet_bench.errors import BenchError, DataError
from ldznet_bench.protocols import get_protocol
from ldznet_bench.reports.audit import audit, exposures, to_text, training_images
from ldznet_bench.reports.grid import Options
from ldznet_bench.reports.runs import read_run
from ldznet_bench.reports.table import make_table
from ldznet_bench.statistics.leakage import measure_leakage
from ldznet_bench.statistics.samples import read_samples


@dataclass(frozen=True)
class Part:
    component: str
    data: str
    images: tuple[str, ...]
    source: str = "paper"


@pytest.mark.parametrize(
    ("data", "images", "dataset", "kind"),
    [
        ("PhraseCut train", ("visual-genome",), "refcoco-unc:val", "other phrases' masks"),
        ("RefCOCO train", ("coco",), "refcoco-unc:val", "the same masks"),
        ("captions", ("coco",), "refcoco+-unc:val", "pre-training pixels"),
        ("PhraseCut train", ("visual-genome",), "phrasecut:test", "the same dataset's train split"),
        ("LAION-5B", ("laion",), "phrasecut:test", "none known"),
        ("WIT, never published", (), "phrasecut:test", "unknown"),
        ("PhraseCut train", ("visual-genome",), "aigi:test", "unknown"),
    ],
)
def test_exposure_of_a_component(data: str, images: tuple[str, ...], dataset: str, kind: str) -> None:
    assert exposures([Part("decoder", data, images)], dataset)[0].kind == kind


def release(folder: Path, split: str = "train") -> Path:
    entries = [{"image_id": 900 + k, "coco_id": k if k % 2 else None, "split": split} for k in range(30)]
    (folder / "VGPhraseCut_v0").mkdir(parents=True)
    (folder / "VGPhraseCut_v0" / "image_data_split3000.json").write_text(json.dumps(entries))
    return folder


def test_training_images_are_both_kinds_of_ids(tmp_path: Path) -> None:
    ids = training_images(release(tmp_path))
    assert {"900", "929", "coco:1", "coco:29"} <= ids and "coco:2" not in ids


def test_a_release_without_train_is_no_proof_of_cleanness(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image of the split"):
        training_images(release(tmp_path, "test"))


@pytest.mark.parametrize("content", ["[1]", "{", '{"a": 1}'])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(DataError, match="image list"):
        training_images(file)


def test_parts_are_the_slices_of_the_report(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, "a", "refcoco-unc:val", "refer@1", coco_ids=True))
    leaked = frozenset(f"coco:{k}" for k in range(1, 30, 2))
    found = audit(run, (), leaked, "test", resamples=200).results[0]
    table = make_table([run], Options(metrics=("miou",), by="leaked", leaked=leaked))
    assert [value.score for value in table.rows[0].values.values()] == pytest.approx([found.leaked.score, found.clean.score])
    assert found.leaked.n_samples + found.clean.n_samples == found.all.n_samples
    assert found.gap == pytest.approx((found.leaked.score or 0) - (found.clean.score or 0))


def test_a_model_that_gains_on_leaked_images_alone_is_caught(tmp_path: Path) -> None:
    honest = read_samples(write_run(tmp_path, "a", "refcoco-unc:val", "refer@1", n_images=200))
    leaked = np.array([int(name) % 2 == 0 for name in honest.image_id])
    counts = honest.counts
    inter = np.where(leaked, np.minimum(counts.gt_area, counts.intersection + counts.gt_area // 5), counts.intersection)
    from dataclasses import replace

    cheat = replace(honest, counts=replace(counts, intersection=inter, union=counts.gt_area + counts.pred_area - inter))
    found = measure_leakage(cheat, leaked, "miou", get_protocol("refer@1"), honest, n_resamples=1000)
    assert found.excess is not None and found.excess > 0.03
    assert found.excess_p is not None and found.excess_p < 0.01


def test_a_model_against_itself_has_no_excess(tmp_path: Path) -> None:
    samples = read_samples(write_run(tmp_path, "a", "refcoco-unc:val", "refer@1"))
    found = measure_leakage(samples, np.arange(len(samples)) % 3 == 0, "oiou", get_protocol("refer@1"), samples, n_resamples=100)
    assert found.excess == pytest.approx(0)


def test_no_leaked_image_means_no_gap(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, "a"))
    found = audit(run, None, frozenset({"nothing"}), "test", resamples=100)
    assert (found.results[0].leaked.score, found.results[0].gap) == (None, None)
    assert "unknown is not clean" in to_text(found)


def test_the_verb_writes_ids_that_report_reads(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "mine", "refcoco-unc:val", "refer@1", coco_ids=True)
    arguments = ["--model", "mine", "--phrasecut", str(release(tmp_path / "data")), "--write-ids", str(tmp_path / "ids.txt")]
    done = CliRunner().invoke(command, [*arguments, "--output", str(tmp_path / "runs"), "--resamples", "100"], catch_exceptions=False)
    assert "leaked - clean" in done.output and "unknown is not clean" in done.output
    assert "coco:1" in (tmp_path / "ids.txt").read_text().splitlines()


def test_the_verb_needs_to_know_what_is_leaked(tmp_path: Path) -> None:
    write_run(tmp_path, "mine")
    with pytest.raises(BenchError, match="which images"):
        CliRunner().invoke(command, ["--model", "mine", "--output", str(tmp_path)], catch_exceptions=False)
