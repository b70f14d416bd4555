"""Values that need records: slices, intervals, and which models cannot be told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ldznet_bench.errors import BenchError
from ldznet_bench.metrics.scores import Accumulator, Columns
from ldznet_bench.protocols import Protocol, get_protocol
from ldznet_bench.reports.grid import Column, Entry, Options, Value
from ldznet_bench.reports.runs import Run
from ldznet_bench.reports.seeds import weights_of
from ldznet_bench.statistics.bootstrap import bootstrap, number_clusters, over_seeds
from ldznet_bench.statistics.estimators import NEEDS_HISTOGRAMS, Estimator, Float64Array, estimator
from ldznet_bench.statistics.intervals import FEW_CLUSTERS, interval
from ldznet_bench.statistics.paired import ENOUGH_SEEDS
from ldznet_bench.statistics.ranks import tiers
from ldznet_bench.statistics.samples import Samples, read_batches, read_samples
from ldznet_bench.statistics.slices import COLUMNS as SLICE_COLUMNS
from ldznet_bench.statistics.slices import Slices

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Draw:
    """One cell's estimator and how many images are behind it."""

    entry: Entry
    column: Column
    estimator: Estimator
    ids: bytes
    n_clusters: int


def measure(entries: Sequence[Entry], columns: Mapping[int, Sequence[Column]], options: Options) -> None:
    """Fill the entries' values from records, column group by column group.

    Raises:
        BenchError: records that cannot be read, or an unknown slice.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for index, entry in enumerate(entries):
        groups.setdefault((entry.run.dataset, entry.run.protocol), []).append(index)
    for members in groups.values():
        draws = [item for index in members for item in _measure_run(entries[index], columns[index], options)]
        _add_intervals(draws, options)


def score_slices(run: Run, slices: Sequence[tuple[str, BoolArray]], order: npt.NDArray[np.intp]) -> list[tuple[int, dict[str, float | None]]]:
    """Number of samples and every metric of each slice, exactly as `summary.json` would have them.

    Args:
        run: whose records are read, a row group at a time.
        slices: name and rows, of samples sorted by id.
        order: positions in the file of the samples sorted by id.
    """
    protocol = get_protocol(run.protocol)
    in_file = []
    for _, rows in slices:
        mask = np.empty_like(rows)
        mask[order] = rows
        in_file.append(mask)
    accumulators = [_accumulator(run, protocol) for _ in slices]
    at = 0
    histograms = () if protocol.grid is None else ("hist_fg", "hist_bg")
    for batch in read_batches(run.path, ["intersection", "union", "gt_area", "pred_area", *(histograms or ("hist_fg", "hist_bg"))]):
        counts = Columns.from_arrow(batch)
        for accumulator, mask in zip(accumulators, in_file, strict=True):
            accumulator.add(counts.take(np.flatnonzero(mask[at : at + len(counts)])))
        at += len(counts)
    return [(accumulator.n, accumulator.result()) for accumulator in accumulators]


def slices_of(run: Run, samples: Samples, where: str = "", by: str = "", leaked: frozenset[str] | None = None) -> list[tuple[str, BoolArray]]:
    """The named slices of a run's samples, each restricted by `where`; one nameless slice without `by`."""
    if not where and not by:
        return [("", np.ones(len(samples), dtype=bool))]
    parts = Slices(samples.table, leaked, run.summary.get("absent_slices") or ())
    base = parts.where(where) if where else np.ones(len(samples), dtype=bool)
    return [(name, rows & base) for name, rows in parts.by(by)] if by else [("", base)]


def _measure_run(entry: Entry, columns: Sequence[Column], options: Options) -> list[_Draw]:
    run = entry.run
    heavy = options.intervals and any(column.metric in NEEDS_HISTOGRAMS for column in columns)
    sliced = bool(options.where or options.by)
    samples = read_samples(run.path, histograms="coarse" if heavy else "none", columns=SLICE_COLUMNS if sliced else ())
    slices = slices_of(run, samples, options.where, options.by, options.leaked)
    if sliced:
        scores = score_slices(run, slices, samples.order)
    else:
        scores = [(len(samples), run.summary["metrics"])]
    draws = []
    for part, ((name, rows), (n, values)) in enumerate(zip(slices, scores, strict=True)):
        for column in columns:
            place = replace(column, part=part, slice=name)
            entry.values[place] = Value(values[column.metric], n=n)
            if options.intervals and n:
                draws += _draw(entry, place, samples.take(rows))
    return draws


