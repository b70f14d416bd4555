"""A sample: one (image, phrase, annotated truth); and the image file that its samples share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ldznet_bench.masks.geometry import Geometry


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image of a dataset.

    Attributes:
        image_id: the source's own id, as text.
        path: where the file is, absolute; it may be absent (`sha256` is then None), which only scoring tolerates.
        height: rows that the annotation states (the file may contradict it).
        width: columns that the annotation states.
        coco_id: the COCO image id where the source knows one, for leakage audits.
        sha256: of the file's bytes, hex; None where the file was absent when the set was prepared.
        problem: empty, or what is wrong with the file in words ("missing", "truncated", "size 640x480, annotation says 640x427").
    """

    image_id: str
    path: Path
    height: int
    width: int
    coco_id: int | None = None
    sha256: str | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One (image, phrase, geometry).

    Attributes:
        sample_id: the source's own (PhraseCut ``task_id``, REFER ``sent_id``); unique in its split.
        image_id: of its image.
        phrase: the prompt, byte for byte as the source has it (PhraseCut ``phrase``, REFER ``raw``, AIGI caption).
        geometry: what the source annotates.
        category: class name of the object where the source has one.
        sent: REFER's cleaned sentence; None elsewhere.
        ref_id: REFER's referent id, ties the sentences of one object together; None elsewhere.
        boxes: (x, y, w, h) in pixels per instance as the source states them; empty where it states none.
        tags: slice names that the sample belongs to (PhraseCut's official subsets), in the source's order.
    """

    sample_id: str
    image_id: str
    phrase: str
    geometry: Geometry
    category: str | None = None
    sent: str | None = None
    ref_id: str | None = None
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def no_target(self) -> bool:
        """Whether the source says that nothing on the image answers to the phrase."""
        return not self.geometry.instances


class Entry(NamedTuple):
    """A sample in its dataset's list, where most are never looked at.

    Attributes:
        group: position of its image's group.
        image_id: of its image.
        sample_id: its own.
        no_target: as `Sample.no_target`.
        read: gives the sample.
    """

    group: int
    image_id: str
    sample_id: str
    no_target: bool
    read: Callable[[], Sample]


@dataclass(frozen=True, slots=True)
class ImageGroup:
    """An image with all samples on it, in dataset order: the unit that the evaluation loop and the shards work in.

    Attributes:
        image: the file.
        samples: at least one.
        index: position of the group in its dataset, from 0.
        first: position of its first sample in the dataset's order, from 0.
    """

    image: ImageFile
    samples: tuple[Sample, ...]
    index: int = field(default=0)
    first: int = field(default=0)
