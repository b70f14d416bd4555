"""Absent nouns: a function of seed and ids, shared with no phrase on the image, each once per image."""

from __future__ import annotations

import json

import make_releases
import pytest

from ldznet_bench.datasets.phrasecut_negatives import _words
from ldznet_bench.errors import DataError

NOUNS = ("box", "discs", "wall", "car", "tree", "person", "mattress", "cup", "glasses", "sky", "dog", "bench", "shoe", "lamp")


@pytest.fixture
def folder(tmp_path):
    release = make_releases.phrasecut(tmp_path / "data", images=8, phrases=30)
    path = release / "refer_test.json"
    tasks = json.loads(path.read_text())
    for number, task in enumerate(tasks):
        task["phrase_structure"]["name"] = NOUNS[(number * 5) % len(NOUNS)]
        task["phrase"] = f"red {task['phrase_structure']['name']}"
    path.write_text(json.dumps(tasks))
    return release


def test_every_task_brings_one_noun_that_nothing_on_its_image_names(load, folder):
    data = load("phrasecut-negatives:test", folder)
    tasks = {task["task_id"]: task for task in json.loads((folder / "refer_test.json").read_text())}
    assert data.name == "phrasecut-negatives-seed0:test"
    assert data.n_samples == len(tasks)
    for group in data.groups():
        said = set().union(*(_words(task["phrase"]) for task in tasks.values() if str(task["image_id"]) == group.image.image_id))
        nouns = [sample.phrase for sample in group.samples]
        assert len(set(nouns)) == len(nouns)
        for sample in group.samples:
            assert not _words(sample.phrase) & said
            assert sample.phrase in NOUNS
            assert sample.no_target
            assert sample.tags == ("no-target",)
            assert sample.sample_id.removesuffix("__absent") in tasks


def test_a_seed_is_a_partition_with_a_fingerprint_of_its_own(load, folder, tmp_path):
    first = load("phrasecut-negatives-seed0:test", folder)
    again = load("phrasecut-negatives-seed0:test", folder, home=tmp_path / "other")
    other = load("phrasecut-negatives-seed1:test", folder)
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != other.fingerprint
    assert first.column("phrase") != other.column("phrase")


def test_plurals_are_the_same_word():
    assert _words("Glasses") == _words("glass")
    assert _words("trees,") == _words("tree")
    assert _words("shoes") == _words("shoe")


def test_a_split_that_names_one_thing_has_no_negatives(load, folder):
    path = folder / "refer_test.json"
    tasks = json.loads(path.read_text())
    for task in tasks:
        task["phrase_structure"]["name"], task["phrase"] = "car", "car"
    path.write_text(json.dumps(tasks))
    with pytest.raises(DataError, match=r"names nothing that is absent from image \d+, so task '\d+__.*' has no negative"):
        load("phrasecut-negatives:test", folder)
