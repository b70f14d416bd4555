"""The records of one run as arrays, in an order that does not depend on how the run was made."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ldznet_bench.errors import RunError
from ldznet_bench.metrics.average_precision import step_ap
from ldznet_bench.metrics.counts import Int32Array, Int64Array
from ldznet_bench.metrics.scores import Columns
from ldznet_bench.records import RECORD_SCHEMA_VERSION

Pooled = tuple[Int64Array, Int64Array]
Histograms = Literal["none", "full", "coarse"]

_COUNTS = ("intersection", "union", "gt_area", "pred_area")
_HISTOGRAMS = ("hist_fg", "hist_bg")
_BATCH = 1024
_LONG = 1024  # bins; shorter grids are read as they are
# native@1's 6,431 thresholds are 64 per unit of logit, and 14,354 samples' counts at all of them take 740 MB. Groups of at most 16 bins (a quarter of
# a unit) and at most a 512th of the run's true pixels take a tenth. Of 16 bins alone they lost 2 points of AP where scores lie close together.
_WIDEST = 16
_SHARES = 512


@dataclass(frozen=True, eq=False)
class Groups:
    """How the bins of a long grid were added up as a run was read.

    Attributes:
        path: the run folder, where the bins themselves are.
        starts: (G,) the first bin of each group, ascending from 0.
        total: int64 (K + 1,) histograms summed over all samples of the run, truth first; bin by bin.
        n: samples of the run.
    """

    path: Path
    starts: npt.NDArray[np.intp]
    total: Pooled
    n: int


@dataclass(frozen=True, eq=False)
class Samples:
    """n records of a run, sorted by sample id.

    Attributes:
        sample_id: text (n,), ascending.
        image_id: text (n,).
        counts: intersections, unions and areas; histograms as asked for.
        table: the other columns that were asked for.
        order: position of each sample in the file.
        groups: of bins in the histograms; None where their bins are the grid's own.
    """

    sample_id: npt.NDArray[np.str_]
    image_id: npt.NDArray[np.str_]
    counts: Columns
    table: pa.Table
    order: npt.NDArray[np.intp]
    groups: Groups | None = None

    def __len__(self) -> int:
        return len(self.sample_id)

    def take(self, rows: npt.NDArray[Any]) -> Samples:
        """Some of the samples, by a boolean mask or ascending positions."""
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows
        table = self.table.take(pa.array(positions))
        return Samples(self.sample_id[positions], self.image_id[positions], self.counts.take(positions), table, self.order[positions], self.groups)

    def without_histograms(self) -> Samples:
        """The same samples in a fraction of the memory."""
        counts = replace(self.counts, hist_fg=None, hist_bg=None, hist_rows=None)
        return replace(self, counts=counts, groups=None)

    def pooled(self) -> Pooled | None:
        """Int64 (K + 1,) histograms summed over the samples, truth first, on the grid itself; None without any. Some samples of a run whose
        bins are in groups are read once more.
        """
        if self.groups is None:
            return _total((fg, bg) for _, fg, bg in self.counts.blocks())
        if len(self) == self.groups.n:
            return self.groups.total
        chosen = np.zeros(self.groups.n, dtype=bool)
        chosen[self.order] = True
        return _total(_rows_of(_read_histograms(self.groups.path), chosen))


def read_samples(path: Path, *, histograms: Histograms = "none", columns: Sequence[str] = ()) -> Samples:
    """The records of a finished run.

    Args:
        path: the run folder.
        histograms: ``full``, none at all, or ``coarse``: the bins of a long grid in groups, which are narrow where the run's true pixels are.
        columns: of the record, to be kept in `Samples.table`.

    Raises:
        RunError: no records, records of another version or number than the summary states, or a file that cannot be read.
    """
    wanted = dict.fromkeys(("sample_id", "image_id", *_COUNTS, *columns))
    table = pa.Table.from_batches(read_batches(path, list(wanted)))
    _refuse_incomplete(path, table)
    groups = _group(path) if histograms == "coarse" else None
    hist_fg, hist_bg = (None, None) if histograms == "none" else _stack(_read_histograms(path), None if groups is None else groups.starts)
    ids = np.array(table.column("sample_id").to_pylist(), dtype=np.str_)
    order = np.argsort(ids, kind="stable")
    intersection, union, gt_area, pred_area = (np.asarray(table.column(name), dtype=np.int64) for name in _COUNTS)
    counts = Columns(intersection, union, gt_area, pred_area, hist_fg, hist_bg)
    images = np.array(table.column("image_id").to_pylist(), dtype=np.str_)
    return Samples(ids[order], images[order], counts.take(order), table.select(list(columns)).take(pa.array(order)), order, groups)


def refuse_damaged(path: Path) -> None:
    """Refuse a run whose records are not there, of another version, or not as many as its summary counts; reads the file's footer alone.

    Raises:
        RunError: which of them, and what to do.
    """
    with _opened(path) as parquet:
        _refuse_other_number(path, parquet.metadata.num_rows)


def read_batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of a run's records, 1,024 rows at a time, in the file's order.

    Raises:
        RunError: no records, records of another version, or a file that cannot be read.
    """
    with _opened(path) as parquet:
        yield from parquet.iter_batches(batch_size=_BATCH, columns=list(columns))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    file = path / "records.parquet"
    if not file.is_file():
        raise RunError(
            f"{path} has no records.parquet.", "The run is unfinished or a part of it was not copied: repeat its command, or copy the whole folder."
        )
    try:
        with pq.ParquetFile(file.absolute()) as parquet:  # a relative path whose first part holds a colon would be a URI
            version = (parquet.schema_arrow.metadata or {}).get(b"ldznet_bench.records", b"none").decode()
            if version != str(RECORD_SCHEMA_VERSION):
                what = f"{file} holds records of version {version}, this ldznet_bench reads version {RECORD_SCHEMA_VERSION}."
                raise RunError(what, "Run the cell again with this version, or report it with the one that made it.")
            yield parquet
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"{file} cannot be read ({error}).", "It was damaged or edited: remove that run folder and run again.") from error


