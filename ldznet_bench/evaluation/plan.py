"""The cells of a command: datasets are opened and names checked before anything runs, models are loaded one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldznet_bench.api import load_model, make_cell
from ldznet_bench.errors import BenchError
from ldznet_bench.evaluation.cell import Cell
from ldznet_bench.evaluation.sharding import Shard
from ldznet_bench.models.load import check_model
from ldznet_bench.places import home_folder
from ldznet_bench.protocols import get_protocol

if TYPE_CHECKING:
    from ldznet_bench.datasets.store import PreparedDataset


@dataclass(frozen=True)
class Request:
    """What a `run` command asks for; see its ``--help`` for each field."""

    models: list[str]
    datasets: list[PreparedDataset]
    protocols: list[str]
    output: Path = Path("runs")
    weights: dict[str, Path] = field(default_factory=dict)
    home: Path | None = None
    limit: int | None = None
    seed: int = 0
    threshold_file: Path | None = None
    keep_masks: bool = True
    keep_maps: str = "none"
    shard: str | None = None
    device: str = "cpu"
    precision: str = "fp32"
    micro_batch: int | None = None
    controls: tuple[str | None, ...] = (None,)

    def __post_init__(self) -> None:
        if not self.models:
            raise BenchError("no model is named.", "Say --models oracle,box or another; `ldznet-bench list models` shows them.")
        if self.keep_maps not in ("none", "all") and not self.keep_maps.isdecimal():
            raise BenchError(f"--keep-maps {self.keep_maps!r} is neither none, nor all, nor a number.", "Write --keep-maps 20, for example.")

    def check(self) -> None:
        """Check every name, and that weights are present, before anything is loaded or run.

        Raises:
            BenchError: the first thing that is wrong.
        """
        for protocol in self.protocols:
            get_protocol(protocol)
        for mini in {dataset.mini for dataset in self.datasets}:
            for model in self.models:
                check_model(model, weights=self.weights, mini_dataset=mini, home=home_folder(self.home))

    def cells(self) -> Iterator[Cell]:
        """Every cell, model by model; a model is let go of before the next is loaded."""
        shard = None if self.shard is None else Shard.parse(self.shard)
        for model in self.models:
            for mini in sorted({dataset.mini for dataset in self.datasets}):
                segmenter = load_model(model, mini_dataset=mini, **self._model_options())
                for dataset in self.datasets:
                    if dataset.mini == mini:
                        for protocol, control in product(self.protocols, self.controls):
                            yield make_cell(segmenter, dataset, protocol, shard=shard, control=control, **self._cell_options())

    def _model_options(self) -> dict[str, Any]:
        return {
            "weights": self.weights,
            "device": self.device,
            "precision": self.precision,
            "micro_batch": self.micro_batch,
            "home": home_folder(self.home),
        }

    def _cell_options(self) -> dict[str, Any]:
        keys = ("output", "home", "threshold_file", "limit", "seed", "keep_masks", "keep_maps")
        return {**{key: getattr(self, key) for key in keys}, "batch": self.micro_batch}


def describe(cell: Cell) -> dict[str, Any]:
    """A line of the plan: what the cell is, whether it is finished, and if not, what differs from the finished one beside it."""
    state = cell.state()
    total = len(cell.selection.sample_ids)
    done = total if state == "complete" else len(cell.folder.done()) if state == "started" else 0
    return {
        "dataset": cell.dataset.name,
        "protocol": cell.protocol.full_name,
        "model": cell.model,
        "samples": total,
        "done": done,
        "state": state,
        "why": cell.folder.why_new() if state == "new" else [],
        "partial": list(cell.dataset.partial),
        "path": str(cell.folder.path),
    }
