"""Phrase controls: what they do to a phrase, that shuffles are permutations, and that runs under them are cells of their own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fake import Bar, FakeDataset, content, make_cell
from hypothesis import given, settings
from hypothesis import strategies as st

from ldznet_bench.datasets.sample import ImageFile, ImageGroup, Sample
from ldznet_bench.errors import BenchError, DataError
from ldznet_bench.evaluation.controls import CONTROLS, control_phrases, parse_controls
from ldznet_bench.masks.geometry import Geometry
from ldznet_bench.models.load import load_model
from ldznet_bench.models.trivial import Box
from ldznet_bench.reports.controls import listeners, to_csv, to_latex, to_markdown, to_text
from ldznet_bench.reports.runs import choose, find_runs


def groups(*images: list[tuple[str, str | None]]) -> list[ImageGroup]:
    """Images of (phrase, ref) pairs."""
    made = []
    for index, phrases in enumerate(images):
        image = ImageFile(f"im{index}", Path("x.jpg"), 10, 10)
        samples = [Sample(f"{index}_{k}", image.image_id, phrase, Geometry(10, 10, ()), ref_id=ref) for k, (phrase, ref) in enumerate(phrases)]
        made.append(ImageGroup(image, tuple(samples), index))
    return made


def one(control: str, phrase: str, category: str | None = None, seed: int = 0) -> str:
    (group,) = groups([(phrase, None)])
    sample = dataclasses.replace(group.samples[0], category=category)
    return control_phrases(control, [dataclasses.replace(group, samples=(sample,))], dataset="d", seed=seed).phrases[sample.sample_id]


@pytest.mark.parametrize(
    ("control", "phrase", "category", "expected"),
    [
        ("blank", "red car", None, ""),
        ("upper", "red car on street", None, "RED CAR ON STREET"),
        ("template1", "red car", None, "a photo of a red car."),
        ("template9", "red car", None, "a photo of the red car."),
        ("noun", "black wii remote in hand", "wii remote", "wii remote"),
        ("noun", "man on left", "person", "man"),
        ("noun", "guy far right", None, "guy"),
        ("noun", "The red car, next to the tree", None, "car"),
        ("noun", "woman wearing a hat", None, "woman"),
        ("noun", "left", None, "left"),
        ("noun", "in front of the tree", None, "tree"),
        ("word-order", "car", None, "car"),
        ("word-order", "red car", None, "car red"),
        ("misspelt", "a cat", None, "a cta"),
        ("misspelt", "12 xx", None, "12 xx"),
        ("misspelt", "tooot", None, "tooto"),
    ],
)
def test_what_a_control_does_to_a_phrase(control, phrase, category, expected):
    assert one(control, phrase, category) == expected


def test_every_template_is_one_of_the_authors_nine():
    assert len({one(f"template{number}", "x") for number in range(1, 10)}) == 9


@settings(deadline=None)
@given(st.lists(st.sampled_from(["red", "car", "the", "left", "tree"]), min_size=1, max_size=7), st.integers(0, 5))
def test_word_order_keeps_the_words_and_changes_their_order_where_it_can(words, seed):
    drawn = one("word-order", " ".join(words), seed=seed).split()
    assert Counter(drawn) == Counter(words)
    assert (drawn != words) == (len(set(words)) > 1)


@settings(deadline=None)
@given(st.text(min_size=1, max_size=40), st.integers(0, 5))
def test_misspelling_keeps_the_letters(phrase, seed):
    drawn = one("misspelt", phrase, seed=seed)
    assert sorted(drawn) == sorted(phrase)
    assert len(drawn) == len(phrase)


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=9), st.integers(0, 3))
def test_shuffled_is_a_permutation_that_leaves_no_phrase_on_its_image(counts, seed):
    images = groups(*[[(f"{index}/{k}", None) for k in range(count)] for index, count in enumerate(counts)])
    if 2 * max(counts) > sum(counts):
        with pytest.raises(DataError, match=r"image 'im\d' holds \d of the \d+ samples, more than half"):
            control_phrases("shuffled", images, dataset="d", seed=seed)
        return
    found = control_phrases("shuffled", images, dataset="d", seed=seed)
    assert sorted(found.phrases.values()) == sorted(sample.phrase for group in images for sample in group.samples)
    assert all(phrase.split("/")[0] != ident.split("_")[0] for ident, phrase in found.phrases.items())
    assert found.changed == sum(counts)


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=6), min_size=1, max_size=4), st.integers(0, 3))
def test_shuffled_within_stays_on_the_image_and_leaves_the_object_where_it_can(refs, seed):
    images = groups(*[[(f"{index}/{ref}/{k}", ref) for k, ref in enumerate(each)] for index, each in enumerate(refs)])
    found = control_phrases("shuffled-within", images, dataset="d", seed=seed)
    for index, (group, each) in enumerate(zip(images, refs, strict=True)):
        told = [found.phrases[sample.sample_id] for sample in group.samples]
        assert sorted(told) == sorted(sample.phrase for sample in group.samples)
        if 2 * max(Counter(each).values()) <= len(each):
            assert all(phrase.split("/")[1] != ref for phrase, ref in zip(told, each, strict=True)), index


def test_draws_hang_on_names_alone():
    images = groups(*[[(f"word {index} {k} word", None) for k in range(3)] for index in range(6)])
    for control in CONTROLS:
        first = control_phrases(control, images, dataset="d", seed=0).phrases
        assert control_phrases(control, images[::-1], dataset="d", seed=0).phrases == first
    assert control_phrases("shuffled", images, dataset="d", seed=1).phrases != control_phrases("shuffled", images, dataset="d", seed=0).phrases


def test_names():
    assert parse_controls([]) == [None]
    assert parse_controls(["none", "blank", "none"]) == [None, "blank"]
    assert parse_controls(["templates"]) == [f"template{number}" for number in range(1, 10)]
    assert parse_controls(["all"]) == [None, *CONTROLS]
    with pytest.raises(BenchError, match="Did you mean 'shuffled'"):
        parse_controls(["shufled"])


class Reader(Box):
    """Finds the truth if it is told the phrase that it knows from the image; else it draws a box."""

    name = "reader"

    def __init__(self, data: FakeDataset) -> None:
        super().__init__()
        self.known = {sample.sample_id: sample for group in data._groups for sample in group.samples}
        self.recipe = {}

    def decode(self, pairs):
        from ldznet_bench.evaluation.targets import make_target
        from ldznet_bench.protocols import get_protocol

        boxes = super().decode(pairs)
        found = []
        for pair, box in zip(pairs, boxes, strict=True):
            sample = self.known[pair.sample_id]
            truth = make_target(sample.geometry, get_protocol("native")).mask.astype(np.float32)
            found.append(truth if pair.phrase == sample.phrase else box * 0)
        return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("controls")
    data = FakeDataset(images=10)
    for control in (None, "blank", "shuffled", "upper"):
        for model in (Reader(data), load_model("center")):
            make_cell(folder, model, "native@1", data, control=control).run(Bar)
    return folder / "runs"


def test_a_controlled_run_is_a_cell_of_its_own_with_the_same_draws_and_bytes(tmp_path):
    plain = make_cell(tmp_path, load_model("noise"))
    told = make_cell(tmp_path, load_model("noise"), control="shuffled")
    again = make_cell(tmp_path / "again", load_model("noise"), control="shuffled", limit=None)
    assert plain.identity.digest != told.identity.digest
    assert "control" not in plain.identity.to_json()["recipe"]
    assert told.identity.to_json()["recipe"]["control"] == "shuffled"
    for cell in (plain, told, again):
        cell.run(Bar)
    assert told.folder.path.parent.name == "noise~shuffled"
    assert content(told) == content(again)
    mine, other = (
        [row for batch in cell.folder.records(["sample_id", "seed", "intersection"]) for row in batch.to_pylist()] for cell in (plain, told)
    )
    assert mine == other  # noise does not listen, and draws as before
    phrases = [phrase for batch in told.folder.records(["phrase"]) for phrase in batch.column("phrase").to_pylist()]
    assert sorted(phrases) == sorted(sample.phrase for group in plain.dataset.groups() for sample in group.samples)


def test_a_limited_controlled_run_tells_the_phrases_of_the_whole_one(tmp_path):
    whole, part = (make_cell(tmp_path, load_model("center"), control="shuffled", limit=limit) for limit in (None, 12))
    for cell in (whole, part):
        cell.run(Bar)
    told = {row["sample_id"]: row["phrase"] for batch in whole.folder.records(["sample_id", "phrase"]) for row in batch.to_pylist()}
    assert all(told[row["sample_id"]] == row["phrase"] for batch in part.folder.records(["sample_id", "phrase"]) for row in batch.to_pylist())


def test_what_a_model_loses_is_how_much_it_listens(runs):
    found = {item.model: {heard.control: heard for heard in item.heard} for item in listeners(find_runs(runs)[0], order=CONTROLS)}
    assert list(found["reader"]) == ["none", "blank", "shuffled", "upper"]
    assert found["reader"]["none"].score > 0.99
    assert found["reader"]["blank"].lost == pytest.approx(1)
    assert found["reader"]["blank"].high < 0
    assert found["center"]["shuffled"].lost == 0
    assert (found["center"]["shuffled"].low, found["center"]["shuffled"].high) == (0, 0)
    assert found["center"]["blank"].changed == 30


def test_tables_of_it(runs):
    found = listeners(find_runs(runs)[0], order=CONTROLS)
    text = to_text(found)
    assert "reader on fake:test, mIoU@native@1, 30 samples" in text
    assert "blank" in text
    assert "lost  100.0 %  changed     30" in text
    assert to_markdown(found).splitlines()[0] == "| model | none | blank | shuffled | upper |"
    assert to_csv(found).startswith("model,dataset,protocol,metric,control,score,lost,low,high,changed,n_samples\n")
    assert r"reader, fake:test, mIoU@native@1" in to_latex(found)
    assert to_latex(found).count(r"\\") == 3


def test_the_figure_has_the_same_bytes_twice(runs, tmp_path):
    pytest.importorskip("matplotlib")
    from ldznet_bench.reports.figures import draw_controls

    found = listeners(find_runs(runs)[0], order=CONTROLS)
    digests = [[hashlib.sha256(file.read_bytes()).hexdigest() for file in draw_controls(found, tmp_path / name / "controls")] for name in ("a", "b")]
    assert digests[0] == digests[1]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["controls.pdf", "controls.png"]


def test_controlled_runs_are_no_rows_of_other_tables(runs):
    found, _ = find_runs(runs)
    assert {run.model for run in choose(found)} == {"reader", "center"}
    assert [run.model for run in choose(found, models=["center~blank"])] == ["center~blank"]


def test_a_controlled_run_without_its_plain_one_is_refused(tmp_path):
    make_cell(tmp_path, load_model("center"), control="blank").run(Bar)
    with pytest.raises(BenchError, match=r"has no plain run .* Repeat its command with --control none"):
        listeners(find_runs(tmp_path / "runs")[0])
    with pytest.raises(BenchError, match="no run under a phrase control"):
        listeners([])


def test_through_the_command_line(tmp_path, monkeypatch, capsys):
    from ldznet_bench.cli import main

    monkeypatch.chdir(tmp_path)
    assert main._run(["run", "--models", "center", "--control", "none,blank,shuffled-within", "--json"]) == 0
    models = [run["model"] for run in json.loads(capsys.readouterr().out)["runs"]]
    assert models == ["center", "center~blank", "center~shuffled-within"]
    assert main._run(["controls", "--json"]) != 0
    capsys.readouterr()
    assert main._run(["controls", "--format", "json", "--models", "center"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert [heard["control"] for heard in found["heard"]] == ["none", "blank", "shuffled-within"]
    assert main._run(["run", "--models", "center", "--control", "blanc"]) == 2
    assert "Did you mean 'blank'" in capsys.readouterr().err