def _draw(entry: Entry, column: Column, samples: Samples) -> list[_Draw]:
    score = entry.values[column].score
    if score is None:
        return []
    (cluster,), n_clusters = number_clusters(samples.image_id)
    made = estimator(column.metric, samples.counts, cluster, n_clusters, get_protocol(entry.run.protocol), score)
    if made is None:
        return []
    return [_Draw(entry, column, made, "\n".join(samples.sample_id.tolist()).encode(), n_clusters)]


def _add_intervals(draws: Sequence[_Draw], options: Options) -> None:
    by_column: dict[Column, list[_Draw]] = {}
    for item in draws:
        by_column.setdefault(item.column, []).append(item)
    same_images: dict[int, list[_Draw]] = {}
    for item in draws:
        same_images.setdefault(item.n_clusters, []).append(item)
    values: dict[int, Float64Array] = {}
    for members in same_images.values():
        for item, drawn in zip(members, bootstrap([item.estimator for item in members], options.resamples, options.seed), strict=True):
            values[id(item)] = drawn
    for column, members in by_column.items():
        rows: dict[str, list[_Draw]] = {}
        for item in members:
            rows.setdefault(item.entry.label, []).append(item)
        combined = {label: _over_seeds(items, values, options) for label, items in rows.items()}
        for label, items in rows.items():
            found = interval(combined[label], items[0].n_clusters)
            few = ("w",) if options.training_seeds and 1 < _n_weights(items) < ENOUGH_SEEDS else ()
            for item in items:
                value = item.entry.values[column]
                item.entry.values[column] = replace(value, low=found.low, high=found.high, marks=(*value.marks, *few))
        _add_ties(column, rows, combined, options)


def _over_seeds(items: Sequence[_Draw], values: Mapping[int, Float64Array], options: Options) -> Float64Array:
    """Of a row: the mean over its runs on the same draws of images; from six training seeds on, seeds are drawn as well."""
    by_weights: dict[str, list[Float64Array]] = {}
    for item in items:
        by_weights.setdefault(weights_of(item.entry.run) if options.training_seeds else "", []).append(values[id(item)])
    trained = np.stack([np.mean(part, axis=0) for part in by_weights.values()])
    averaged: Float64Array = trained.mean(axis=0)
    return over_seeds(trained, options.seed) if len(trained) >= ENOUGH_SEEDS else averaged


def _n_weights(items: Sequence[_Draw]) -> int:
    return len({weights_of(item.entry.run) for item in items})


def _add_ties(column: Column, rows: Mapping[str, Sequence[_Draw]], combined: Mapping[str, Float64Array], options: Options) -> None:
    first = next(iter(rows.values()))[0]
    comparable = {label: items for label, items in rows.items() if all(item.ids == first.ids for item in items)}
    if len(comparable) < 2 or column.metric.endswith("_best") or first.n_clusters < FEW_CLUSTERS:
        return
    points = {label: float(np.mean([item.entry.values[column].score or 0 for item in items])) for label, items in comparable.items()}
    found = tiers(points, {label: combined[label] for label in comparable}, first.n_clusters, margin=options.margin / 100)
    best = max(points.values())
    for label, tier in found.items():
        tied = tier == 1 and points[label] < best
        for item in comparable[label]:
            value = item.entry.values[column]
            item.entry.values[column] = replace(value, tier=tier, marks=(*value.marks, *(("≈",) if tied else ())))


def _accumulator(run: Run, protocol: Protocol) -> Accumulator:
    threshold: dict[str, Any] = run.summary.get("threshold") or {}
    return Accumulator(protocol, dense=not run.summary.get("binary"), threshold=threshold.get("value"))


def check_rules(run: Run) -> Protocol:
    """The protocol of a run, if this version still has the rules that it was made by.

    Raises:
        BenchError: the rules have changed.
    """
    protocol = get_protocol(run.protocol)
    stored = run.about.get("identity", {}).get("protocol_digest")
    if stored is not None and stored != protocol.digest():
        raise BenchError(f"{run.path} was made under other rules that were called {run.protocol}.", "Run the cell again with this version.")
    return protocol
