"""What a model card (``baselines/*.yaml``) may say. `ldznet_bench.cards` reads it strictly into these dataclasses."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ldznet_bench.acquisition.specs import CardFiles
from ldznet_bench.cards import card_names, card_path, read_card
from ldznet_bench.errors import BenchError, unknown_name
from ldznet_bench.protocols import Status


@dataclass(frozen=True, slots=True)
class Source:
    """Where weights were published.

    Attributes:
        id: short name of these weights.
        kind: what `ref` is: a Hugging Face repository id, a URL, or a Google Drive file id.
        ref: the address.
        licence: as stated by whoever published them; ``unknown`` where nobody did.
        note: what one has to know before using them.
        download: the files and where they go below ``HOME/weights``; its root is the part's key for the part's first source, and another
            folder for the others. None where nothing can be downloaded.
    """

    id: str
    kind: Literal["huggingface", "url", "drive"]
    ref: str
    licence: str
    note: str = ""
    download: CardFiles | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One set of files that a network needs, given by ``--weights PART=PATH``.

    Attributes:
        what: in words.
        form: whether a folder or a file is to be given.
        files: the files that must be there, in words.
        sources: where it was published.
        bundled: where the package itself carries it, below ``baselines/``; empty where it does not.
    """

    what: str
    form: Literal["DIR", "FILE"]
    files: str
    sources: tuple[Source, ...] = ()
    bundled: str = ""


@dataclass(frozen=True, slots=True)
class Variant:
    """One size of a model.

    Attributes:
        summary: in a sentence.
        parts: keys of the card's `parts` that it needs; the first also answers to the model's own name in ``--weights``.
        missing: empty, or why nobody can run this variant yet.
        status: where it is another than the card's: the miniature of an official network is ours.
    """

    summary: str
    parts: tuple[str, ...] = ()
    missing: str = ""
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """A named way of running the same weights.

    Attributes:
        summary: in a sentence.
        status: ``official`` (the authors' own), ``inferred`` or ``ours``.
        source: where it comes from.
    """

    summary: str
    status: Status
    source: str


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What one component saw in training: the leakage audit reads it.

    Attributes:
        component: of the network.
        data: name of the data; ``unknown`` stays unknown.
        images: where its images come from, as far as known: ``visual-genome``, ``coco``, ``laion``, …; empty where unknown.
        source: where this is stated.
    """

    component: str
    data: str
    images: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Parameters:
    """Sizes of the network.

    Attributes:
        total: all parameters; None where unknown.
        trainable: those that the authors trained.
        note: of which of the published weights.
    """

    total: int | None
    trainable: int | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A number from a paper, with what it was measured by.

    Attributes:
        row: the name of the row in its table.
        dataset: our name of the dataset.
        protocol: our name of the protocol; None where the paper's rules are not known.
        metric: our name of the metric.
        value: in percent, as printed.
        source: paper and table.
        weights: id of the published weights that the row was measured with; None where they were never released.
        note: what stands between this number and a fair comparison.
    """

    row: str
    dataset: str
    protocol: str | None
    metric: str
    value: float
    source: str
    weights: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A model card.

    Attributes:
        name: the model's name, also the file's.
        title: for tables.
        family: models that share code and parts.
        kind: ``weight-free`` or ``network``.
        scores: ``dense`` maps, or ``binary`` ones to which threshold-free metrics do not apply.
        status: ``official`` (the authors' network and weights), ``inferred`` (rebuilt from a description) or ``ours``.
        factory: ``module:callable`` that takes a `LoadRequest` and returns a `Segmenter`.
        summary: in a sentence.
        licence: of the code that runs, and of the weights where they are one; details stand with each source.
        parts: files that variants need.
        variants: by name; empty for weight-free models.
        recipes: by name; empty where there is only one way.
        default_recipe: of `recipes`; None where there are none.
        parameters: None for weight-free models.
        training_data: per component.
        generator_affinity: why the model may know the images of a generator from the inside; empty where it cannot.
        published: rows of tables.
        paper: citation.
    """

    name: str
    title: str
    family: str
    kind: Literal["weight-free", "network"]
    scores: Literal["dense", "binary"]
    status: Status
    factory: str
    summary: str
    licence: str
    parts: dict[str, Part] = field(default_factory=dict)
    variants: dict[str, Variant] = field(default_factory=dict)
    recipes: dict[str, Recipe] = field(default_factory=dict)
    default_recipe: str | None = None
    parameters: Parameters | None = None
    training_data: tuple[TrainingData, ...] = ()
    generator_affinity: str = ""
    published: tuple[PublishedRow, ...] = ()
    paper: str = ""

    def __post_init__(self) -> None:
        if (self.recipes or self.default_recipe is not None) and self.default_recipe not in self.recipes:
            raise ValueError(f"default_recipe is {self.default_recipe!r}, recipes are {', '.join(self.recipes) or 'none'}")
        if (self.kind == "network") != bool(self.variants):
            raise ValueError(f"a {self.kind} model {'lacks' if not self.variants else 'has no'} variants")
        for name, variant in self.variants.items():
            unknown = [part for part in variant.parts if part not in self.parts]
            if unknown:
                raise ValueError(f"variant {name} needs {unknown[0]!r}, which is not among parts")


def model_card(name: str, override: Path | None = None) -> ModelCard:
    """The card of a model that comes with this package, or the file that stands in for it.

    Args:
        name: ``clipseg``.
        override: ``--card FILE``.

    Raises:
        BenchError: no such card, not according to the schema, or a card for another model.
    """
    card = read_card(override, ModelCard) if override is not None else _bundled(card_path("baselines", name))
    if card.name != name:
        where = override or f"baselines/{name}.yaml"
        raise BenchError(f"{where}: the card is for {card.name!r}, not for {name!r}.", "Give the card of this model, or correct its name.")
    return card


@functools.cache
def _bundled(path: Path) -> ModelCard:
    """A card of this package; read once, because loading one model looks at the parts of all (0.05 s for eleven cards)."""
    return read_card(path, ModelCard)


def pick_recipe(card: ModelCard, recipe: str | None) -> str | None:
    """The recipe that was asked for, or the card's default; None where the model has none.

    Raises:
        BenchError: the model has no such recipe.
    """
    if recipe is None:
        return card.default_recipe
    if not card.recipes:
        raise BenchError(f"{card.name} has no recipes, {recipe!r} was asked for.", f"Write {card.name}.")
    if recipe not in card.recipes:
        raise unknown_name(f"recipe of {card.name}", recipe, card.recipes)
    return recipe


def own_models() -> dict[str, str]:
    """Name and factory of every model card that comes with this package."""
    return {name: model_card(name).factory for name in card_names("baselines")}
