from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ldznet_bench.errors import RunError
from ldznet_bench.records import SCHEMA
from ldznet_bench.statistics.estimators import histograms_of
from ldznet_bench.statistics.samples import read_samples


def write(path: Path, ids: list[str], bins: int | None = 4, counted: int | None = None, schema: pa.Schema = SCHEMA) -> Path:
    n = len(ids)
    filler = {"sample_id": ids, "image_id": [f"i{name}" for name in ids], "intersection": list(range(n)), "tags": [["all"]] * n}
    hist = [list(range(k, k + bins)) for k in range(n)] if bins else [None] * n
    empty = {pa.string(): "", pa.list_(pa.string()): [], pa.list_(pa.int64()): []}
    columns = {
        field.name: filler.get(field.name, hist if field.name.startswith("hist") else [None if field.nullable else empty.get(field.type, 7)] * n)
        for field in schema
    }
    pq.write_table(pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema), path / "records.parquet")
    (path / "summary.json").write_text(json.dumps({"n_samples": n if counted is None else counted}))
    return path


def test_rows_come_sorted_by_id(tmp_path: Path) -> None:
    found = read_samples(write(tmp_path, ["b", "c", "a"]), histograms="full", columns=["tags"])
    assert found.sample_id.tolist() == ["a", "b", "c"]
    assert found.image_id.tolist() == ["ia", "ib", "ic"]
    assert found.counts.intersection.tolist() == [2, 0, 1]
    assert histograms_of(found.counts)[0][0].tolist() == [2, 3, 4, 5]
    assert found.table.column_names == ["tags"]


def test_long_histograms_are_added_up_in_groups(tmp_path: Path) -> None:
    found = read_samples(write(tmp_path, ["a", "b"], bins=2000), histograms="coarse")
    hist_fg, _ = histograms_of(found.counts)
    assert found.groups is not None and found.groups.starts[0] == 0 and np.diff(found.groups.starts).max() <= 16
    assert hist_fg.shape == (2, found.groups.starts.size)
    assert hist_fg.sum(axis=1).tolist() == [sum(range(2000)), sum(range(1, 2001))]


def test_no_histograms_in_binary_runs(tmp_path: Path) -> None:
    assert read_samples(write(tmp_path, ["a"], bins=None), histograms="full").counts.hist_fg is None


def test_missing_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="its summary counts 5"):
        read_samples(write(tmp_path, ["a", "b"], counted=5))


def test_repeated_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="twice"):
        read_samples(write(tmp_path, ["a", "a"]))


def test_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="version 99"):
        read_samples(write(tmp_path, ["a"], schema=SCHEMA.with_metadata({"ldznet_bench.records": "99"})))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path, ["a"])
    (tmp_path / "records.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(RunError, match="cannot be read"):
        read_samples(tmp_path)


def test_no_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="unfinished"):
        read_samples(tmp_path)


def test_take_keeps_columns_together(tmp_path: Path) -> None:
    found = read_samples(write(tmp_path, ["b", "c", "a"]), columns=["tags"]).take(np.array([False, True, True]))
    assert (found.sample_id.tolist(), found.counts.intersection.tolist(), len(found)) == (["b", "c"], [0, 1], 2)
