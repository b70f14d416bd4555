from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import pytest
from cli_paths import MASKS, RELEASES
from PIL import Image

TEST = ("--dataset", "phrasecut:test", "--data-root", RELEASES)


def test_run_without_datasets_takes_the_bundled_one_and_ends_in_a_table(bench):
    said = bench("run", "--models", "oracle,box")
    assert said.code == 0
    assert re.search(r"oracle +100\.00\*", said.out)
    assert "miniature" in said.out
    assert "box on minicut-photo:test" in said.err


def test_the_table_of_a_run_has_ap_where_a_model_has_scores(bench):
    said = bench("run", "--models", "box,noise", "--limit", "6")
    assert "AP@native@1" in said.out
    box, noise = (next(line for line in said.out.splitlines() if line.startswith(model)) for model in ("box", "noise"))
    assert "n/a" in box
    assert "n/a" not in noise


def test_run_as_json(bench):
    said = bench("run", "--models", "oracle", "--json")
    (run,) = json.loads(said.out)["runs"]
    assert (run["metrics"]["miou"], run["metrics"]["ap"], run["model"]) == (1.0, None, "oracle")
    assert said.err == ""


def test_a_finished_run_is_told_and_not_repeated(bench):
    bench("run", "--models", "box")
    said = bench("run", "--models", "box")
    assert "finished before, not run again" in said.err
    said = bench("run", "--models", "box", "--seed", "3")
    assert "because of seed 0 -> 3" in said.err


def test_the_plan_of_a_dry_run_writes_nothing(bench, tmp_path):
    bench("run", "--models", "box")
    said = bench("run", "--models", "box,noise", "--protocol", "native@1,clipseg@1", "--dry-run")
    assert "box on minicut-photo:test under native@1: 1653 samples, finished, will not be run again" in said.out
    assert "noise on minicut-photo:test under clipseg@1: 1653 samples, new" in said.out
    assert len(list(tmp_path.rglob("run.json"))) == 1
    plan = json.loads(bench("run", "--models", "box", "--dry-run", "--json").out)
    assert plan["cells"][0]["state"] == "complete"


def test_several_datasets_and_protocols_make_a_cell_each(bench, tmp_path):
    datasets = "phrasecut:test,refcoco:testA,refcocog:test"
    said = bench("run", "--models", "oracle,empty", "--datasets", datasets, "--data-root", RELEASES, "--protocol", "native,phrasecut")
    assert said.code == 0
    assert len(list(tmp_path.rglob("summary.json"))) == 12
    assert said.out.count("mIoU@phrasecut@1") == 3
    assert "is stamped partial" in said.err


def test_a_limit_is_stamped_and_kept_out_of_the_report(bench):
    bench("run", "--models", "oracle,box", "--limit", "5")
    said = bench("report")
    assert said.code == 2
    assert "limited" in said.err


def test_score_prints_every_metric_and_the_missing_policy(bench):
    said = bench("score", *TEST, "--predictions", MASKS / "test", "--protocol", "phrasecut@1", "--name", "mine", "--json")
    metrics = json.loads(said.out)["runs"][0]["metrics"]
    assert set(metrics) == {"miou", "oiou", "ciou", "acc50", "acc60", "acc70", "acc80", "acc90"}
    assert "acc@90" in bench("score", *TEST, "--predictions", MASKS / "test", "--protocol", "phrasecut@1", "--name", "mine").out


def test_report_in_every_style(bench, tmp_path):
    bench("run", "--models", "oracle,box", "--datasets", "example:test", "--protocol", "native,clipseg")
    assert "| oracle |" in bench("report").out
    rows = list(csv.DictReader(io.StringIO(bench("report", "--csv", "--metrics", "all").out)))
    assert {row["metric"] for row in rows if row["protocol"] == "clipseg@1"} == {"miou", "miou_best", "iou_fg", "iou_fg_best", "ap"}
    latex = bench("report", "--latex").out
    assert r"\toprule" in latex
    assert r"\textbf{100.00}" in latex
    assert isinstance(json.loads(bench("report", "--json").out), dict | list)
    bench("report", "--write", "table.md")
    assert "| oracle |" in (tmp_path / "table.md").read_text()


