"""How samples lie in Arrow: one row each, geometry flattened to columns of numbers, so that reading a polygon is a view of the file.

Nested lists of structs would cost a Python object per coordinate, 4 million of them on PhraseCut's test split.
"""

from __future__ import annotations

import bisect
import itertools
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ldznet_bench.datasets.sample import Sample
from ldznet_bench.masks.geometry import Geometry, Part, Polygon, Rle

SAMPLES = pa.schema(
    [
        pa.field("sample_id", pa.string()),
        pa.field("image", pa.int32()),  # row of the image table
        pa.field("phrase", pa.string()),
        pa.field("category", pa.string()),
        pa.field("sent", pa.string()),
        pa.field("ref_id", pa.string()),
        pa.field("tags", pa.list_(pa.string())),
        pa.field("boxes", pa.list_(pa.float64())),  # x, y, w, h of each instance
        pa.field("height", pa.int32()),  # of the annotation canvas
        pa.field("width", pa.int32()),
        pa.field("instance_parts", pa.list_(pa.int32())),  # parts of each instance
        pa.field("ignore_parts", pa.int32()),  # parts to ignore, which follow those of the instances
        pa.field("part_points", pa.list_(pa.int32())),  # vertices of each part; -1 for a run-length code, which takes the next of `rle_*`
        pa.field("xy", pa.list_(pa.float64())),  # x, y of every vertex of every polygon
        pa.field("rle_height", pa.list_(pa.int32())),
        pa.field("rle_width", pa.list_(pa.int32())),
        pa.field("rle_counts", pa.list_(pa.binary())),
    ]
)
IMAGES = pa.schema(
    [
        pa.field("image_id", pa.string()),
        pa.field("path", pa.string()),
        pa.field("height", pa.int32()),  # as annotated
        pa.field("width", pa.int32()),
        pa.field("coco_id", pa.int64()),
        pa.field("sha256", pa.string()),  # null: absent when the set was prepared
        pa.field("problem", pa.string()),
        pa.field("first", pa.int64()),  # row of its first sample; its samples are contiguous
        pa.field("count", pa.int32()),
        pa.field("stat", pa.list_(pa.int64())),  # size, mtime_ns, ctime_ns; null: absent
    ]
)

DATA_FILE = "data-00000-of-00001.arrow"

_NO_XY: npt.NDArray[np.float64] = np.empty(0, dtype=np.float64)


def map_table(folder: Path) -> pa.Table:
    """The table in a folder as Hugging Face `datasets` lays it out, memory-mapped."""
    with pa.memory_map(str(folder / DATA_FILE)) as source:
        return pa.ipc.open_stream(source).read_all()


def sample_table(rows: Sequence[tuple[int, Sample]]) -> pa.Table:
    """A table of `SAMPLES` from (image row, sample) pairs."""
    samples = [sample for _, sample in rows]
    geometries = [sample.geometry for sample in samples]
    parts = [geometry.parts + geometry.ignore for geometry in geometries]
    codes = [[part for part in each if isinstance(part, Rle)] for each in parts]
    columns = [
        pa.array([sample.sample_id for sample in samples], pa.string()),
        pa.array([image for image, _ in rows], pa.int32()),
        pa.array([sample.phrase for sample in samples], pa.string()),
        pa.array([sample.category for sample in samples], pa.string()),
        pa.array([sample.sent for sample in samples], pa.string()),
        pa.array([sample.ref_id for sample in samples], pa.string()),
        pa.array([sample.tags for sample in samples], pa.list_(pa.string())),
        pa.array([[number for box in sample.boxes for number in box] for sample in samples], pa.list_(pa.float64())),
        pa.array([geometry.height for geometry in geometries], pa.int32()),
        pa.array([geometry.width for geometry in geometries], pa.int32()),
        pa.array([[len(instance) for instance in geometry.instances] for geometry in geometries], pa.list_(pa.int32())),
        pa.array([len(geometry.ignore) for geometry in geometries], pa.int32()),
        pa.array([[_points(part) for part in each] for each in parts], pa.list_(pa.int32())),
        _coordinates(parts),
        pa.array([[code.height for code in each] for each in codes], pa.list_(pa.int32())),
        pa.array([[code.width for code in each] for each in codes], pa.list_(pa.int32())),
        pa.array([[code.counts for code in each] for each in codes], pa.list_(pa.binary())),
    ]
    return pa.Table.from_arrays(columns, schema=SAMPLES)


def _points(part: Part) -> int:
    return len(part.xy) if isinstance(part, Polygon) else -1


def _coordinates(parts: Sequence[Sequence[Part]]) -> pa.ListArray:
    rings = [[part.xy for part in each if isinstance(part, Polygon)] for each in parts]
    lengths = [sum(2 * len(ring) for ring in each) for each in rings]
    offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))).astype(np.int32)
    values = np.concatenate([_NO_XY, *(ring.ravel() for each in rings for ring in each)])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, pa.float64()))


