"""Taking away what was fetched and prepared, and nothing else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ldznet_bench.acquisition.home import Home
from ldznet_bench.acquisition.ledger import Ledger
from ldznet_bench.acquisition.specs import CardFiles
from ldznet_bench.acquisition.targets import DatasetTarget, Target
from ldznet_bench.datasets.card import dataset_card, families


@dataclass(frozen=True, slots=True)
class Removal:
    """What would go.

    Attributes:
        name: of the target.
        paths: files and folders, each below the home.
        size: bytes in them.
        kept: what stays although the name covers it, with the reason.
        ledger: the file of arrivals of its folder.
        prefixes: of that ledger, whose pins may go, too.
    """

    name: str
    paths: tuple[Path, ...]
    size: int
    kept: tuple[str, ...]
    ledger: Path
    prefixes: tuple[str, ...]


def plan_removal(target: Target, home: Home, every_split: bool) -> Removal:
    """What a name covers: of a whole family or set of weights everything, of a split its own files and its prepared set.

    Args:
        target: what was named.
        home: where it is.
        every_split: the whole family was named.
    """
    folder = target.folder(home)
    kept: list[str] = []
    if not isinstance(target, DatasetTarget):
        paths = [folder, home.archives / target.files.root]
    elif every_split:
        paths, kept = _family(target, home)
    else:
        only_here = [item.path for item in target.files.files if item.splits and set(item.splits) <= set(target.item_splits)]
        paths = [folder / path for path in only_here]
        kept = ["images and files that other splits need, too (name the whole family to remove them)"]
    if isinstance(target, DatasetTarget):
        paths += [home.prepared_set(target.full_name(split)) for split in target.splits]
    existing = tuple(dict.fromkeys(path for path in paths if path.exists()))
    prefixes = tuple(home.relative(path) for path in existing if path.is_relative_to(home.datasets) or path.is_relative_to(home.weights))
    return Removal(target.name, existing, sum(map(size_of, existing)), tuple(kept), home.ledger(folder), prefixes)


def remove(removal: Removal, forget_pins: bool) -> None:
    """Take it away. Pins stay, so that what is fetched next must be the same, unless they are to be forgotten."""
    for path in removal.paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if forget_pins:
        ledger = Ledger(removal.ledger)
        for prefix in removal.prefixes:
            ledger.forget(prefix)


def size_of(path: Path) -> int:
    """Bytes below a path."""
    return sum(file.lstat().st_size for file in _files(path))


def _family(target: DatasetTarget, home: Home) -> tuple[list[Path], list[str]]:
    """Everything of a family; of a root that several families share (REFER), only its own files, and the images when it is the last."""
    folder = target.folder(home)
    archives = home.archives / target.files.root
    sharing = [(family, files) for family, files in _sharing(target) if _is_here(files, home)]
    if not sharing:
        return [folder, archives], []
    theirs = {item.path for _, files in sharing for item in files.files}
    own = [item.path for item in target.files.files if item.role == "file" and item.path not in theirs]
    names = " and ".join(family for family, _ in sharing)
    return [folder / path for path in own], [f"the images, which {names} {'needs' if len(sharing) == 1 else 'need'}, too"]


def _sharing(target: DatasetTarget) -> list[tuple[str, CardFiles]]:
    cards = [dataset_card(family) for family in families() if family != target.card.family]
    return [(card.family, card.files) for card in cards if card.files is not None and card.files.root == target.files.root]


def _is_here(files: CardFiles, home: Home) -> bool:
    """Whether the first of a family's files is: the one that it cannot do without, and borrows from no other (RefCOCO-M reads RefCOCO's, too)."""
    first = next(item for item in files.files if item.role == "file")
    return (home.datasets / files.root / first.path).exists()


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir() or path.is_symlink():
        yield path
        return
    for folder, _, names in os.walk(path):
        yield from (Path(folder, name) for name in names)
