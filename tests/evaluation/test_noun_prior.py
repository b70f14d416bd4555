"""The noun prior: held against its rule worked out pixel by pixel and cut by cut."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from cli_paths import RELEASES
from fake import FakeDataset

from ldznet_bench.cli import main
from ldznet_bench.datasets.card import dataset_card
from ldznet_bench.datasets.sample import Sample
from ldznet_bench.errors import BenchError
from ldznet_bench.evaluation import noun_prior
from ldznet_bench.evaluation.noun_prior import FEWEST, GRID, NounPrior, Prior, best_cut, fit, kept_prior, noun_of, shares, train_name
from ldznet_bench.masks.geometry import Geometry, polygon
from ldznet_bench.minicut import words
from ldznet_bench.models.load import load_model
from ldznet_bench.models.segmenter import Pair
from ldznet_bench.protocols import get_protocol


class Train(FakeDataset):
    """Boxes on canvases of twice the grid: hats above, cars below, one boat."""

    name, split = "fake:train", "train"

    def __init__(self) -> None:
        draw = np.random.default_rng(1)
        size = 2 * GRID
        self.samples = []
        for index in range(2 * FEWEST + 2):
            noun = "hat" if index < FEWEST else "cars" if index < 2 * FEWEST else "boat"
            left, top = draw.integers(0, 40, 2) + (0 if noun == "hat" else 30)
            box = [left, top, left + 30, top, left + 30, top + 20, left, top + 20]
            self.samples.append(Sample(str(index), str(index), f"Red {noun} on grass", Geometry(size, size, ((polygon(box),),))))
        self.samples.append(Sample("none", "none", "hat", Geometry(size, size, ())))
        self.n_samples = len(self.samples)

    def sample(self, position: int) -> Sample:
        return self.samples[position]


def truth(sample: Sample) -> np.ndarray:
    return noun_prior.make_target(sample.geometry, get_protocol("native@1")).mask


def slow_shares(mask: np.ndarray) -> np.ndarray:
    return np.array([[mask[2 * r : 2 * r + 2, 2 * c : 2 * c + 2].mean() for c in range(GRID)] for r in range(GRID)])


def slow_cut(mean: np.ndarray, masks: list[np.ndarray]) -> tuple[float, float]:
    """Best mean IoU of any cut, and the cut, by trying each."""
    values = sorted({0.0, *mean.ravel().tolist()})
    found = []
    for low, high in pairwise(values):
        predicted = mean > (low + high) / 2
        ious = [mask[predicted].sum() / (predicted.sum() + mask[~predicted].sum()) for mask in masks]
        found.append((float(np.mean(ious)), (low + high) / 2))
    return max(found)


@pytest.mark.parametrize(("noun", "rows"), [("hat", range(FEWEST)), ("cars", range(FEWEST, 2 * FEWEST)), ("boat", range(2 * FEWEST + 2))])
def test_a_map_is_the_nouns_mean_mask_above_its_best_cut(noun, rows):
    train = Train()
    prior = fit(train)
    masks = [slow_shares(truth(train.samples[row])) for row in rows]  # of the boat, which is too rare, all of them
    mean = np.mean(masks, axis=0)
    row = prior.row_of(f"a {noun.upper()} behind it")
    np.testing.assert_allclose(prior.means[row], mean, atol=1e-6)
    best, cut = slow_cut(mean, masks)
    assert prior.cuts[row] == pytest.approx(cut, abs=1e-6)
    score = prior.score(row, GRID, GRID)
    np.testing.assert_allclose(score, (mean + (mean > cut)) / 2, atol=1e-6)
    predicted = score > 0.5
    assert np.mean([mask[predicted].sum() / (predicted.sum() + mask[~predicted].sum()) for mask in masks]) == pytest.approx(best)


def test_random_masks_are_cut_where_trying_every_cut_finds_it():
    for seed in range(30):
        draw = np.random.default_rng(seed)
        masks = draw.integers(0, 5, (4, 12)).astype(np.float32) / 4
        mean = masks.mean(0, dtype=np.float64)
        cut = best_cut(mean, masks)
        best, _ = slow_cut(mean, list(masks))
        predicted = mean > cut
        assert np.mean([mask[predicted].sum() / (predicted.sum() + mask[~predicted].sum()) for mask in masks]) == pytest.approx(best)


def test_masks_of_any_size_are_laid_on_the_grid_by_area():
    mask = np.zeros((75, 200), bool)
    mask[10:40, 20:150] = True
    assert shares(mask).mean() == pytest.approx(mask.mean(), abs=1e-4)
    assert shares(mask).shape == (GRID, GRID)
    np.testing.assert_array_equal(shares(np.ones((7, 5), bool)), 1)


def test_the_head_noun_of_every_kind_of_minicut_phrase():
    known = {*words.PLURALS, *words.PLURALS.values(), *words.STUFF}
    for phrase, noun in {
        "black hats above box": "hats",
        "small brown wooden box": "box",
        "cup in front of blue cup": "cup",
        "second mushroom from the left": "mushroom",
        "biggest boat": "boat",
        "wall": "wall",
        "": "",
    }.items():
        assert noun_of(phrase) == noun
        assert noun in {*known, ""}


def test_fitting_again_gives_the_same_bits_and_is_done_once(tmp_path, monkeypatch):
    first = kept_prior(Train(), tmp_path)
    assert first.means.tobytes() == fit(Train()).means.tobytes()
    monkeypatch.setattr(noun_prior, "fit", lambda _train: pytest.fail("was fitted again"))
    again = kept_prior(Train(), tmp_path)
    assert (again.nouns, again.samples) == (first.nouns, first.samples)
    assert (again.means.tobytes(), again.cuts.tobytes()) == (first.means.tobytes(), first.cuts.tobytes())
    (file,) = tmp_path.rglob("*.npz")
    file.write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(BenchError, match="is damaged"):
        kept_prior(Train(), tmp_path)


def test_a_map_lies_on_the_canvas_whatever_its_batch_and_has_a_recipe_that_names_the_split():
    prior = Prior(("hat",), np.linspace(0, 1, 2 * GRID * GRID, dtype=np.float32).reshape(2, GRID, GRID), np.array([0.1, 0.7], np.float32), 9)
    segmenter = NounPrior(prior, ("fake:train", "f" * 64))
    pairs = [Pair("s", phrase, 30, 50, 0, None, None) for phrase in ("hat", "red boat", "hat")]
    maps = segmenter.predict(pairs)
    assert {scores.shape for scores in maps} == {(30, 50)}
    np.testing.assert_array_equal(maps[0], maps[2])
    np.testing.assert_array_equal(maps[1], NounPrior(prior, ("fake:train", "f" * 64)).predict([pairs[1]])[0])
    assert segmenter.recipe == {"rule": 1, "grid": GRID, "fitted_on": "fake:train", "fingerprint": "f" * 64, "samples": 9}
    assert not segmenter.binary and segmenter.weights is None


def test_which_train_split_goes_with_a_dataset():
    assert train_name(dataset_card("minicut"), "art") == "minicut-photo:train"
    assert train_name(dataset_card("refcoco"), "google") == "refcoco-google:train"
    assert train_name(dataset_card("phrasecut"), None) == "phrasecut:train"
    assert train_name(dataset_card("aigi"), None) is None


def test_unfitted_it_says_where_it_can_be_used():
    with pytest.raises(BenchError, match="knows a dataset's nouns"):
        load_model("noun-prior").predict([Pair("s", "hat", 3, 3, 0, None, None)])


def bench(*arguments: object) -> int:
    return main._run([str(argument) for argument in arguments])


def test_it_runs_like_any_other_model(tmp_path: Path, capsys):
    command = ("run", "--models", "noun-prior", "--datasets", "phrasecut:test", "--data-root", RELEASES, "--output", tmp_path, "--json")
    assert bench(*command) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    about = json.loads((Path(run["path"]) / "run.json").read_text())
    assert about["identity"]["recipe"]["fitted_on"] == "phrasecut:train"
    assert run["metrics"]["ap"] > 0 and run["metrics"]["miou"] > 0
    assert bench("info", "noun-prior") == 0
    assert "Noun prior" in capsys.readouterr().out


def test_tune_and_benchmark_find_its_train_split_too(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    where = ("--dataset", "phrasecut:val", "--data-root", RELEASES, "--json")
    assert bench("tune", "--model", "noun-prior", *where, "--write", "prior.json") == 0
    assert json.loads(capsys.readouterr().out)["recipe"]["fitted_on"] == "phrasecut:train"
    assert bench("benchmark", "--models", "noun-prior", *where, "--limit", "2") == 0
    assert json.loads(capsys.readouterr().out)["models"][0]["samples"] == 5  # the first image is taken whole


def test_a_dataset_without_a_train_split_is_refused(tmp_path: Path, capsys):
    folder = tmp_path / "mine"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    from PIL import Image

    Image.new("RGB", (8, 8)).save(folder / "images" / "a.png")
    Image.new("L", (8, 8), 255).save(folder / "masks" / "a_mask.png")
    (folder / "phrases.csv").write_text("image,phrase,mask\na.png,hat,a_mask.png\n")
    assert bench("run", "--models", "noun-prior", "--datasets", f"folder:{folder}", "--output", tmp_path / "runs") == 2
    said = capsys.readouterr().err
    assert "noun-prior learns from a train split, and folder has none. Leave noun-prior out there" in said
    assert not (tmp_path / "runs").exists()
