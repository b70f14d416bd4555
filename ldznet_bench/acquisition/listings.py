"""Which images a split needs, read from its annotations: thousands of small files instead of a 15 GB archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ldznet_bench.datasets.jsonstream import read_array
from ldznet_bench.datasets.safe_pickle import load_plain_pickle
from ldznet_bench.errors import DataError

Fields = dict[str, Any]
Listing = Callable[[Path, str | None, str], Iterator[Fields]]
"""From (release folder, partition, split) to the fields of each needed image, once each."""

_IMAGE_LISTS = ("image_data_split3000.json", "image_data_split.json")


def list_phrasecut(root: Path, partition: str | None, split: str) -> Iterator[Fields]:
    """Images of the tasks in ``refer_<split>.json``, with their ``url`` in the image list."""
    del partition
    tasks = root / f"refer_{split}.json"
    needed = dict.fromkeys(_whole_number(task, "image_id", tasks) for task in read_array(tasks))
    image_list = next((root / name for name in _IMAGE_LISTS if (root / name).is_file()), root / _IMAGE_LISTS[0])
    urls = {_whole_number(entry, "image_id", image_list): str(entry.get("url") or "") for entry in read_array(image_list)}
    for image_id in needed:
        yield {"image_id": image_id, "url": urls.get(image_id, "")}


def list_refer(root: Path, partition: str | None, split: str) -> Iterator[Fields]:
    """Images of the refs of a split; REFER's own file names in refs are wrong, the id is not.

    ``test`` also means testA and testB, as in REFER's getRefIds.
    """
    refs = root / f"refs({partition}).p"
    entries = load_plain_pickle(refs)
    if not isinstance(entries, list):
        raise DataError(f"{refs} is no list of refs.", "Fetch it again.")
    needed: dict[int, None] = {}
    for entry in entries:
        if not isinstance(entry, Mapping):
            raise DataError(f"{refs} holds {type(entry).__name__} where a ref should be.", "Fetch it again.")
        own = str(entry.get("split"))
        if own == split or (split == "test" and "test" in own):
            needed[_whole_number(entry, "image_id", refs)] = None
    for image_id in needed:
        yield {"image_id": image_id}


LISTINGS: dict[str, Listing] = {"phrasecut": list_phrasecut, "refer": list_refer}


def _whole_number(entry: object, key: str, where: Path) -> int:
    value = entry.get(key) if isinstance(entry, Mapping) else None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DataError(f"{where}: {key} is {value!r} in one of its entries; a whole number was expected.", "Fetch the file again.")
    return value
