"""What a dataset card says. See `ldznet_bench.cards` for how strictly it is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ldznet_bench.acquisition.specs import CardFiles
from ldznet_bench.cards import card_names, card_path, read_card
from ldznet_bench.errors import BenchError, unknown_name


@dataclass(frozen=True)
class Release:
    """An older state of a split, told apart by its counts alone.

    Attributes:
        release: what it is called in messages, e.g. "before 2020-04-15".
        images: images with at least one sample.
        phrases: samples.
    """

    release: str
    images: int
    phrases: int


@dataclass(frozen=True)
class Split:
    """Expected counts of a split; null where nobody has published them, so that nothing is checked.

    Attributes:
        images: images with at least one sample.
        phrases: samples.
        refs: REFER referents.
        instances: annotated instances over all samples.
        older: superseded releases of this split.
        fingerprint: of the split, where it can have one only; see `ldznet_bench.datasets.fingerprint`.
    """

    images: int | None = None
    phrases: int | None = None
    refs: int | None = None
    instances: int | None = None
    older: tuple[Release, ...] = ()
    fingerprint: str | None = None


@dataclass(frozen=True)
class Partition:
    """One way of splitting a family that has several (REFER: unc, google, umd)."""

    splits: dict[str, Split]


@dataclass(frozen=True)
class DatasetCard:
    """One dataset family.

    Attributes:
        family: the name before the first ``-`` or ``:``; the card's file name.
        title: name for people.
        format: the adapter that reads it: a built-in one or an entry point of the group ``ldznet_bench.datasets``.
        summary: one sentence.
        sample_id: where sample ids come from.
        licence: of annotations and images, as far as it is stated anywhere.
        homepage: URL.
        citation: BibTeX.
        traps: what makes numbers on this dataset incomparable, one sentence each.
        splits: the normal splits, where there are no partitions.
        partitions: the partitions, each with its splits.
        default_partition: what the bare family name means.
        other_splits: accepted beside the normal ones, without expected counts.
        mini: True for miniatures, whose numbers must not stand beside real ones.
        bundled: folder beside the card that holds the data itself, for what ships with the package.
        made: how it was made, for sets that a program makes.
        picture: of samples: a file of the checkout.
        figures: full name of a split -> figure -> value, as measured when the card was written.
        files: how to download the release; `ldznet_bench.acquisition` reads it. None where there is nothing to download.
    """

    family: str
    title: str
    format: str
    summary: str
    sample_id: str
    licence: str
    homepage: str | None
    citation: str | None
    traps: tuple[str, ...] = ()
    splits: dict[str, Split] = field(default_factory=dict)
    partitions: dict[str, Partition] = field(default_factory=dict)
    default_partition: str | None = None
    other_splits: tuple[str, ...] = ()
    mini: bool = False
    bundled: str | None = None
    made: str | None = None
    picture: str | None = None
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    files: CardFiles | None = None

    def __post_init__(self) -> None:
        if self.splits and self.partitions:
            raise ValueError("has both splits and partitions; give the splits within each partition")
        if self.partitions and self.default_partition not in self.partitions:
            raise ValueError(f"default_partition is {self.default_partition!r}, which is none of its partitions")

    def splits_of(self, partition: str | None) -> dict[str, Split]:
        """The normal splits of a partition, or of a family that has none."""
        return self.splits if partition is None else self.partitions[partition].splits

    def expected(self, partition: str | None, split: str | None) -> Split | None:
        """What the card expects of a split; None where it says nothing."""
        return None if split is None else self.splits_of(partition).get(split)

    def names(self) -> Iterator[tuple[str, Split]]:
        """Full names of the normal splits with their counts: ``refcoco-unc:testA``."""
        for partition in self.partitions or [None]:
            head = self.family if partition is None else f"{self.family}-{partition}"
            for split, counts in self.splits_of(partition).items():
                yield f"{head}:{split}", counts


def families() -> list[str]:
    """Families with a card here or in another package (entry points), sorted; imports no plug-in."""
    from ldznet_bench.datasets.adapter import plugin_names

    return sorted({*card_names("datasets"), *plugin_names()})


def dataset_card(family: str, override: Path | None = None) -> DatasetCard:
    """The card of a family.

    Args:
        family: ``refcoco``; see `families`.
        override: the user's own card (``--card FILE``), used instead; it must be for this family.

    Raises:
        BenchError: unknown family (the nearest is named), a card that breaks the schema, or an override for another family.
    """
    path = override if override is not None else _path(family)
    card = read_card(path, DatasetCard)
    if card.family != family:
        raise BenchError(f"{path}: the card is for {card.family!r}, not for {family!r}.", "Name that dataset, or give its own card.")
    return card


def _path(family: str) -> Path:
    from ldznet_bench.datasets.adapter import plugin_card

    if family in card_names("datasets"):
        return card_path("datasets", family)
    path = plugin_card(family)
    if path is None:
        raise unknown_name("dataset", family, families())
    return path
