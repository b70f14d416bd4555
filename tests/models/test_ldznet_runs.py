"""A tiny LD-ZNet through the evaluation loop: one process or two, whatever the micro-batch, the draws are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from diffusion_models import model, write_weights

from ldznet_bench.api import load_dataset, make_cell
from ldznet_bench.evaluation.sharding import Shard
from ldznet_bench.models.repeats import averaged


class Silent:
    def update(self, samples: int) -> None:
        pass


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"))


def run(
    weights: Path, output: Path, *, micro_batch: int = 3, seed: int = 0, parts: int = 1, recipe: str = "paper-stochastic", repeats: int = 1
) -> Path:
    data = load_dataset("example:test")
    folder = None
    for index in range(parts):
        segmenter = model(weights, recipe=recipe, micro_batch=micro_batch)
        cell = make_cell(
            averaged(segmenter, repeats) if repeats > 1 else segmenter,
            data,
            "native@1",
            output=output,
            seed=seed,
            shard=Shard(index, parts),
            keep_maps="all",
        )
        cell.run(lambda _title, _total: Silent())
        folder = cell.folder.path
    assert folder is not None
    return folder / "records.parquet"


def test_two_processes_write_the_bytes_of_one(weights: Path, tmp_path: Path) -> None:
    one, two = run(weights, tmp_path / "one"), run(weights, tmp_path / "two", parts=2)
    assert one.read_bytes() == two.read_bytes()


def test_two_processes_write_the_bytes_of_one_for_averaged_repeats(weights: Path, tmp_path: Path) -> None:
    one, two = run(weights, tmp_path / "one", repeats=2), run(weights, tmp_path / "two", repeats=2, parts=2)
    assert one.read_bytes() == two.read_bytes()
    assert one.parent.parent.name == "ldznet--full+paper-stochastic.mean2"


def test_micro_batch_changes_neither_draws_nor_more_than_a_rounding(weights: Path, tmp_path: Path) -> None:
    one, three = (pq.read_table(run(weights, tmp_path / str(size), micro_batch=size)).to_pylist() for size in (1, 3))
    assert [row["seed"] for row in one] == [row["seed"] for row in three]
    shifted = [np.abs(np.cumsum(np.array(a["hist_bg"]) - np.array(b["hist_bg"]))).sum() for a, b in zip(one, three, strict=True)]
    pixels = [row["height"] * row["width"] for row in one]
    assert sum(shifted) < 0.05 * sum(pixels), "on average a score moves by less than a twentieth of a threshold's width"


def test_another_run_seed_draws_anew_only_where_something_is_drawn(weights: Path, tmp_path: Path) -> None:
    def maps(recipe: str, seed: int) -> list[object]:
        return pq.read_table(run(weights, tmp_path / f"{recipe}-{seed}", recipe=recipe, seed=seed)).column("score_map").to_pylist()

    assert maps("paper-deterministic", 0) == maps("paper-deterministic", 1)
    assert maps("paper-stochastic", 0) != maps("paper-stochastic", 1)
