"""Nouns that are not there: for each task of a PhraseCut split, one that no phrase on its image names. Made here, from a seed; the truth is empty."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from ldznet_bench.datasets.fields import Fields
from ldznet_bench.datasets.jsonstream import read_array
from ldznet_bench.datasets.phrasecut import PhraseCut
from ldznet_bench.datasets.sample import ImageFile, Sample
from ldznet_bench.errors import DataError
from ldznet_bench.masks.geometry import Geometry


@dataclass(frozen=True, slots=True)
class _Task:
    ident: str
    image_id: str
    noun: str
    words: frozenset[str]


class PhraseCutNegatives(PhraseCut):
    """One split; the partition ``seedN`` names the seed.

    A task draws a place in the list of all tasks of the split, so that nouns come as often as PhraseCut asks for them, and goes on from there to the
    first noun that shares no word with any phrase on its image, singular or plural, and that its image has not been asked for already.
    """

    version = 1

    def rows(self) -> Iterator[tuple[ImageFile, Sample]]:
        """See `Adapter.rows`."""
        tasks = [_task(Fields(element, f"{self.tasks}, element {index}")) for index, element in enumerate(read_array(self.tasks))]
        entries, find = self.image_entries(), self.image_finder()
        named: dict[str, set[str]] = {}
        for task in tasks:
            named.setdefault(task.image_id, set()).update(task.words)
        images: dict[str, ImageFile] = {}
        for task in tasks:
            if task.image_id not in entries:
                raise DataError(
                    f"{self.tasks}: the image {task.image_id} of task {task.ident!r} is not in {self.image_list}.", "Fetch the release again."
                )
            height, width, coco_id = entries[task.image_id]
            image = images.setdefault(task.image_id, ImageFile(task.image_id, find(f"{task.image_id}.jpg"), height, width, coco_id))
            noun = self._absent(task, tasks, named[task.image_id])
            named[task.image_id] |= _words(noun)
            yield image, Sample(f"{task.ident}__absent", task.image_id, noun, Geometry(height, width, ()), category=noun, tags=("no-target",))

    def _absent(self, task: _Task, tasks: list[_Task], present: set[str]) -> str:
        text = "\0".join(("phrasecut-negatives", str(self.request.name.partition), task.ident))
        start = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        for step in range(len(tasks)):
            noun = tasks[(start + step) % len(tasks)].noun
            if not _words(noun) & present:
                return noun
        raise DataError(
            f"{self.tasks}: the split names nothing that is absent from image {task.image_id}, so task {task.ident!r} has no negative.",
            "Take a larger split.",
        )


def _task(fields: Fields) -> _Task:
    noun = fields.fields("phrase_structure").text("name")
    return _Task(fields.identifier("task_id"), fields.identifier("image_id"), noun, frozenset(_words(fields.text("phrase")) | _words(noun)))


def _words(text: str) -> set[str]:
    """Lower case, without the endings of a plural, so that "glasses" and "glass" are one word."""
    words = set()
    for word in text.lower().split():
        plain = word.strip(".,;:!?\"'()")
        if len(plain) > 3 and plain.endswith("s") and not plain.endswith("ss"):
            plain = plain.removesuffix("es") if plain.endswith("es") else plain.removesuffix("s")
        words.add(plain.rstrip("e"))
    return words - {""}
