"""Published numbers: ``results/published.yaml``, read strictly."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ldznet_bench.cards import read_card
from ldznet_bench.errors import BenchError, unknown_name
from ldznet_bench.protocols import PROTOCOLS
from ldznet_bench.share import shared

UNKNOWN = "unknown"
_UNKNOWN_METRICS = (UNKNOWN, "ms_per_image", "parameters")


@dataclass(frozen=True, slots=True)
class Paper:
    """Where rows were published."""

    title: str
    citation: str


@dataclass(frozen=True, slots=True)
class PublishedValue:
    """One number.

    Attributes:
        printed: heading of its column in the paper.
        metric: our name of the metric, or ``unknown``.
        value: as printed.
        unit: of it.
    """

    printed: str
    metric: str
    value: float
    unit: Literal["percent", "ms", "million"] = "percent"


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """The numbers of one method on one dataset in one table.

    Attributes:
        id: unique short name.
        method: as the paper prints it.
        dataset: our name; ``unknown`` in the place of a split or partition that the paper does not state.
        paper: key of the paper that the number was read in.
        table: in that paper.
        protocol: our full name of the rules that made it, or ``unknown``.
        threshold: where the threshold came from.
        training: what the method was trained on.
        checked: ``V`` read in the primary source, ``S`` in a third party's account.
        values: the numbers.
        model: our name of the same model, where there is one.
        notes: what stands between this row and a fair comparison.
        weights: which of the model's published weights it was measured with, where there are several; a run's records do not say which it used.
    """

    id: str
    method: str
    dataset: str
    paper: str
    table: str
    protocol: str
    threshold: Literal["fixed", "tuned-on-val", "oracle-test", "unknown"]
    training: str
    checked: Literal["V", "S"]
    values: tuple[PublishedValue, ...]
    model: str | None = None
    notes: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        if ":" not in self.dataset:
            raise ValueError(f"row {self.id}: dataset {self.dataset!r} has no split; write {self.dataset}:{UNKNOWN} where none is stated")
        if self.protocol != UNKNOWN and self.protocol not in PROTOCOLS:
            raise ValueError(f"row {self.id}: {unknown_name('protocol', self.protocol, [*PROTOCOLS, UNKNOWN])}")
        for item in self.values:
            _check_value(self, item)


@dataclass(frozen=True, slots=True)
class Published:
    """All of them.

    Attributes:
        papers: by key.
        rows: in the file's order.
    """

    papers: dict[str, Paper]
    rows: tuple[PublishedRow, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for row in self.rows:
            if row.id in seen:
                raise ValueError(f"row {row.id} is there twice")
            seen.add(row.id)
            if row.paper not in self.papers:
                raise ValueError(f"row {row.id}: {unknown_name('paper', row.paper, self.papers)}")

    def of(self, dataset: str) -> list[PublishedRow]:
        """The rows on a dataset split; each method's numbers once, from the paper that made them where several repeat it."""
        found: dict[tuple[str, ...], PublishedRow] = {}
        for row in self.rows:
            if row.dataset == dataset and any(item.unit == "percent" for item in row.values):
                key = (row.method.lower(), row.protocol, *(f"{item.metric}={item.value}" for item in row.values))
                found.setdefault(key, row)
        return list(found.values())


def load_published(path: Path | None = None) -> Published:
    """Read the bundled file, or another of its form.

    Raises:
        BenchError: not according to the schema: the file, the line and the nearest name are given.
    """
    return _load(path or shared("results") / "published.yaml")


@functools.cache
def _load(path: Path) -> Published:
    return read_card(path, Published)


def pick(published: Published, method: str, paper: str) -> list[PublishedRow]:
    """The rows of a method in a paper.

    Raises:
        BenchError: there are none; the nearest method is named.
    """
    rows = [row for row in published.rows if row.paper == paper and row.method == method]
    if not rows:
        raise unknown_name(f"method of {paper}", method, {row.method for row in published.rows if row.paper == paper})
    return rows


def model_rows(published: Published, model: str, dataset: str) -> Sequence[PublishedRow]:
    """Rows of the same model on the same dataset, the split being unknown included."""
    name, _, split = dataset.partition(":")
    datasets = {dataset, f"{name}:{UNKNOWN}"}
    return [row for row in published.rows if row.model == model.split("/")[0].split("+")[0] and row.dataset in datasets and split]


def _check_value(row: PublishedRow, item: PublishedValue) -> None:
    where = f"row {row.id}, {item.printed}"
    if item.unit == "percent" and not 0 <= item.value <= 100:
        raise ValueError(f"{where}: {item.value} is no percentage")
    if item.metric in _UNKNOWN_METRICS:
        return
    known = {name for protocol in PROTOCOLS.values() for name in protocol.metrics} | {"giou"}
    if row.protocol != UNKNOWN:
        known = set(PROTOCOLS[row.protocol].metrics)
    if item.metric not in known:
        raise ValueError(f"{where}: {unknown_name('metric', item.metric, [*known, UNKNOWN])}")
    if item.metric.endswith("_best") != (row.threshold == "oracle-test") and item.metric != "ap":
        raise ValueError(f"{where}: a threshold that is {row.threshold} does not make {item.metric}")


def refuse_missing_paper(published: Published, paper: str) -> None:
    """Complain about a paper that the file does not know.

    Raises:
        BenchError: with the nearest key.
    """
    if paper not in published.papers:
        raise BenchError(str(unknown_name("paper", paper, published.papers)))
