"""A dataset in memory with the interface that the loop uses, so that loop tests need no files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ldznet_bench.datasets.sample import Entry, ImageFile, ImageGroup, Sample
from ldznet_bench.evaluation.cell import Cell, Settings
from ldznet_bench.masks.geometry import Geometry, polygon
from ldznet_bench.models.segmenter import Segmenter
from ldznet_bench.protocols import get_protocol


def entries(groups: Iterable[ImageGroup]) -> Iterator[Entry]:
    for group in groups:
        for sample in group.samples:
            yield Entry(group.index, sample.image_id, sample.sample_id, sample.no_target, partial(lambda its: its, sample))


class FakeDataset:
    name, family, partition, split, mini = "fake:test", "fake", None, "test", False
    fingerprint = "f" * 64
    partial: tuple[str, ...] = ()
    absent_tags: tuple[str, ...] = ()

    def __init__(self, images: int = 20, per_image: int = 3, size: tuple[int, int] = (40, 60)) -> None:
        draw = np.random.default_rng(0)
        self._groups = []
        for index in range(images):
            image = ImageFile(f"im{index}", Path("absent.jpg"), *size)
            samples = []
            for k in range(per_image):
                count = int(draw.integers(1, 4))
                instances = tuple((polygon(draw.uniform(0, 40, (5, 2))),) for _ in range(count))
                tags = ("all", "many" if count > 2 else "few")
                samples.append(Sample(f"{index}_{k}", image.image_id, f"thing {k}", Geometry(*size, instances), tags=tags))
            self._groups.append(ImageGroup(image, tuple(samples), index, index * per_image))
        self.n_images, self.n_samples = images, images * per_image

    def groups(self, indices: Iterable[int] | None = None) -> Iterator[ImageGroup]:
        return iter(self._groups if indices is None else [self._groups[index] for index in indices])

    def entries(self) -> Iterator[Entry]:
        return entries(self._groups)

    def sample_ids(self) -> list[str]:
        return [sample.sample_id for group in self._groups for sample in group.samples]

    def problems(self) -> list[tuple[str, Path, str]]:
        return []

    def oddities(self) -> dict[str, int]:
        return {}


class Bar:
    def __init__(self, title: str = "", total: int = 0) -> None:
        self.total, self.done = total, 0

    def update(self, samples: int) -> None:
        self.done += samples


def make_cell(tmp_path: Path, segmenter: Segmenter, protocol: str = "native@1", dataset: object = None, **settings: object) -> Cell:
    return Cell(dataset or FakeDataset(), segmenter, get_protocol(protocol), Settings(output=tmp_path / "runs", **settings))  # type: ignore[arg-type]


def content(cell: Cell) -> tuple[bytes, bytes]:
    """The bytes that are promised to be identical."""
    return (cell.folder.path / "records.parquet").read_bytes(), (cell.folder.path / "summary.json").read_bytes()
