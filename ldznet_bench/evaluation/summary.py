"""A run's summary, re-made from its records alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ldznet_bench.metrics.scores import Accumulator
from ldznet_bench.protocols import Protocol

COLUMNS = ("sample_id", "image_id", "tags", "gt_area", "pred_area", "intersection", "union", "hist_fg", "hist_bg")


def summarise(batches: Iterable[pa.RecordBatch], protocol: Protocol, *, dense: bool, tuned: bool) -> dict[str, Any]:
    """Scores over all records and over every slice (tag) that occurs in them.

    Args:
        batches: record batches with at least `COLUMNS`, in dataset order.
        protocol: the rules that the records were counted under.
        dense: False for binary maps, whose AP is null.
        tuned: whether the run's threshold was tuned on a val split.

    Returns:
        ``n_samples, n_images, metrics {name: value}, thresholds {metric: {source, value}}, slices {name: {n_samples, metrics}}``, in plain
        JSON values; null where a metric does not apply.
    """
    make: Callable[[], Accumulator] = lambda: Accumulator(protocol, dense=dense)  # noqa: E731
    total, slices, images = make(), dict[str, Accumulator](), set[str]()
    n_samples, sizes = 0, dict[str, int]()
    for batch in batches:
        columns = _columns(batch, protocol)
        total.add(columns)
        n_samples += batch.num_rows
        images.update(batch.column("image_id").to_pylist())
        for tag, rows in _rows_by_tag(batch.column("tags")).items():
            slices.setdefault(tag, make()).add({name: values[rows] for name, values in columns.items()})
            sizes[tag] = sizes.get(tag, 0) + len(rows)
    best = total.best_thresholds()
    return {
        "n_samples": n_samples,
        "n_images": len(images),
        "metrics": total.result(),
        "thresholds": {
            name: {"source": source, **({"value": best[name]} if name in best else {})}
            for name in protocol.metrics
            if (source := protocol.threshold_source(name, tuned)) is not None
        },
        "slices": {tag: {"n_samples": sizes[tag], "metrics": slices[tag].result()} for tag in sorted(slices)},
    }


def _columns(batch: pa.RecordBatch, protocol: Protocol) -> dict[str, npt.NDArray[Any]]:
    names = ("gt_area", "pred_area", "intersection", "union")
    columns: dict[str, npt.NDArray[Any]] = {name: batch.column(name).to_numpy() for name in names}
    if protocol.thresholds is not None:
        bins = len(protocol.thresholds) + 1
        for name in ("hist_fg", "hist_bg"):
            columns[name] = batch.column(name).flatten().to_numpy().reshape(-1, bins)
    return columns


def _rows_by_tag(tags: pa.ListArray) -> dict[str, npt.NDArray[np.int64]]:
    rows: dict[str, list[int]] = {}
    for row, names in enumerate(tags.to_pylist()):
        for name in names:
            rows.setdefault(name, []).append(row)
    return {name: np.array(members) for name, members in rows.items()}
