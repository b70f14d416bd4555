"""The records of one run as arrays, in an order that does not depend on how the run was made."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ldznet_bench.errors import RunError
from ldznet_bench.metrics.scores import Columns
from ldznet_bench.records import RECORD_SCHEMA_VERSION

Histograms = Literal["none", "full", "coarse"]

_COUNTS = ("intersection", "union", "gt_area", "pred_area")
_HISTOGRAMS = ("hist_fg", "hist_bg")
_BATCH = 1024
# native@1's 6,431 thresholds are 64 per unit of logit; groups of 16 leave 403 bins, in which 14,354 samples take 46 MB instead of 740. Their
# AP is used for its spread only: the point estimate is always made from the full grid (docs/statistics.md has the difference).
_COARSE = 16


@dataclass(frozen=True, eq=False)
class Samples:
    """n records of a run, sorted by sample id.

    Attributes:
        sample_id: text (n,), ascending.
        image_id: text (n,).
        counts: intersections, unions and areas; histograms as asked for.
        table: the other columns that were asked for.
        order: position of each sample in the file.
    """

    sample_id: npt.NDArray[np.str_]
    image_id: npt.NDArray[np.str_]
    counts: Columns
    table: pa.Table
    order: npt.NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.sample_id)

    def take(self, rows: npt.NDArray[Any]) -> Samples:
        """Some of the samples, by a boolean mask or ascending positions."""
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows
        table = self.table.take(pa.array(positions))
        return Samples(self.sample_id[positions], self.image_id[positions], self.counts.take(positions), table, self.order[positions])


def read_samples(path: Path, *, histograms: Histograms = "none", columns: Sequence[str] = ()) -> Samples:
    """The records of a finished run.

    Args:
        path: the run folder.
        histograms: ``full``, none at all, or ``coarse``: groups of neighbouring bins of a long grid, added up as they are read.
        columns: of the record, to be kept in `Samples.table`.

    Raises:
        RunError: no records, records of another version or number than the summary states, or a file that cannot be read.
    """
    wanted = dict.fromkeys(("sample_id", "image_id", *_COUNTS, *columns))
    table = pa.Table.from_batches(read_batches(path, list(wanted)))
    _refuse_incomplete(path, table)
    hist_fg, hist_bg = _read_histograms(path, histograms)
    ids = np.array(table.column("sample_id").to_pylist(), dtype=np.str_)
    order = np.argsort(ids, kind="stable")
    intersection, union, gt_area, pred_area = (np.asarray(table.column(name), dtype=np.int64) for name in _COUNTS)
    counts = Columns(intersection, union, gt_area, pred_area, hist_fg, hist_bg)
    images = np.array(table.column("image_id").to_pylist(), dtype=np.str_)
    return Samples(ids[order], images[order], counts.take(order), table.select(list(columns)).take(pa.array(order)), order)


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
        with pq.ParquetFile(file) as parquet:
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


def _read_histograms(path: Path, histograms: Histograms) -> tuple[Any, Any]:
    if histograms == "none":
        return None, None
    parts = [_of_batch(batch, coarse=histograms == "coarse") for batch in read_batches(path, list(_HISTOGRAMS))]
    if not parts or parts[0] is None:
        return None, None
    fg, bg = zip(*(part for part in parts if part is not None), strict=True)
    return np.concatenate(fg), np.concatenate(bg)


def _of_batch(batch: pa.RecordBatch, *, coarse: bool) -> tuple[Any, Any] | None:
    fg, bg = (_matrix(batch.column(name)) for name in _HISTOGRAMS)
    if fg is None or bg is None:
        return None
    if coarse and fg.shape[1] > 1024:
        starts = np.arange(0, fg.shape[1], _COARSE)
        return np.add.reduceat(fg, starts, axis=1), np.add.reduceat(bg, starts, axis=1)
    return fg, bg


def _matrix(column: Any) -> npt.NDArray[np.int32] | None:  # noqa: ANN401 - pyarrow arrays are untyped
    if column.null_count == len(column):
        return None
    if column.null_count:
        raise RunError("some records of a run have threshold counts and some have none.", "Remove that run folder and run again.")
    return np.asarray(column.flatten(), dtype=np.int32).reshape(len(column), -1)
