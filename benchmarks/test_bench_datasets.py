"""Datasets at the size of PhraseCut's test split: 14,354 phrases on 2,545 images. `pytest benchmarks/test_bench_datasets.py`.

Imports are excluded: they have happened before the clock starts.
"""

from __future__ import annotations

import pickle
import shutil
import sys
from pathlib import Path

import baselines_datasets
import datasets.arrow_writer  # noqa: F401 - its import is not what is measured
import pytest

from ldznet_bench.datasets.load import list_datasets, load_dataset
from ldznet_bench.datasets.safe_pickle import load_plain_pickle

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import make_releases

IMAGES, PHRASES = 2545, 14354


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    """30 MB of tasks, as PhraseCut's: 1 to 5 instances of polygons of 10 to 60 vertices."""
    return make_releases.phrasecut(tmp_path_factory.mktemp("data"), images=IMAGES, phrases=PHRASES, size=(500, 375), vertices=(10, 60))


@pytest.fixture(scope="module")
def home(release, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    load_dataset("phrasecut:test", data_root=release, home=folder)
    return folder


@pytest.mark.benchmark(group="prepare 14,354 samples")
def test_prepare(benchmark, release, tmp_path):
    def again():
        shutil.rmtree(tmp_path / "home", ignore_errors=True)
        return load_dataset("phrasecut:test", data_root=release, home=tmp_path / "home")

    assert len(benchmark.pedantic(again, rounds=2)) == PHRASES
    assert PHRASES / benchmark.stats["min"] > 1000  # samples a second; 4,000 on an idle core


@pytest.mark.benchmark(group="open 14,354 samples")
def test_open(benchmark, release, home):
    opened = benchmark(load_dataset, "phrasecut:test", data_root=release, home=home)
    assert len(opened) == PHRASES
    assert benchmark.stats["median"] < 1  # what issue 2 asks for


@pytest.mark.benchmark(group="open 14,354 samples")
def test_open_as_the_field_does(benchmark, release):
    assert sum(map(len, benchmark.pedantic(baselines_datasets.parse_and_index, (release,), rounds=3).values())) == PHRASES


@pytest.mark.benchmark(group="every sample once")
def test_iterate(benchmark, release, home):
    opened = load_dataset("phrasecut:test", data_root=release, home=home)
    count = benchmark.pedantic(lambda: sum(len(group.samples) for group in opened.groups()), rounds=3)
    assert count == PHRASES


@pytest.mark.benchmark(group="every sample once")
def test_iterate_as_hugging_face_does(benchmark, release, home):
    opened = load_dataset("phrasecut:test", data_root=release, home=home)
    assert benchmark.pedantic(baselines_datasets.hugging_face_rows, (opened.path / "samples",), rounds=1) > 0


@pytest.mark.benchmark(group="one image at random")
def test_one_group(benchmark, release, home):
    opened = load_dataset("phrasecut:test", data_root=release, home=home)
    assert benchmark(opened.group, IMAGES // 2).samples


@pytest.fixture(scope="module")
def refs(tmp_path_factory) -> Path:
    folder = make_releases.refer(tmp_path_factory.mktemp("refer"), images=500, refs=10_000)
    return folder / "refs(unc).p"


@pytest.mark.benchmark(group="10,000 refs of a pickle")
def test_safe_pickle(benchmark, refs):
    assert len(benchmark.pedantic(load_plain_pickle, (refs,), rounds=3)) == 10_000


@pytest.mark.benchmark(group="10,000 refs of a pickle")
def test_unsafe_pickle(benchmark, refs):
    assert len(benchmark.pedantic(baselines_datasets.standard_unpickler, (refs,), rounds=3)) == 10_000
    assert pickle.loads(refs.read_bytes()) == load_plain_pickle(refs)


@pytest.mark.benchmark(group="list")
def test_list_every_card(benchmark):
    assert len(benchmark(list_datasets)) > 20
    assert benchmark.stats["median"] < 0.4