class SampleTable:
    """The samples of an Arrow file by position, without reading more than is asked for."""

    def __init__(self, table: pa.Table, image_ids: Sequence[str]) -> None:
        self.table = table
        self.image_ids = image_ids
        self.batches = table.to_batches()
        self.ends: list[int] = [0, *itertools.accumulate(batch.num_rows for batch in self.batches)]
        self.opened: dict[int, SampleBatch] = {}
        self._file: mmap.mmap | None = None
        self._resident: int | None = None

    @classmethod
    def open(cls, folder: Path, image_ids: Sequence[str]) -> Self:
        """The samples in a folder, memory-mapped; of what was read, one batch of 1,000 at most counts as memory of the process."""
        with (folder / DATA_FILE).open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        found = cls(pa.ipc.open_stream(pa.py_buffer(mapped)).read_all(), image_ids)
        found._file = mapped
        return found

    def __len__(self) -> int:
        return self.ends[-1]

    def without_target(self) -> set[int]:
        """Positions of the samples that have no instance."""
        counts = np.concatenate([np.empty(0, np.int32), *(np.diff(batch.column("instance_parts").offsets) for batch in self.batches)])
        return set(np.flatnonzero(counts == 0).tolist())

    def locate(self, position: int) -> tuple[SampleBatch, int]:
        """The batch that holds a position, and the row within it."""
        if not 0 <= position < len(self):
            raise IndexError(f"sample {position} of {len(self)}")
        number = bisect.bisect_right(self.ends, position) - 1
        batch = self.opened.get(number)
        if batch is None:
            batch = self.opened[number] = SampleBatch(self.batches[number], self.image_ids)
        if self._file is not None and number != self._resident:
            if self._resident is not None:
                _let_go(self._file)
            self._resident = number
        return batch, position - self.ends[number]

    def sample(self, position: int) -> Sample:
        """The sample at a position."""
        batch, row = self.locate(position)
        return batch.samples(row, 1)[0]

    def samples(self, position: int, count: int) -> list[Sample]:
        """`count` samples from a position on."""
        found: list[Sample] = []
        while len(found) < count:
            batch, row = self.locate(position + len(found))
            found += batch.samples(row, min(count - len(found), batch.batch.num_rows - row))
        return found


def _let_go(file: mmap.mmap) -> None:
    """Pages that were read stay the process's, 2.2 KB a sample, until it lets go of them; they are mapped again if they are needed again."""
    if hasattr(mmap, "MADV_DONTNEED"):
        file.madvise(mmap.MADV_DONTNEED)


class SampleBatch:
    """Samples of one record batch of `SAMPLES`; numbers are views of the memory-mapped file."""

    def __init__(self, batch: pa.RecordBatch, image_ids: Sequence[str]) -> None:
        self.batch = batch
        self.image_ids = image_ids
        self.column = {name: batch.column(name) for name in SAMPLES.names}
        self.images = self.column["image"].to_numpy()
        self.height = self.column["height"].to_numpy()
        self.width = self.column["width"].to_numpy()
        self.boxes = _Lists(self.column["boxes"])
        self.instance_parts = _Lists(self.column["instance_parts"])
        self.part_points = _Lists(self.column["part_points"])
        self.xy = _Lists(self.column["xy"])

    def samples(self, row: int, count: int) -> list[Sample]:
        """`count` samples from a row of the batch on; texts are fetched together, each costs a call otherwise."""
        texts = [self.column[name].slice(row, count).to_pylist() for name in ("sample_id", "phrase", "category", "sent", "ref_id", "tags")]
        return [
            Sample(
                sample_id=sample_id,
                image_id=self.image_ids[self.images[at]],
                phrase=phrase,
                geometry=self.geometry(at),
                category=category,
                sent=sent,
                ref_id=ref_id,
                boxes=tuple((x, y, w, h) for x, y, w, h in self.boxes[at].reshape(-1, 4).tolist()),
                tags=tuple(tags),
            )
            for at, (sample_id, phrase, category, sent, ref_id, tags) in enumerate(zip(*texts, strict=True), row)
        ]

    def geometry(self, row: int) -> Geometry:
        """The geometry in a row of the batch."""
        xy, each = self.xy[row].reshape(-1, 2), self.part_points[row].tolist()
        codes = iter(self._codes(row) if -1 in each else ())
        parts: list[Part] = []
        end = 0
        for points in each:
            if points < 0:
                parts.append(next(codes))
            else:
                start, end = end, end + points
                parts.append(Polygon(xy[start:end]))
        instances, end = [], 0
        for count in self.instance_parts[row].tolist():
            start, end = end, end + count
            instances.append(tuple(parts[start:end]))
        return Geometry(int(self.height[row]), int(self.width[row]), tuple(instances), tuple(parts[end:]))

    def _codes(self, row: int) -> list[Rle]:
        columns = (self.column[name][row].as_py() for name in ("rle_height", "rle_width", "rle_counts"))
        return [Rle(*code) for code in zip(*columns, strict=True)]


class _Lists:
    """A list column of numbers: row -> NumPy view."""

    def __init__(self, column: Any) -> None:  # noqa: ANN401 - pyarrow has no types
        self.offsets = column.offsets.to_numpy()
        self.values = column.values.to_numpy()

    def __getitem__(self, row: int) -> npt.NDArray[Any]:
        view: npt.NDArray[Any] = self.values[self.offsets[row] : self.offsets[row + 1]]
        return view
