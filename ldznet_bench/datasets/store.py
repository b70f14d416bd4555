"""Prepared datasets: opened in milliseconds, memory-mapped, independent of the format they came from.

A prepared set is a folder ``HOME/prepared/<full name>/<source key>-<image key>/`` that appears whole or not at all:

    samples/      an Arrow dataset as Hugging Face `datasets` saves it; `columns.SAMPLES` says what its columns mean
    images/       the same for the images, in order of first appearance; `columns.IMAGES`
    meta.json     name, fingerprint, counts, absent tags, oddities, source files with their hashes

The source key hashes what decides the samples: the adapter's version, the card, and path, size and times of every source file; the image key
hashes size and times of every image. So a file that changes makes another folder. Old folders are left where they are, since another process
may be reading them; all of HOME/prepared can be deleted at any time.

This module reads; `prepare` writes. Hugging Face `datasets`, whose import costs over a second, is needed for writing only.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from ldznet_bench.datasets.card import DatasetCard
from ldznet_bench.datasets.columns import IMAGES, SampleTable, map_table
from ldznet_bench.datasets.counts import Found, differences
from ldznet_bench.datasets.sample import Entry, ImageFile, ImageGroup, Sample
from ldznet_bench.errors import DataError

META = "meta.json"

Stat = tuple[int, int, int]


class PreparedDataset:
    """One split of one dataset, on disk.

    Attributes:
        name: full name, which is stored and seeds every draw.
        family: of the name.
        partition: of the name, or None.
        split: of the name, or None for a whole folder.
        card: the family's card.
        mini: a miniature, never to stand beside real datasets.
        fingerprint: sha256 (hex), see `ldznet_bench.datasets.fingerprint`.
        partial: what differs from the card's counts, in words; empty where nothing does. Such a set stays out of leaderboards.
        release: which older release of the split this is, by its counts; None for the current one or where it cannot be told.
        absent_tags: tags that are unknown for every sample (not false), each with the reason.
        found: counts.
        path: the prepared folder.
    """

    def __init__(self, path: Path, card: DatasetCard) -> None:
        meta = json.loads((path / META).read_text(encoding="utf-8"))
        self.path = path
        self.card = card
        self.mini = card.mini
        self.name: str = meta["name"]
        self.family: str = meta["family"]
        self.partition: str | None = meta["partition"]
        self.split: str | None = meta["split"]
        self.fingerprint: str = meta["fingerprint"]
        self.found = Found(**meta["counts"])
        self.absent_tags: dict[str, str] = meta["absent_tags"]
        self.partial, self.release = differences(card.expected(self.partition, self.split), self.found, self.fingerprint)
        self._oddities: dict[str, int] = meta["oddities"]
        self._images = map_table(path / "images")
        self._samples = SampleTable.open(path / "samples", self._image_columns["image_id"])

    def __repr__(self) -> str:
        return f"PreparedDataset({self.name!r}, {self.n_samples} samples on {self.n_images} images)"

    def __reduce__(self) -> tuple[type[PreparedDataset], tuple[Path, DatasetCard]]:
        return PreparedDataset, (self.path, self.card)  # another process maps the same files

    def __len__(self) -> int:
        return self.n_samples

    @property
    def n_samples(self) -> int:
        """How many samples."""
        return len(self._samples)

    @property
    def n_images(self) -> int:
        """How many images, each with at least one sample."""
        return int(self._images.num_rows)

    def groups(self, indices: Iterable[int] | None = None) -> Iterator[ImageGroup]:
        """Images with their samples, in dataset order.

        Args:
            indices: positions of the groups wanted, in the order wanted; None for all.
        """
        for index in range(self.n_images) if indices is None else indices:
            yield self.group(index)

    def group(self, index: int) -> ImageGroup:
        """One image with its samples; costs a few microseconds per sample, anywhere in the set."""
        first, count = self._spans[index]
        return ImageGroup(self._image(index), tuple(self._samples.samples(first, count)), index, first)

    def sample(self, position: int) -> Sample:
        """The sample at a position of the dataset's order."""
        return self._samples.sample(position)

    def entries(self) -> Iterator[Entry]:
        """The list of all samples, in dataset order."""
        ids, bare = self.sample_ids(), self._samples.without_target()
        for group, (image_id, (first, count)) in enumerate(zip(self._image_columns["image_id"], self._spans, strict=True)):
            for position in range(first, first + count):
                yield Entry(group, image_id, ids[position], position in bare, functools.partial(self.sample, position))

    def find(self, sample_id: str) -> tuple[ImageFile, Sample]:
        """The sample of an id, with its image.

        Raises:
            DataError: there is no such sample.
        """
        position = self._positions.get(sample_id)
        if position is None:
            raise DataError(f"{self.name} has no sample {sample_id!r}.", f"Ids look like {self.sample(0).sample_id!r}.")
        sample = self.sample(position)
        return self._image(self._image_rows[sample.image_id]), sample

    def sample_ids(self) -> list[str]:
        """Ids of all samples, in dataset order."""
        return list(self._samples.table.column("sample_id").to_pylist())

    def image_ids(self) -> list[str]:
        """Ids of all images, in dataset order."""
        return list(self._image_columns["image_id"])

    def images(self) -> Iterator[ImageFile]:
        """Every image, in dataset order, without its samples."""
        return (self._image(index) for index in range(self.n_images))

    def counts_per_image(self) -> list[int]:
        """How many samples each image has, in dataset order."""
        return list(self._images.column("count").to_pylist())

    def problems(self) -> list[tuple[str, Path, str]]:
        """(image id, path, problem) of every image that is missing, truncated, unreadable, or of another size than annotated."""
        return [(image.image_id, image.path, image.problem) for image in self.images() if image.problem]

    def oddities(self) -> dict[str, int]:
        """How many samples (polygons) and images (sizes, files) have each kind of oddity; for run.json."""
        return dict(self._oddities)

    def column(self, name: str) -> list[Any]:
        """One column of the sample table as Python values, see `columns.SAMPLES`."""
        return list(self._samples.table.column(name).to_pylist())

    def _image(self, index: int) -> ImageFile:
        columns = self._image_columns
        return ImageFile(
            image_id=columns["image_id"][index],
            path=Path(columns["path"][index]),
            height=columns["height"][index],
            width=columns["width"][index],
            coco_id=columns["coco_id"][index],
            sha256=columns["sha256"][index],
            problem=columns["problem"][index],
        )

    @functools.cached_property
    def _image_columns(self) -> dict[str, list[Any]]:
        return {name: self._images.column(name).to_pylist() for name in IMAGES.names if name != "stat"}

    @functools.cached_property
    def _image_rows(self) -> dict[str, int]:
        return {image_id: row for row, image_id in enumerate(self._image_columns["image_id"])}

    @functools.cached_property
    def _spans(self) -> list[tuple[int, int]]:
        return list(zip(self._image_columns["first"], self._image_columns["count"], strict=True))

    @functools.cached_property
    def _positions(self) -> dict[str, int]:
        return {sample_id: position for position, sample_id in enumerate(self.sample_ids())}


def find_prepared(folder: Path, key: str) -> Path | None:
    """The prepared set of a source key whose images are still what they were, or None.

    Args:
        folder: ``HOME/prepared/<full name>``.
        key: source key.

    Raises:
        DataError: there is one, and something has damaged it.
    """
    if not folder.is_dir():
        return None
    for path in sorted(folder.glob(f"{key}-*")):
        try:
            stats = [stat_of(image) for image in map_table(path / "images").column("path").to_pylist()]
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"the prepared set {path} is damaged: {error}.", "Delete that folder; it will be made again.") from error
        if path.name == f"{key}-{image_key(stats)}":
            return path
    return None


def image_key(stats: Iterable[Stat | None]) -> str:
    """12 hex digits over the stat of every image, in dataset order."""
    return hashlib.sha256(json.dumps(list(stats), separators=(",", ":")).encode()).hexdigest()[:12]


def stat_of(path: str | Path) -> Stat | None:
    """Size, mtime and ctime (ns) of a file; None where it cannot be read or is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - called per image on opening
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
