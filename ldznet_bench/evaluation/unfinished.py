"""What is missing of an unfinished run, part by part: whose it was, whether that process still works, how many samples, which images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ldznet_bench.atomic import replacing
from ldznet_bench.errors import RunError
from ldznet_bench.evaluation.journal import is_closed, openings, read_batch, record_frames
from ldznet_bench.evaluation.sharding import Shard
from ldznet_bench.evaluation.workers import Worker, when

_NAMED = 5
_PLAN = "plan.parquet"
_ROWS = pa.schema([pa.field("group", pa.int64()), pa.field("image_id", pa.string()), pa.field("samples", pa.int64())])


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a run of which something is missing.

    Attributes:
        shard: which one.
        worker: the last process that had it; None where none did.
        state: in words: ``is at work``, ``died``, ``stopped`` (by an error or by hand), ``was never started``, or when a
            process elsewhere wrote last.
        samples: how many samples are missing.
        images: ids of their images, in dataset order.
    """

    shard: Shard
    worker: Worker | None
    state: str
    samples: int
    images: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, with the first images only."""
        worker = {} if self.worker is None else {"host": self.worker.host, "pid": self.worker.pid, "started": self.worker.started}
        counts = {"samples": self.samples, "images": len(self.images), "first_images": list(self.images[:_NAMED])}
        return {"shard": str(self.shard), "state": self.state, **worker, **counts}

    def __str__(self) -> str:
        who = "" if self.worker is None else f" ({self.worker})"
        listed = ", ".join(self.images[:_NAMED]) + (", …" if len(self.images) > _NAMED else "")
        return f"part {self.shard} {self.state}{who}: {self.samples} samples of {len(self.images)} images are missing: {listed}"


def write_plan(folder: Path, rows: Sequence[tuple[int, str, int]]) -> None:
    """Keep what a cell consists of beside its journals, so that what is missing can be told without the dataset.

    Args:
        folder: the run folder.
        rows: place among the cell's images, image id and number of samples, per image.
    """
    path = folder / "journal" / _PLAN
    columns = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), _ROWS, strict=True)]
    table = pa.table(columns, schema=_ROWS)
    try:
        if pq.read_table(path.absolute()).equals(table):
            return
    except (OSError, ValueError):  # absent, or damaged
        pass
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


class PlanError(RunError):
    """What a run consists of cannot be read; whoever continues it writes it anew."""


def missing_parts(folder: Path, content: str) -> list[Part]:
    """The parts of an unfinished run of which something is missing; empty where nobody has begun it, or another process finishes it meanwhile.

    Parts are those of the process that began last: a run that two shards began and one process continued has one.

    Args:
        folder: the run folder.
        content: what its records hold, as ``run.json`` says.

    Raises:
        RunError: a journal does not say who wrote it, or what the run consists of cannot be read.
    """
    try:
        return _missing(folder / "journal" / _PLAN, sorted((folder / "journal").glob(f"{content}.*.bin")))
    except FileNotFoundError:  # merged and dropped
        return []


def parts_of(folder: Path) -> list[Part]:
    """`missing_parts` with the content that ``run.json`` says.

    Raises:
        RunError: a journal does not say who wrote it.
    """
    about = json.loads((folder / "run.json").read_bytes())
    return missing_parts(folder, about.get("content", "masks"))


def _missing(plan: Path, journals: Sequence[Path]) -> list[Part]:
    seen = sorted(((Worker.from_json(opened["worker"]), path) for path in journals for opened in openings(path)), key=lambda pair: pair[0].started)
    if not seen or not plan.is_file():
        return []
    count = seen[-1][0].shard.count
    last = {worker.shard: (worker, path) for worker, path in seen if worker.shard.count == count}
    lacking: dict[Shard, list[tuple[str, int]]] = {}
    for group, image, samples in _lacking(plan, journals):
        lacking.setdefault(Shard.of(group, count), []).append((image, samples))
    parts = []
    for shard, its in sorted(lacking.items(), key=lambda item: item[0].index):
        worker, path = last.get(shard, (None, None))
        state = "was never started" if worker is None or path is None else _state(worker, path)
        parts.append(Part(shard, worker, state, sum(samples for _, samples in its), tuple(image for image, _ in its)))
    return parts


def _state(worker: Worker, journal: Path) -> str:
    if is_closed(journal):
        return "stopped"
    alive = worker.alive()
    if alive is None:
        return f"wrote last at {when(journal.stat().st_mtime)}"
    return "is at work" if alive else "died"


def _lacking(plan: Path, journals: Sequence[Path]) -> list[tuple[int, str, int]]:
    """Place, image id and number of missing samples of every image that is not whole."""
    done: dict[str, set[str]] = {}
    for frame in record_frames(journals):
        batch = read_batch(frame)
        for image, sample in zip(batch.column("image_id").to_pylist(), batch.column("sample_id").to_pylist(), strict=True):
            done.setdefault(image, set()).add(sample)
    try:
        rows = pq.read_table(plan.absolute()).to_pydict()
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise PlanError(f"{plan} cannot be read ({error}).", "It is written anew when the run is continued.") from error
    planned = zip(rows["group"], rows["image_id"], rows["samples"], strict=True)
    left = ((group, image, samples - len(done.get(image, ()))) for group, image, samples in planned)
    return [row for row in left if row[2] > 0]
