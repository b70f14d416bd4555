"""What a split's annotations hold: their counts, and the images they need, before a single image has been fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldznet_bench.datasets.counts import Found
from ldznet_bench.datasets.fields import Fields
from ldznet_bench.datasets.grefer import target_ids
from ldznet_bench.datasets.jsonstream import read_array
from ldznet_bench.datasets.refcoco_m import image_fields, tables_in
from ldznet_bench.datasets.refer import in_split
from ldznet_bench.datasets.safe_pickle import load_plain_pickle
from ldznet_bench.errors import DataError

_IMAGE_LISTS = ("image_data_split.json", "image_data_split3000.json")

ImageFields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Listed:
    """A split by its annotations alone.

    Attributes:
        found: counts, to hold against the card's.
        images: fields of each needed image, once each, for the templates of `ImagesSpec`.
    """

    found: Found
    images: tuple[ImageFields, ...]


Listing = Callable[[Path, str | None, str], Listed]
"""From (release folder, partition, split)."""


def list_phrasecut(release: Path, partition: str | None, split: str) -> Listed:
    """Images of the tasks in ``refer_<split>.json``, with their ``url`` in the image list."""
    del partition
    tasks = release / f"refer_{split}.json"
    needed: dict[int, None] = {}
    phrases = instances = 0
    for task in read_array(tasks):
        needed[_whole_number(task, "image_id", tasks)] = None
        phrases += 1
        instances += len(task.get("Polygons") or ())
    image_list = next((release / name for name in _IMAGE_LISTS if (release / name).is_file()), release / _IMAGE_LISTS[-1])
    urls = {_whole_number(entry, "image_id", image_list): entry.get("url") for entry in read_array(image_list)}
    images = tuple({"image_id": image_id, "url": str(urls.get(image_id) or "")} for image_id in needed)
    return Listed(Found(len(images), phrases, None, instances), images)


def list_refer(folder: Path, partition: str | None, split: str) -> Listed:
    """Images of the refs of a split. The file names that refs state are wrong; the image ids are not."""
    path = folder / f"refs({partition}).p"
    entries = load_plain_pickle(path)
    if not isinstance(entries, list):
        raise DataError(f"{path} is no list of refs.", "Fetch it again.")
    refs = [entry for entry in entries if isinstance(entry, Mapping) and in_split(str(entry.get("split")), split)]
    needed = dict.fromkeys(_whole_number(ref, "image_id", path) for ref in refs)
    sentences = sum(len(ref.get("sentences") or ()) for ref in refs)
    return Listed(Found(len(needed), sentences, len(refs), sentences), tuple({"image_id": image_id} for image_id in needed))


def list_grefer(folder: Path, partition: str | None, split: str) -> Listed:
    """Images of gRefCOCO's refs of a split, which may name nothing."""
    path = folder / f"grefs({partition}).json"
    refs = [Fields(entry, f"{path}, element {index}") for index, entry in enumerate(read_array(path))]
    refs = [ref for ref in refs if in_split(ref.text("split"), split)]
    needed = dict.fromkeys(ref.integer("image_id") for ref in refs)
    counts = [(len(ref.items("sentences")), len(target_ids(ref))) for ref in refs]
    found = Found(len(needed), sum(sentences for sentences, _ in counts), len(refs), sum(sentences * targets for sentences, targets in counts))
    return Listed(found, tuple({"image_id": image_id} for image_id in needed))


def list_refcoco_m(folder: Path, partition: str | None, split: str) -> Listed:
    """Images of RefCOCO-M, whatever masks are asked for."""
    del partition, split
    rows = list(image_fields(tables_in(folder)))
    instances = [one for _, each in rows for one in each]
    sentences = sum(len(one.items("sentences")) for one in instances)
    return Listed(Found(len(rows), sentences, len(instances), sentences), tuple(image for image, _ in rows))


LISTINGS: dict[str, Listing] = {"phrasecut": list_phrasecut, "refer": list_refer, "grefer": list_grefer, "refcoco-m": list_refcoco_m}


def _whole_number(entry: object, key: str, where: Path) -> int:
    value = entry.get(key) if isinstance(entry, Mapping) else None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DataError(f"{where}: {key} is {value!r} in one of its entries; a whole number was expected.", "Fetch the file again.")
    return value
