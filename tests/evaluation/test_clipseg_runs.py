"""What DESIGN promises of a network's runs, on a tiny CLIPSeg: the same bytes at equal micro-batch, near-equal counts otherwise."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from fake import Bar, content
from make_clipseg import write_clipseg

from ldznet_bench.api import load_dataset, load_model, make_cell
from ldznet_bench.evaluation.agreement import differences
from ldznet_bench.evaluation.cell import Cell
from ldznet_bench.evaluation.sharding import Shard

RELEASES = Path(__file__).parent.parent / "goldens" / "releases"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_clipseg(tmp_path_factory.mktemp("clipseg"))


def cell(folder: Path, output: Path, micro_batch: int = 4, shard: Shard | None = None) -> Cell:
    model = load_model("clipseg", weights={"clipseg": folder}, micro_batch=micro_batch)
    return make_cell(model, load_dataset("phrasecut:test", data_root=RELEASES), "clipseg@1", output=output, shard=shard)


class Interrupted(Exception):
    pass


class StopAfter30(Bar):
    def update(self, samples: int) -> None:
        super().update(samples)
        if self.done >= 30:
            raise Interrupted


def test_interruption_and_shards_change_no_byte(folder, tmp_path):
    whole = cell(folder, tmp_path / "whole")
    whole.run(Bar)
    with pytest.raises(Interrupted):
        cell(folder, tmp_path / "stopped").run(StopAfter30)
    again = cell(folder, tmp_path / "stopped")
    assert again.run(Bar)
    assert content(again) == content(whole)
    parts = [cell(folder, tmp_path / "parts", shard=Shard(index, 2)) for index in range(2)]
    assert [part.run(Bar) for part in parts][-1]
    assert content(parts[0]) == content(whole)


def test_threads_beside_the_network_change_no_byte(folder, tmp_path):
    runs = []
    for overlap in (False, True):
        one = cell(folder, tmp_path / str(overlap))
        one = dataclasses.replace(one, settings=dataclasses.replace(one.settings, overlap=overlap))
        one.run(Bar)
        runs.append(content(one))
    assert runs[0] == runs[1]
    stopped = cell(folder, tmp_path / "stopped")
    with pytest.raises(Interrupted):
        dataclasses.replace(stopped, settings=dataclasses.replace(stopped.settings, overlap=True)).run(StopAfter30)
    assert stopped.run(Bar) and content(stopped) == runs[0]


def test_another_micro_batch_is_another_run_whose_counts_barely_differ(folder, tmp_path):
    one, seven = cell(folder, tmp_path, 1), cell(folder, tmp_path, 7)
    one.run(Bar)
    seven.run(Bar)
    assert one.folder.path != seven.folder.path
    found = differences(one.folder.path, seven.folder.path)
    assert len(found) <= one.folder.summary()["n_samples"] // 10
    for difference in found:
        assert abs(difference.first["pred_area"] - difference.second["pred_area"]) <= 0.001 * 352 * 352


def test_the_image_tower_runs_once_per_image_and_the_text_tower_once_per_phrase(folder, tmp_path, monkeypatch):
    run = cell(folder, tmp_path)
    images, texts = [], []
    encode_image, encode_text = run.segmenter.encode_image, run.segmenter.encode_text
    monkeypatch.setattr(run.segmenter, "encode_image", lambda found: images.extend(image.image_id for image in found) or encode_image(found))
    monkeypatch.setattr(run.segmenter, "encode_text", lambda found: texts.extend(found) or encode_text(found))
    run.run(Bar)
    groups = [group for group in run.dataset.groups() if group.image.image_id != "61564"]
    assert sorted(images) == sorted(group.image.image_id for group in groups)
    assert sorted(texts) == sorted({sample.phrase for group in groups for sample in group.samples})
