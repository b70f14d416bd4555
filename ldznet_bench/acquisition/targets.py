"""What the words after ``download`` mean: splits of datasets and files of models, each with the ``files:`` section that says how to get them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from ldznet_bench.acquisition.home import Home
from ldznet_bench.acquisition.specs import CardFiles
from ldznet_bench.datasets.card import DatasetCard, Split, dataset_card, families
from ldznet_bench.datasets.names import parse_name
from ldznet_bench.errors import BenchError, unknown_name

if TYPE_CHECKING:
    from ldznet_bench.models.card import ModelCard


@dataclass(frozen=True, slots=True)
class DatasetTarget:
    """Splits of one family and partition.

    Attributes:
        card: of the family.
        files: its ``files:`` section.
        partition: None for families that have none.
        splits: names of splits, as the card orders them.
        override: the user's own card, where there is one; preparing must see it, too.
    """

    card: DatasetCard
    files: CardFiles
    partition: str | None
    splits: tuple[str, ...]
    override: Path | None = None

    @property
    def name(self) -> str:
        """What the user would write."""
        return f"{self.head}:{self.splits[0]}" if len(self.splits) == 1 else self.head

    @property
    def head(self) -> str:
        """Family and partition."""
        return self.card.family if self.partition is None else f"{self.card.family}-{self.partition}"

    @property
    def licence(self) -> str:
        """As the card states it."""
        return self.card.licence

    @property
    def item_splits(self) -> tuple[str, ...]:
        """What `FileSpec.splits` is held against: with partitions ``unc`` and ``unc/testA``, without them the split."""
        if self.partition is None:
            return self.splits
        return (self.partition, *(f"{self.partition}/{split}" for split in self.splits))

    def folder(self, home: Home) -> Path:
        """Where the release lies."""
        return home.datasets / self.files.root

    def full_name(self, split: str) -> str:
        """The expanded name of one split."""
        return f"{self.head}:{split}"

    def expected(self, split: str) -> Split | None:
        """The card's counts of a split."""
        return self.card.expected(self.partition, split)


@dataclass(frozen=True, slots=True)
class WeightsTarget:
    """One set of files that a network needs.

    Attributes:
        model: the model's name.
        part: of its card.
        source: id of the published weights.
        licence: of the weights.
        files: how to get them.
        variant: ``/authors`` where the part belongs to that variant and not to ``full``; else empty.
    """

    model: str
    part: str
    source: str
    licence: str
    files: CardFiles
    variant: str = ""

    @property
    def name(self) -> str:
        """What the user would write."""
        return f"{self.model}:{self.source}"

    @property
    def item_splits(self) -> tuple[str, ...]:
        """Weights have no splits."""
        return ()

    def folder(self, home: Home) -> Path:
        """Where the files lie."""
        return home.weights / self.files.root


Target = DatasetTarget | WeightsTarget


def find_targets(names: Sequence[str], cards: Sequence[Path] = ()) -> list[Target]:
    """What a list of names stands for, each thing once.

    Args:
        names: ``phrasecut:test``, ``refcoco`` (every split of its default partition), ``clipseg`` (the parts of ``full``),
            ``clipseg/authors`` (the parts of that variant), ``clipseg:rd16``.
        cards: the user's own cards (``--card``), each for the dataset family or model that it names.

    Raises:
        BenchError: an unknown name (the nearest is given), or one that there is nothing to download for.
    """
    overrides = _overrides(cards)
    targets: dict[tuple[type, str], Target] = {}
    for name in names:
        for target in _targets_of(name, overrides):
            targets[type(target), target.name] = target
    return list(targets.values())


def _targets_of(name: str, overrides: Mapping[str, Path]) -> list[Target]:
    from ldznet_bench.models.card import own_models

    head = name.partition(":")[0]
    models = own_models()
    model = head.partition("/")[0]
    if model in models:
        return list(_weights_targets(name, overrides.get(model)))
    known = [family for family in {*families(), *overrides} if family not in models]
    family = max((family for family in known if head == family or head.startswith(f"{family}-")), key=len, default=None)
    if family is None:
        raise unknown_name("dataset or model", head, [*known, *models])
    return [_dataset_target(name, family, overrides.get(family))]


def _overrides(cards: Sequence[Path]) -> dict[str, Path]:
    """Dataset family or model name -> the user's card for it."""
    found = {}
    for path in cards:
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise BenchError(f"cannot read the card {path}: {error}.", "Give the path of a YAML file in UTF-8.") from error
        name = (content.get("family") if "format" in content else content.get("name")) if isinstance(content, dict) else None
        if not name:
            raise BenchError(f"the card {path} names no dataset family and no model.", "Copy a card that comes with the package and change it.")
        found[str(name)] = path
    return found


def _dataset_target(name: str, family: str, override: Path | None) -> DatasetTarget:
    head, colon, _ = name.partition(":")
    splits: tuple[str, ...]
    if colon:
        parsed, card = parse_name(name, override)
        partition, splits = parsed.partition, (str(parsed.split),)
    else:
        card = dataset_card(family, override)
        partition = head[len(family) + 1 :] or card.default_partition
        if partition is not None and partition not in card.partitions:
            raise unknown_name(f"partition of {family}", partition, card.partitions)
        splits = tuple(card.splits_of(partition))
    if card.bundled is not None:
        raise BenchError(f"{card.family} comes with the package; there is nothing to download.", f"Run it: ldznet-bench run --datasets {name}")
    if card.files is None:
        raise BenchError(
            f"the card of {card.family} does not say how its files are fetched.",
            f"Get the release from {card.homepage or 'its authors'} and give --data-root, or add `files:` to a card (docs/datasets.md).",
        )
    return DatasetTarget(card, card.files, partition, splits, override)


def _weights_targets(name: str, override: Path | None) -> list[WeightsTarget]:
    from ldznet_bench.models.card import model_card

    head, colon, source = name.partition(":")
    family, _, variant = head.partition("/")
    card = model_card(family, override)
    parts = card.parts if colon else _parts_of(card, variant)
    found = [
        WeightsTarget(family, part, one.id, one.licence, one.download, _variant_of(card, part))
        for part in parts
        for one in card.parts[part].sources
        if one.download is not None
    ]
    if not found:
        raise BenchError(f"{head} has no weights to download.", f"Run it: ldznet-bench run --models {head}")
    if colon:
        chosen = [target for target in found if target.source == source]
        if not chosen:
            raise unknown_name(f"weights of {family}", source, [target.source for target in found])
        return chosen
    # Without a choice: the first published weights of each part that the variant needs.
    return list({target.part: target for target in reversed(found)}.values())[::-1]


def _parts_of(card: ModelCard, variant: str) -> Collection[str]:
    """The parts that a variant needs; without one, those of ``full``, or all where there is no such variant."""
    if variant and variant not in card.variants:
        raise unknown_name(f"variant of {card.name}", variant, card.variants)
    chosen = variant or "full"
    return card.variants[chosen].parts if chosen in card.variants else card.parts


def _variant_of(card: ModelCard, part: str) -> str:
    users = [name for name, variant in card.variants.items() if part in variant.parts]
    return f"/{users[0]}" if users and "full" not in users else ""