def test_tune_on_val_then_run_with_its_threshold(bench, tmp_path):
    places = ("--data-root", RELEASES)
    said = bench("tune", "--model", "noise", "--dataset", "phrasecut:val", *places, "--write", "t.json")
    assert said.code == 0, said.err
    value = json.loads((tmp_path / "t.json").read_text())["threshold"]
    said = bench("run", "--models", "noise", "--datasets", "phrasecut:test", *places, "--threshold-file", "t.json", "--json")
    (run,) = json.loads(said.out)["runs"]
    assert run["threshold"]["value"] == value
    assert run["threshold"]["source"] == "tuned-on-val"
    assert run["thresholds"]["miou"] == {"source": "tuned-on-val", "value": value}
    refused = bench("run", "--models", "center", "--datasets", "phrasecut:test", *places, "--threshold-file", "t.json")
    assert refused.code == 2
    assert "was tuned for noise" in refused.err


@pytest.mark.parametrize(
    ("model", "dataset", "protocol", "why"),
    [
        ("noise", "phrasecut:test", "native@1", "is a test split"),
        ("box", "phrasecut:val", "native@1", "predicts 0 and 1 only"),
        ("noise", "phrasecut:val", "refer@1", "counts at one threshold only"),
    ],
)
def test_tune_refuses_what_has_nothing_to_tune(bench, model, dataset, protocol, why):
    said = bench("tune", "--model", model, "--dataset", dataset, "--protocol", protocol, "--data-root", RELEASES, "--write", "t.json")
    assert (said.code, why in said.err) == (2, True)


def test_predict_writes_map_overlay_and_scores_for_every_phrase_and_model(bench, tmp_path):
    Image.new("L", (50, 30), 100).save(tmp_path / "photo.png")
    said = bench("predict", "photo.png", "a cat", "../évil/ name", "--models", "center,noise", "--json")
    found = json.loads(said.out)["predictions"]
    assert len(found) == 4
    for line in found:
        assert np.load(tmp_path / line["scores"]).shape == (30, 50)
        pictures = {key: Image.open(tmp_path / line[key]) for key in ("overlay", "map", "mask")}
        assert {one.size for one in pictures.values()} == {(50, 30)}
        mask = np.asarray(pictures["mask"])
        assert set(np.unique(mask)) <= {0, 255}
        assert (mask > 0).mean() == line["share"]
    assert Image.open(tmp_path / "predictions" / "photo_side-by-side.png").width > 3 * 160
    assert len(list((tmp_path / "predictions").iterdir())) == 17


def test_predict_knows_every_model_before_it_loads_the_first(bench, tmp_path):
    Image.new("L", (50, 30), 100).save(tmp_path / "photo.png")
    said = bench("predict", "photo.png", "cat", "--models", "center,noize")
    assert said.code == 2
    assert "Did you mean 'noise'" in said.err
    assert not (tmp_path / "predictions").exists()


def test_info_of_a_dataset_a_model_and_a_protocol(bench):
    assert "at_hand" in json.loads(bench("info", "phrasecut:test", "--data-root", RELEASES, "--json").out)
    assert "traps" in bench("info", "refcoco").out
    assert "recipes" in bench("info", "clipseg").out
    assert "rasteriser: skimage" in bench("info", "clipseg@1").out


def test_list_shows_models_datasets_protocols_and_what_is_at_hand(bench):
    found = json.loads(bench("list", "--data-root", RELEASES, "--json").out)
    states = {row["name"]: row["state"] for row in found["datasets"]}
    assert (states["phrasecut:test"], states["example:test"], states["aigi:test"]) == ("on disk", "bundled", "not found")
    assert {row["name"] for row in found["protocols"]} >= {"clipseg@1", "native@1"}
    assert next(row for row in found["models"] if row["name"] == "oracle")["state"] == "ready"
