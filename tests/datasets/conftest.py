"""Releases for the tests of datasets."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # make_releases, make_example

GOLDENS = Path(__file__).resolve().parent.parent / "goldens" / "datasets"


@pytest.fixture(scope="session")
def goldens() -> Path:
    return GOLDENS


@pytest.fixture(scope="session")
def golden():
    """A golden JSON file by name."""
    return lambda name: json.loads((GOLDENS / f"{name}.json").read_text())


@pytest.fixture
def load(tmp_path):
    """`load_dataset` with a home of the test's own."""
    from ldznet_bench.datasets.load import load_dataset

    return lambda name, root=None, **options: load_dataset(name, data_root=root, home=options.pop("home", tmp_path / "home"), **options)
