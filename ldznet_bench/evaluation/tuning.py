"""A threshold chosen on a val split, written to a file that `run` and `score` take and record."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ldznet_bench.atomic import write_json
from ldznet_bench.datasets.names import parse_name
from ldznet_bench.errors import BenchError
from ldznet_bench.evaluation.cell import Cell
from ldznet_bench.evaluation.identity import Threshold
from ldznet_bench.evaluation.predictions import Predictions
from ldznet_bench.evaluation.runs import read_json
from ldznet_bench.metrics.counts import counts_from_histograms
from ldznet_bench.models.segmenter import Segmenter
from ldznet_bench.protocols import Protocol

_HOW = ("channels_last", "compiled")
_TRAIN_OR_VAL = ("val", "validation", "train", "miniv")


def best_threshold(batches: Iterable[pa.RecordBatch], protocol: Protocol) -> tuple[float, float]:
    """The threshold of the protocol's grid with the highest mean IoU over samples, and that mean IoU; the smallest of equals.

    Args:
        batches: record batches with ``hist_fg`` and ``hist_bg``.
        protocol: with a grid.
    """
    thresholds = protocol.thresholds
    if thresholds is None:
        raise ValueError(f"{protocol.full_name} has no grid")
    total: npt.NDArray[np.float64] = np.zeros(len(thresholds))
    samples = 0
    for batch in batches:
        shape = (batch.num_rows, len(thresholds) + 1)
        fg, bg = (batch.column(name).flatten().to_numpy().reshape(shape) for name in ("hist_fg", "hist_bg"))
        tp, fp, fn, _ = counts_from_histograms(fg, bg)
        union = tp + fp + fn + protocol.smoothing
        total += np.where(union > 0, tp / np.maximum(union, 1), float(protocol.empty_iou)).sum(0)
        samples += batch.num_rows
    best = int(np.argmax(total))
    return float(thresholds[best]), float(total[best] / samples)


def check_tunable(cell: Cell) -> None:
    """Refuse, before anything is run, what has no threshold to tune.

    Raises:
        BenchError: the cell's split is a test split, its model has binary maps, or its protocol counts at one threshold.
    """
    split = cell.dataset.split or ""
    if not split.startswith(_TRAIN_OR_VAL):
        raise BenchError(f"{cell.dataset.name} is a test split: a threshold tuned on it would be an oracle's.", "Tune on the val split.")
    if cell.segmenter.binary:
        raise BenchError(f"{cell.segmenter.name} predicts 0 and 1 only, so every threshold gives the same mask.", "There is nothing to tune.")
    if cell.protocol.grid is None:
        raise BenchError(
            f"{cell.protocol.full_name} counts at one threshold only, so none can be tuned under it.", "Tune under native@1 or clipseg@1."
        )


def tune(cell: Cell, path: Path) -> dict[str, Any]:
    """Choose a threshold from a finished cell on a val split and write it down."""
    value, score = best_threshold(cell.folder.records(("hist_fg", "hist_bg")), cell.protocol)
    content = {
        "threshold": value,
        "metric": "miou",
        "score": score,
        "dataset": cell.dataset.name,
        "fingerprint": cell.dataset.fingerprint,
        "protocol": cell.protocol.full_name,
        "protocol_digest": cell.protocol.digest(),
        "model": cell.segmenter.name,
        "weights": cell.segmenter.weights,
        "recipe": cell.segmenter.recipe,
    }
    write_json(path, content)
    return content


def read_threshold(path: Path, *, dataset: str, protocol: Protocol, segmenter: Segmenter) -> Threshold:
    """A tuned threshold, where it fits.

    Args:
        path: a file that `tune` wrote.
        dataset: expanded name of the split that is to be scored; another split of the same family and partition. The miniature's partitions are
            domains, of which one alone has labels to train and tune on: a threshold of it holds for all.
        protocol: must be the one it was tuned under.
        segmenter: must be the one it was tuned for, weights and recipe included; for scored predictions the name alone.

    Raises:
        BenchError: the file is missing or damaged, or was tuned for something else.
    """
    content = read_json(path)
    if content is None:
        raise BenchError(f"{path} does not exist.", "Make it with: ldznet-bench tune --model … --dataset …:val --write FILE")
    wanted: dict[str, Any] = {"model": segmenter.name, "protocol_digest": protocol.digest()}
    if not isinstance(segmenter, Predictions):
        wanted |= {"weights": segmenter.weights, "recipe": _plain(segmenter.recipe)}
    found = {**content, "recipe": _plain(content.get("recipe"))}
    other = [key for key, value in wanted.items() if found.get(key) != value]
    if not _tunes(str(content.get("dataset")), dataset):
        other.append("dataset")
    if other or not isinstance(content.get("threshold"), float):
        raise BenchError(
            f"{path} was tuned for {content.get('model')} on {content.get('dataset')} under {content.get('protocol')}, "
            f"not for {segmenter.name} on {dataset} under {protocol.full_name}.",
            f"They differ in {', '.join(other) or 'the threshold'}: tune one for this model, dataset family and protocol.",
        )
    return Threshold(content["threshold"], "tuned-on-val", hashlib.sha256(path.read_bytes()).hexdigest())


def _plain(recipe: Any) -> Any:  # noqa: ANN401 - of a file
    """Without how the network is run, which moves a score by rounding: a threshold holds for all precisions too."""
    return {key: value for key, value in recipe.items() if key not in _HOW} if isinstance(recipe, dict) else recipe


def _tunes(val: str, test: str) -> bool:
    """Whether a threshold of one split may be used on another."""
    if val.split(":")[0] == test.split(":")[0]:
        return True
    try:
        (one, card), (other, _) = parse_name(val), parse_name(test)
    except BenchError:
        return False
    return card.mini and one.family == other.family
