"""Do two runs agree, sample by sample? For runs that should: other micro-batch, device, precision or machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ldznet_bench.errors import RunError
from ldznet_bench.evaluation.runs import read_json

_COUNTS = ("gt_area", "pred_area", "intersection", "union")


@dataclass(frozen=True, slots=True)
class Difference:
    """A sample that two runs counted differently.

    Attributes:
        sample_id: whose.
        first: its ``gt_area, pred_area, intersection, union`` in the first run.
        second: in the second.
    """

    sample_id: str
    first: dict[str, int]
    second: dict[str, int]


def differences(first: Path, second: Path) -> list[Difference]:
    """Samples whose counts differ, in dataset order.

    Args:
        first: a finished run folder.
        second: another, of the same samples under the same protocol.

    Raises:
        RunError: not finished, or not of the same protocol and samples.
    """
    one, other = (_about(path) for path in (first, second))
    for key in ("dataset", "protocol"):
        if one[key] != other[key]:
            raise RunError(f"{first} is of {key} {one[key]}, {second} of {other[key]}.", "Name two runs of the same dataset and protocol.")
    found = []
    for left, right in zip(_rows(first), _rows(second), strict=False):
        if left["sample_id"] != right["sample_id"]:
            raise RunError(f"{first} and {second} do not hold the same samples ({left['sample_id']!r}, {right['sample_id']!r}).", "Name full runs.")
        if left != right:
            found.append(Difference(left.pop("sample_id"), left, {key: right[key] for key in _COUNTS}))
    return found


def _about(path: Path) -> dict[str, Any]:
    about = read_json(path / "run.json")
    if about is None or about["status"] != "complete":
        raise RunError(f"{path} is no finished run.", "Name the folder that holds its run.json, or finish it with the command that began it.")
    return about


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile((path / "records.parquet").absolute()) as file:  # see `RunFolder.records`
        for batch in file.iter_batches(columns=["sample_id", *_COUNTS]):
            yield from batch.to_pylist()
