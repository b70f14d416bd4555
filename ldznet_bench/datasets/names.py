"""Names of datasets: ``family-partition:split`` and ``folder:PATH[:split]``, expanded to one full name that is stored and seeds draws."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ldznet_bench.cards import read_card
from ldznet_bench.datasets.card import DatasetCard, dataset_card, families
from ldznet_bench.errors import BenchError, DataError, unknown_name

FOLDER = "folder"


@dataclass(frozen=True, slots=True)
class DatasetName:
    """A dataset's name, taken apart.

    Attributes:
        family: ``refcoco``.
        partition: ``unc``; None for families without partitions.
        split: ``testA``; None for a whole ``folder:``.
        path: the folder of ``folder:PATH``; None otherwise.
    """

    family: str
    partition: str | None
    split: str | None
    path: Path | None = None

    @property
    def full(self) -> str:
        """The expanded name: ``refcoco-unc:testA``, ``phrasecut:test``, ``folder:<basename>``, ``folder:<basename>:<split>``."""
        head = self.family if self.partition is None else f"{self.family}-{self.partition}"
        if self.path is not None:
            head = f"{head}:{self.path.name}"
        return head if self.split is None else f"{head}:{self.split}"


def parse_name(text: str, override: Path | None = None) -> tuple[DatasetName, DatasetCard]:
    """The name that a user wrote, expanded, and its card.

    Args:
        text: ``refcoco:testA``, ``refcoco-unc:testA``, ``phrasecut:test``, ``folder:my/data``. A family with one split may leave it out.
        override: the user's own card (``--card``); it may declare a family that has no card yet.

    Raises:
        BenchError: unknown family, partition or split; the nearest name is given.
        DataError: the path of ``folder:PATH`` is no folder.
    """
    head, colon, split = text.partition(":")
    if head == FOLDER:
        return _folder(split, text), dataset_card(FOLDER, override)
    known = families() if override is None else sorted({*families(), read_card(override, DatasetCard).family})
    family, partition = _family(head, known, override)
    card = dataset_card(family, override)
    if card.partitions:
        partition = card.default_partition if partition is None else partition
        if partition not in card.partitions:
            raise unknown_name(f"partition of {family}", str(partition), card.partitions)
    elif partition is not None:
        raise BenchError(f"{family} has no partitions, so {text!r} names nothing.", f"Write {family}:{split or 'SPLIT'}.")
    return DatasetName(family, partition, _split(card, partition, split if colon else None, text)), card


def _family(head: str, known: list[str], override: Path | None) -> tuple[str, str | None]:
    if head in known:
        return head, None
    for family in sorted(known, key=len, reverse=True):
        if head.startswith(f"{family}-"):
            return family, head[len(family) + 1 :]
    raise unknown_name("dataset", head, [*known, *_heads(known, override)])


def _heads(known: list[str], override: Path | None) -> list[str]:
    from ldznet_bench.cards import card_names

    ours = [family for family in known if family in card_names("datasets")]
    return [f"{family}-{partition}" for family in ours for partition in dataset_card(family).partitions]


def _split(card: DatasetCard, partition: str | None, split: str | None, text: str) -> str:
    normal = card.splits_of(partition)
    if not split:
        if len(normal) == 1:
            return next(iter(normal))
        raise BenchError(f"the dataset {text!r} lacks its split.", "One of: " + ", ".join(name for name, _ in card.names()) + ".")
    if split not in normal and split not in card.other_splits:
        raise unknown_name(f"split of {card.family}", split, [*normal, *card.other_splits])
    return split


def _folder(rest: str, text: str) -> DatasetName:
    if not rest:
        raise BenchError(f"{text!r} lacks its path.", "Write folder:PATH, where PATH holds images/ and phrases.csv; see docs/folder.md.")
    path, split = Path(rest).expanduser(), None
    if not path.is_dir() and ":" in rest:
        before, _, after = rest.rpartition(":")
        path, split = Path(before).expanduser(), after or None
    if not path.is_dir():
        raise DataError(f"{path} is no folder.", "folder:PATH takes a folder with images/ and phrases.csv; see docs/folder.md.")
    return DatasetName(FOLDER, None, split, path.resolve())
