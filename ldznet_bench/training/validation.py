"""A segmenter in training, scored on val through the same evaluation loop as everything else."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldznet_bench.datasets.load import load_dataset
from ldznet_bench.evaluation.cell import Cell, Settings
from ldznet_bench.protocols import get_protocol
from ldznet_bench.training.objective import Setting

if TYPE_CHECKING:
    from ldznet_bench.datasets.store import PreparedDataset

RULES = "native@1"


def labelled_split(name: str, setting: Setting) -> PreparedDataset:
    """A labelled split, prepared where it was not.

    Raises:
        BenchError: no such dataset or split, or no release of it.
    """
    return load_dataset(name, data_root=setting.data_root, home=setting.home)


def scores_on_val(objective: Any) -> dict[str, float]:  # noqa: ANN401 - an objective with a segmenter
    """Scores, mIoU first and then AP, of the network as it is now, on the recipe's validation split under `native@1`; none without a split.

    The run is thrown away: what is kept of a training is its log.
    """
    recipe, setting = objective.recipe, objective.setting
    if recipe.validate_on is None:
        return {}
    dataset = labelled_split(recipe.validate_on, setting)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(output=Path(folder), limit=recipe.validate_limit, keep_masks=False, cache=setting.home / "masks")
        cell = Cell(dataset, objective.segmenter(), get_protocol(RULES), settings)
        cell.run(lambda _title, _total: _Silent())
        metrics = cell.folder.summary()["metrics"]
    return {name: float(metrics[name]) for name in ("miou", "ap") if metrics.get(name) is not None}


class _Silent:
    def update(self, samples: int) -> None:
        pass