def _refuse_other_number(path: Path, found: int) -> None:
    file = path / "summary.json"
    try:
        expected = json.loads(file.read_bytes())["n_samples"]
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{file} cannot be read ({error}).", "Remove that run folder and run again.") from error
    if expected != found:
        raise RunError(
            f"{path} holds {found} records, its summary counts {expected}.",
            "A shard is missing or a file is another run's: remove that run folder and run again.",
        )


def _refuse_incomplete(path: Path, table: pa.Table) -> None:
    _refuse_other_number(path, table.num_rows)
    repeated = table.num_rows - pc.count_distinct(table.column("sample_id")).as_py()
    if repeated:
        raise RunError(f"{path} holds {repeated} samples twice.", "Remove that run folder and run again.")


def exact_ap(samples: Samples) -> float | None:
    """Step-wise AP on the grid itself, of samples whose bins are in groups; None for others, and where it is not defined."""
    pooled = None if samples.groups is None else samples.pooled()
    return None if pooled is None else step_ap(*pooled)


def _read_histograms(path: Path) -> Iterator[tuple[Int32Array, Int32Array]]:
    for batch in read_batches(path, _HISTOGRAMS):
        fg, bg = (_matrix(batch.column(name)) for name in _HISTOGRAMS)
        if fg is not None and bg is not None:
            yield fg, bg


def _stack(parts: Iterator[tuple[Int32Array, Int32Array]], starts: npt.NDArray[np.intp] | None) -> tuple[Int32Array | None, Int32Array | None]:
    if starts is not None:
        parts = ((_in_groups(fg, starts), _in_groups(bg, starts)) for fg, bg in parts)
    kept = list(parts)
    if not kept:
        return None, None
    fg, bg = zip(*kept, strict=True)
    return np.concatenate(fg), np.concatenate(bg)


def _in_groups(hist: Int32Array, starts: npt.NDArray[np.intp]) -> Int32Array:
    return np.add.reduceat(hist, starts, axis=1, dtype=np.int32)  # a sample has fewer than 2**31 pixels


def _total(parts: Iterable[tuple[Int32Array, Int32Array]]) -> Pooled | None:
    total: Pooled | None = None
    for fg, bg in parts:
        sums = fg.sum(axis=0, dtype=np.int64), bg.sum(axis=0, dtype=np.int64)
        total = sums if total is None else (total[0] + sums[0], total[1] + sums[1])
    return total


def _rows_of(parts: Iterator[tuple[Int32Array, Int32Array]], chosen: npt.NDArray[np.bool_]) -> Iterator[tuple[Int32Array, Int32Array]]:
    at = 0
    for fg, bg in parts:
        rows = chosen[at : at + len(fg)]
        yield fg[rows], bg[rows]
        at += len(fg)


def _group(path: Path) -> Groups | None:
    """Groups for the grid of a run; None where it is short or there is none."""
    with _opened(path) as parquet:
        n = parquet.metadata.num_rows
    total = _total(_read_histograms(path))
    return None if total is None or total[0].size <= _LONG else Groups(path, group_starts(total[0]), total, n)


def group_starts(true_pixels: Int64Array) -> npt.NDArray[np.intp]:
    """First bins of groups of at most 16 bins. A bin with a 512th of the pixels is a group of its own, and no other group has two 512ths.

    Step-wise AP takes a group's precision at its lowest threshold, so that what grouping costs is at most the pixels of a group times how
    far precision moves.
    """
    level = _SHARES * np.cumsum(true_pixels) // max(1, int(true_pixels.sum()))
    full = np.flatnonzero(np.diff(level, prepend=0)) + 1
    heavy = np.flatnonzero(_SHARES * true_pixels >= max(1, int(true_pixels.sum())))
    starts = np.unique(np.concatenate([np.arange(0, true_pixels.size, _WIDEST), full, heavy]))
    return starts[starts < true_pixels.size]


def _matrix(column: Any) -> Int32Array | None:  # noqa: ANN401 - pyarrow arrays are untyped
    if column.null_count == len(column):
        return None
    if column.null_count:
        raise RunError("some records of a run have threshold counts and some have none.", "Remove that run folder and run again.")
    return np.asarray(column.flatten(), dtype=np.int32).reshape(len(column), -1)
