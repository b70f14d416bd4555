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
from ldznet_bench.models.load import ModelName, check_model
from ldznet_bench.models.segmenter import draws_nothing
from ldznet_bench.models.trivial import WEIGHT_FREE
from ldznet_bench.places import home_folder
from ldznet_bench.protocols import get_protocol

if TYPE_CHECKING:
    from ldznet_bench.datasets.store import PreparedDataset
    from ldznet_bench.models.segmenter import Segmenter


@dataclass(frozen=True)
class Request:
    """What a `run` command asks for; see its ``--help`` for each field."""

    models: list[str]
    datasets: list[PreparedDataset]
    protocols: list[str]
    output: Path = Path("runs")
    weights: dict[str, Path] = field(default_factory=dict)
    home: Path | None = None
    data_root: Path | None = None
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
    repeats: int = 1
    spread: bool = False
    channels_last: bool = False
    compiled: bool = False
    fast: bool = False

    def __post_init__(self) -> None:
        if not self.models:
            raise BenchError("no model is named.", "Say --models oracle,box or another; `ldznet-bench list models` shows them.")
        if self.keep_maps not in ("none", "all") and not self.keep_maps.isdecimal():
            raise BenchError(f"--keep-maps {self.keep_maps!r} is neither none, nor all, nor a number.", "Write --keep-maps 20, for example.")
        if self.fast and self.micro_batch is not None:
            raise BenchError("--fast finds a micro-batch and --micro-batch gives one.", "Leave one of them out.")
        if self.spread and self.repeats < 2:
            raise BenchError("--spread needs draws to compare.", "Say how many: --repeats 5 --spread.")
        if self.spread and self.threshold_file is not None:
            raise BenchError("--spread and --threshold-file do not go together: a threshold belongs to one model.", "Leave one of them out.")
        if self.spread and self.controls != (None,):
            raise BenchError("--spread and --control do not go together.", "Run them one after the other.")

    def check(self) -> None:
        """Check every name, and that weights are present, before anything is loaded or run.

        Raises:
            BenchError: the first thing that is wrong.
        """
        self._part()
        for protocol in self.protocols:
            get_protocol(protocol)
        for mini in {dataset.mini for dataset in self.datasets}:
            for model in self.models:
                name = check_model(model, weights=self.weights, mini_dataset=mini, home=home_folder(self.home))
                if self.repeats > 1 and _never_draws(name):
                    raise draws_nothing(str(name))

    def _part(self) -> Shard:
        return Shard.from_environment() if self.shard is None else Shard.parse(self.shard)

    def cells(self) -> Iterator[Cell]:
        """Every cell, model by model; a model is let go of before the next is loaded."""
        shard = self._part()
        for model in self.models:
            for mini in sorted({dataset.mini for dataset in self.datasets}):
                segmenter = self.load(model, mini=mini)
                drawn = self._drawn(segmenter)
                for dataset in self.datasets:
                    if dataset.mini == mini:
                        for protocol, control, (variant, seed) in product(self.protocols, self.controls, drawn):
                            options = {**self._cell_options(), "seed": seed}
                            yield make_cell(variant, dataset, protocol, shard=shard, control=control, **options)

    def load(self, model: str, *, mini: bool) -> Segmenter:
        """A model with the options of how its network is run: they are part of its recipe or its micro-batch, and so of a run's identity."""
        return self.sharpened(self.loaded(model, mini=mini))

    def loaded(self, model: str, *, mini: bool) -> Segmenter:
        """A model as it is read, before it is compiled or its fastest micro-batch is looked for."""
        return load_model(model, mini_dataset=mini, **self._model_options())

    def sharpened(self, segmenter: Segmenter) -> Segmenter:
        """The same segmenter, its network changed as is asked."""
        if segmenter.weights is not None and (self.channels_last or self.compiled or self.fast):
            from PIL import Image

            from ldznet_bench.models.speed import fast_micro_batch, sharpen

            sharpen(segmenter, channels_last=self.channels_last, compiled=self.compiled)
            if self.fast and segmenter.micro_batch is not None:
                picture = Image.effect_noise((640, 480), 64).convert("RGB")
                segmenter.micro_batch = fast_micro_batch(segmenter, picture, home_folder(self.home))
        return segmenter

    def _drawn(self, segmenter: Segmenter) -> list[tuple[Segmenter, int]]:
        """What becomes of a model, with run seeds: itself, the mean of its repeats, or with --spread all that tells how they differ."""
        if self.repeats == 1:
            return [(segmenter, self.seed)]
        from ldznet_bench.models.repeats import averaged, draws

        if not self.spread:
            return [(averaged(segmenter, self.repeats), self.seed)]
        return [(draw.segmenter, draw.seed) for draw in draws(segmenter, self.repeats, self.seed)]

    def _model_options(self) -> dict[str, Any]:
        return {
            "weights": self.weights,
            "device": self.device,
            "precision": self.precision,
            "micro_batch": self.micro_batch,
            "home": home_folder(self.home),
        }

    def _cell_options(self) -> dict[str, Any]:
        keys = ("output", "home", "data_root", "threshold_file", "limit", "seed", "keep_masks", "keep_maps", "fast")
        return {**{key: getattr(self, key) for key in keys}, "batch": self.micro_batch}


def _never_draws(name: ModelName) -> bool:
    """Whether a name alone says so; of other models it shows when they are loaded."""
    rule = WEIGHT_FREE.get(name.family)
    return not rule().streams if rule is not None else name.recipe is not None and "stochastic" not in name.recipe


def describe(cell: Cell) -> dict[str, Any]:
    """A line of the plan: what the cell is, and whether it is finished; if not, what is missing, or what differs from the finished one beside it."""
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
        "missing": cell.folder.missing() if state == "started" else [],
        "why": cell.folder.why_new() if state == "new" else [],
        "partial": list(cell.dataset.partial),
        "path": str(cell.folder.path),
    }
