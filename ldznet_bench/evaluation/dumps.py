"""JSON dumps of other models: masks as COCO run lengths, by sample id, or by image and phrase where a model never knew the ids.

The forms, all of which may also be one JSON value per line (``.jsonl``):

    [{"sample_id": …, "segmentation": RLE}, …]                    also task_id or sent_id
    {sample id: RLE, …}
    [{"image": …, "phrase": …, "masks": [RLE, …]}, …]             also image_id or file_name; sentence, sent, text, query or expression
    {image: {phrase: RLE, …}, …}
    {phrase: RLE, …}                                              where every phrase is on one image only

RLE is {"size": [h, w], "counts": …}; a list of them is one answer of several instances, and their union counts. An image goes by its id or its file's
name, with or without folders and ending; a phrase as the dataset has it, or by its words alone: case and spaces do not count.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ldznet_bench.errors import PredictionError

if TYPE_CHECKING:
    from ldznet_bench.datasets.sample import ImageFile, ImageGroup

IDS = ("sample_id", "task_id", "sent_id")
_IMAGES = ("image", "image_id", "img_id", "file_name", "image_path")
_PHRASES = ("phrase", "sentence", "sent", "text", "query", "expression", "caption")
_MASKS = ("segmentation", "masks", "mask", "pred_masks", "pred_mask", "rle")


@dataclass(frozen=True, slots=True)
class Answer:
    """One entry of a dump.

    Attributes:
        place: of the entry, for errors.
        sample_id: None where the dump has none; equal to `phrase` where a key may be either.
        image: as the dump names it; None where it does not.
        phrase: as the dump has it; None where the id is enough.
        codes: unchecked run-length codes of its instances.
    """

    place: str
    sample_id: str | None
    image: str | None
    phrase: str | None
    codes: tuple[Any, ...]

    def __str__(self) -> str:
        on = "" if self.image is None else f" on image {self.image!r}"
        return f"{self.place} ({self.phrase!r}{on})"


def read_dump(path: Path) -> list[Answer]:
    """Every entry of a dump, as it stands.

    Raises:
        PredictionError: no JSON, or an entry of no known form.
    """
    try:
        text = path.read_text(encoding="utf-8")
        value: Any = [json.loads(line) for line in text.splitlines() if line.strip()] if path.suffix == ".jsonl" else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PredictionError(f"{path} is not valid JSON ({error}).", "Write the file again.") from error
    if isinstance(value, list):
        return [_entry(path, index, item) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        raise PredictionError(
            f"{path} holds a {type(value).__name__}.", "Expected a list of results or an object; docs/other-models.md has the forms."
        )
    return list(_keyed(value))


def by_sample(path: Path, answers: Sequence[Answer], groups: Iterable[ImageGroup] | None) -> dict[str, tuple[Any, ...]]:
    """Codes by sample id.

    Args:
        path: of the dump, for errors.
        answers: its entries.
        groups: the dataset's images with their samples, where entries go by image and phrase; None allows ids only.

    Raises:
        PredictionError: a sample has two different answers, an entry fits no sample, or a phrase without image is on several; all are named.
    """
    index = None if groups is None else _Index(groups)
    if index is not None and index.go_by_phrase(answers):
        answers = [replace(answer, sample_id=None) for answer in answers]
    others = [answer for answer in answers if answer.sample_id is None]
    if others and index is None:
        raise PredictionError(f"{path}: {others[0]} has no sample_id.", "Score it with its dataset: ldznet-bench score --dataset NAME.")
    found = [(answer.sample_id, answer) for answer in answers if answer.sample_id is not None]
    return _once(path, found if index is None else [*found, *_resolved(path, others, index)])


def _resolved(path: Path, answers: Sequence[Answer], index: _Index) -> Iterator[tuple[str, Answer]]:
    lost = [answer for answer in answers if not index.find(answer)]
    if lost:
        what = f"{path}: {len(lost)} of {len(answers)} entries fit no sample of this split: {_some(map(str, lost))}."
        raise PredictionError(what, "Images go by id or file name, phrases by their words; name the split that the dump is for.")
    loose = [answer for answer in answers if answer.image is None and len({image for image, _ in index.find(answer)}) > 1]
    if loose:
        raise PredictionError(
            f"{path}: {len(loose)} phrases are on several images and name none: {_some(map(str, loose))}.", "Write {image: {phrase: RLE}} instead."
        )
    for answer in answers:
        for _, ident in index.find(answer):
            yield ident, answer


def _once(path: Path, found: Sequence[tuple[str, Answer]]) -> dict[str, tuple[Any, ...]]:
    """One answer per sample. The same words twice on one image may be answered twice, if alike."""
    kept: dict[str, Answer] = {}
    doubled: Counter[str] = Counter()
    for ident, answer in found:
        first = kept.setdefault(ident, answer)
        doubled[ident] += first is not answer and (answer.sample_id is not None or first.codes != answer.codes)
    twice = [ident for ident, count in doubled.items() if count]
    if twice:
        what = f"{path}: {len(twice)} samples have two predictions ({_some(twice)})."
        raise PredictionError(what, "Keep one; several instances of one answer are a list of masks.")
    return {ident: answer.codes for ident, answer in kept.items()}


class _Index:
    """Samples of a dataset by id, and by image and words."""

    def __init__(self, groups: Iterable[ImageGroup]) -> None:
        self.ids: set[str] = set()
        self._by_phrase: dict[str, list[tuple[str, str]]] = {}
        self._images: dict[str, str] = {}
        for group in groups:
            for name in _names(group.image):
                self._images.setdefault(name, group.image.image_id)
            for sample in group.samples:
                self.ids.add(sample.sample_id)
                for phrase in dict.fromkeys((_words(sample.phrase), _words(sample.sent or sample.phrase))):
                    self._by_phrase.setdefault(phrase, []).append((group.image.image_id, sample.sample_id))

    def go_by_phrase(self, answers: Sequence[Answer]) -> bool:
        """Whether keys that may be ids or phrases are phrases: not one is an id, and one is a phrase."""
        either = all(answer.sample_id is not None and answer.sample_id == answer.phrase for answer in answers)
        return either and not any(answer.sample_id in self.ids for answer in answers) and any(self.find(answer) for answer in answers)

    def find(self, answer: Answer) -> list[tuple[str, str]]:
        """(image id, sample id) of the samples that an entry answers."""
        found = self._by_phrase.get(_words(answer.phrase or ""), [])
        if answer.image is None:
            return found
        image = self._images.get(answer.image) or self._images.get(_stem(answer.image))
        return [(at, ident) for at, ident in found if at == image]


def _names(image: ImageFile) -> tuple[str, ...]:
    return image.image_id, image.path.name, image.path.stem


def _stem(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).stem


def _words(text: str) -> str:
    return " ".join(text.lower().split())


def _entry(path: Path, index: int, item: Any) -> Answer:  # noqa: ANN401 - whatever the JSON holds
    place = f"entry {index}"
    masks = _first(item, _MASKS)
    ident, phrase = _first(item, IDS), _first(item, _PHRASES)
    if masks is None or (ident is None and phrase is None):
        raise PredictionError(
            f"{path}: entry {index} has no sample_id (or task_id, sent_id) with a segmentation, nor an image and a phrase with masks.",
            'Write [{"sample_id": …, "segmentation": {"size": [h, w], "counts": …}}, …]; docs/other-models.md has the other forms.',
        )
    image = _first(item, _IMAGES)
    return Answer(place, _text(ident), None if ident is not None else _text(image), None if ident is not None else _text(phrase), _codes(masks))


def _keyed(value: Mapping[str, Any]) -> Iterator[Answer]:
    for key, item in value.items():
        if isinstance(item, Mapping) and "counts" not in item and "size" not in item:
            for phrase, masks in item.items():
                yield Answer(f"entry {key!r}", None, key, phrase, _codes(masks))
        else:
            yield Answer(f"entry {key!r}", key, None, key, _codes(item))  # an id, or a phrase


def _codes(masks: Any) -> tuple[Any, ...]:  # noqa: ANN401 - whatever the JSON holds
    return tuple(masks) if isinstance(masks, list) else (masks,)


def _first(item: Any, keys: Sequence[str]) -> Any:  # noqa: ANN401 - whatever the JSON holds
    return next((item[key] for key in keys if item.get(key) is not None), None) if isinstance(item, Mapping) else None


def _text(value: Any) -> str | None:  # noqa: ANN401 - whatever the JSON holds
    return None if value is None else str(value)


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
