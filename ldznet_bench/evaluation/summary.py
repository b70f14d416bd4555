"""A run's summary, re-made from its records alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ldznet_bench.metrics.scores import Accumulator, Columns
from ldznet_bench.protocols import Protocol

COLUMNS = ("sample_id", "image_id", "tags", "gt_area", "pred_area", "intersection", "union", "hist_fg", "hist_bg")


def summarise(batches: Iterable[pa.RecordBatch], protocol: Protocol, *, dense: bool, threshold: float, tuned: bool) -> dict[str, Any]:
    """Scores over all records and over every slice (tag) that occurs in them.

    Args:
        batches: record batches with at least `COLUMNS`.
        protocol: the rules that the records were counted under.
        dense: False for binary maps, whose AP is null.
        threshold: that intersections were counted at.
        tuned: whether it was tuned on a val split.

    Returns:
        ``n_samples, n_images, metrics {name: value}, thresholds {metric: {source, value}}, slices {name: {n_samples, metrics}}``, in plain
        JSON values; null where a metric does not apply.
    """
    total, slices, images = Accumulator(protocol, dense, threshold), dict[str, Accumulator](), set[str]()
    for batch in batches:
        columns = Columns.from_arrow(batch)
        total.add(columns)
        images.update(batch.column("image_id").to_pylist())
        for tag, rows in _rows_by_tag(batch.column("tags")).items():
            if tag not in slices:
                slices[tag] = Accumulator(protocol, dense, threshold)
            slices[tag].add(columns.take(rows))
    best = total.best_thresholds()
    return {
        "n_samples": total.n,
        "n_images": len(images),
        "metrics": total.result(),
        "thresholds": {
            name: {"source": source, "value": best.get(name, threshold)}
            for name in protocol.metrics
            if (source := protocol.threshold_source(name, tuned)) is not None
        },
        "slices": {tag: {"n_samples": slices[tag].n, "metrics": slices[tag].result()} for tag in sorted(slices)},
    }


def _rows_by_tag(tags: pa.ListArray) -> dict[str, npt.NDArray[np.int64]]:
    """The rows that have each name."""
    rows = np.repeat(np.arange(len(tags)), np.diff(tags.offsets))
    names = tags.flatten().dictionary_encode()
    codes = names.indices.to_numpy()
    return {name: rows[codes == code] for code, name in enumerate(names.dictionary.to_pylist())}
