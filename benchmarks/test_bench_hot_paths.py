"""Every hot path once, small enough to run often: ``python benchmarks/compare.py`` prints them beside their baselines.

What is compared with the field's idioms is in the suites beside this one; here each path is held to what it must give, and timed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "reports"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "models"))

from ldznet_bench.datasets.load import load_dataset
from ldznet_bench.datasets.sample import ImageFile, Sample
from ldznet_bench.evaluation.counting import count, make_records
from ldznet_bench.evaluation.journal import Journal, read_batch, record_frames
from ldznet_bench.evaluation.targets import make_target
from ldznet_bench.masks.geometry import Geometry, polygon
from ldznet_bench.masks.rasterise import rasterise
from ldznet_bench.metrics.counts import histograms
from ldznet_bench.models.load import load_model
from ldznet_bench.models.segmenter import ImageInput, Pair
from ldznet_bench.protocols import CLIPSEG_GRID, get_protocol

PHRASES = ("a black dog", "wooden table", "man in a red shirt", "blue sky", "tall tree")


def soft(height, width):
    """A smooth score map and a truth."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    field = np.sin(9 * x + 2 * y) * np.cos(7 * y - x)
    return (1 / (1 + np.exp(-4 * field))).astype(np.float32), field > 0.4


def rings(count=3):
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    return [np.stack((250 + (60 + 30 * k) * np.cos(angle) + 20 * k, 180 + (50 + 25 * k) * np.sin(angle)), axis=1) for k in range(count)]


def sample():
    geometry = Geometry(375, 500, tuple((polygon(ring),) for ring in rings()))
    return Sample("1", "1", "thing", geometry), ImageFile("1", Path("absent.jpg"), 375, 500)


def test_threshold_counts(benchmark):
    scores, truth = soft(352, 352)
    thresholds = CLIPSEG_GRID.thresholds()
    fg, bg = benchmark(histograms, scores, truth, thresholds)
    for k in (0, 24, 48):
        above = scores > thresholds[k]
        assert (fg[k + 1 :].sum(), bg[k + 1 :].sum()) == ((above & truth).sum(), (above & ~truth).sum())


@pytest.mark.parametrize("rule", ["skimage", "pil", "coco"])
def test_rasterise(benchmark, rule):
    parts = [polygon(ring) for ring in rings()]
    mask = benchmark(rasterise, parts, 375, 500, rule)
    assert (mask == np.logical_or.reduce([rasterise([part], 375, 500, rule) for part in parts])).all()


@pytest.mark.parametrize("protocol", ["clipseg@1", "native@1"])
def test_resize_and_score_a_sample(benchmark, protocol):
    rules = get_protocol(protocol)
    one, image = sample()
    scores, _ = soft(352, 352)
    record = benchmark(lambda: make_records([count(one, image, make_target(one.geometry, rules), scores, rules, rules.threshold, seed=0)])[0])
    assert sum(record["hist_fg"]) == record["gt_area"] > 0
    assert record["union"] == record["gt_area"] + record["pred_area"] - record["intersection"]


def test_journal(benchmark, tmp_path):
    rules = get_protocol("clipseg@1")
    one, image = sample()
    scores, _ = soft(352, 352)
    records = make_records([count(one, image, make_target(one.geometry, rules), scores, rules, 0.3, seed=0)]) * 16
    path = tmp_path / "a.bin"
    with Journal(path) as journal:
        benchmark(journal.append, records)
    assert read_batch(next(record_frames([path]))).num_rows == 16


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    from make_phrasecut import make_phrasecut

    folder = tmp_path_factory.mktemp("data")
    release = make_phrasecut(folder, images=200, phrases=1000, size=(200, 150))
    return {"data_root": release, "home": folder / "home"}


def test_open_a_prepared_set(benchmark, prepared):
    load_dataset("phrasecut:test", **prepared)
    assert len(benchmark(load_dataset, "phrasecut:test", **prepared)) == 1000


def test_iterate_a_prepared_set(benchmark, prepared):
    data = load_dataset("phrasecut:test", **prepared)
    assert benchmark(lambda: sum(len(group.samples) for group in data.groups())) == 1000


def picture(height=375, width=500):
    from PIL import Image

    coarse = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(segmenter, image):
    """An image with its phrases, as the loop hands them to `predict`; each map is held to the same pair alone."""
    (features,) = segmenter.encode_image([ImageInput("1", image.height, image.width, 0, lambda: image)])
    texts = segmenter.encode_text([segmenter.prompt(phrase, 0) for phrase in PHRASES])
    return [Pair(phrase, phrase, image.height, image.width, 0, features, text) for phrase, text in zip(PHRASES, texts, strict=True)]


def held(segmenter, pairs, maps):
    for pair, scores in zip(pairs, maps, strict=True):
        (alone,) = segmenter.predict([pair])
        assert np.allclose(np.asarray(scores), np.asarray(alone), atol=1e-4)


def test_clipseg_decodes_an_images_phrases_together(benchmark, tmp_path):
    from make_clipseg import write_clipseg

    segmenter = load_model("clipseg/full+hf", weights={"clipseg": write_clipseg(tmp_path / "clipseg")}, micro_batch=len(PHRASES))
    pairs = encoded(segmenter, picture())
    held(segmenter, pairs, benchmark(segmenter.predict, pairs))


def test_ldznet_decodes(benchmark, tmp_path):
    from diffusion_models import model, write_weights

    segmenter = model(write_weights(tmp_path), micro_batch=1)
    pairs = encoded(segmenter, picture())
    held(segmenter, pairs, benchmark(lambda: [segmenter.predict([pair])[0] for pair in pairs]))


def test_report_over_records(benchmark, tmp_path):
    from synthetic_runs import write_run

    from ldznet_bench.reports.grid import Options
    from ldznet_bench.reports.render import render
    from ldznet_bench.reports.runs import find_runs

    for k in range(3):
        write_run(tmp_path, f"model{k}", n_images=300, per_image=4, skill=0.4 * k, model_seed=k)
    text = benchmark.pedantic(lambda: render(find_runs(tmp_path)[0], options=Options(intervals=True)), rounds=3)
    assert all(f"model{k}" in text for k in range(3))
