"""From a model's name to a segmenter. Nothing here imports torch; a network's own module does, when it is loaded."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ldznet_bench.errors import BenchError, WeightsError, unknown_name
from ldznet_bench.models.card import ModelCard, model_card, own_models, pick_recipe
from ldznet_bench.models.segmenter import Segmenter
from ldznet_bench.places import home_folder
from ldznet_bench.registry import OURS, Entry, Registry
from ldznet_bench.share import shared

MODELS = Registry("model", "ldznet_bench.models", own_models)

_WORD = "[A-Za-z0-9][A-Za-z0-9._-]*"
_NAME = re.compile(rf"(?P<family>{_WORD})(?:/(?P<variant>{_WORD}))?(?:\+(?P<recipe>{_WORD}))?")


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model's name in its three pieces.

    Attributes:
        family: the card's name: ``clipseg``.
        variant: ``mini``, ``full``; None where not said, and for weight-free models.
        recipe: ``hf``; None where not said, and for models with one recipe.
    """

    family: str
    variant: str | None = None
    recipe: str | None = None

    def __str__(self) -> str:
        variant = f"/{self.variant}" if self.variant else ""
        return f"{self.family}{variant}" + (f"+{self.recipe}" if self.recipe else "")


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What a model's factory is given; names are resolved and paths exist.

    Attributes:
        name: family, variant and recipe, as the segmenter is to be named: ``str(name)``.
        card: None for a model of another package that has none.
        weights: path per part that the variant needs (keys of `ModelCard.parts`), or, without a card, all that the user gave.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        micro_batch: pairs per `decode`; None leaves the choice to the model.
        home: for caches.
        offline: nothing may be fetched.
    """

    name: ModelName
    card: ModelCard | None
    weights: Mapping[str, Path]
    device: str
    precision: str
    micro_batch: int | None
    home: Path
    offline: bool


Factory = Callable[[LoadRequest], Segmenter]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A row of ``list``.

    Attributes:
        name: ``clipseg/full``, or the bare name.
        title: for people.
        status: ``official``, ``inferred``, ``ours``; ``external`` for models of other packages.
        recipes: the default first.
        needs: parts to be given with ``--weights``.
        ready: whether it can run now; None where only loading it would tell.
        reason: why it cannot.
        origin: the package it comes from.
    """

    name: str
    title: str
    status: str
    recipes: tuple[str, ...]
    needs: tuple[str, ...]
    ready: bool | None
    reason: str
    origin: str


def parse_model_name(text: str) -> ModelName:
    """Split ``name/variant+recipe``; variant and recipe may be absent.

    Raises:
        BenchError: the text is not of that form.
    """
    match = _NAME.fullmatch(text)
    if match is None:
        raise BenchError(f"{text!r} is no model name.", "Write name, name/variant, name+recipe or name/variant+recipe: clipseg/full+hf.")
    return ModelName(match["family"], match["variant"], match["recipe"])


def load_model(
    name: str,
    *,
    weights: Mapping[str, Path] | None = None,
    device: str = "cpu",
    precision: str = "fp32",
    micro_batch: int | None = None,
    mini_dataset: bool = False,
    home: Path | None = None,
    card: Path | None = None,
    offline: bool = False,
) -> Segmenter:
    """The segmenter of a name.

    Args:
        name: ``name/variant+recipe``; without a variant it is ``mini`` on a mini dataset and ``full`` on a real one.
        weights: files or folders by model name (bare or full) or by part; keys for other models are left alone.
        device: ``cpu``, ``cuda`` or ``cuda:N``; weight-free models ignore it.
        precision: ``fp32``, ``bf16`` or ``fp16``; weight-free models ignore it.
        micro_batch: pairs per `decode`, part of a run's identity; None takes the model's own.
        mini_dataset: whether the dataset is a miniature.
        home: the folder of caches and fetched weights.
        card: a card file that stands in for the bundled one, or declares a model that is not bundled.
        offline: nothing may be fetched (loading fetches nothing; `ldznet-bench download` does).

    Raises:
        BenchError: unknown model, variant, recipe, device or precision; a weights key that no model answers to.
        WeightsError: weights that are missing, unreadable or of another architecture.
    """
    if micro_batch is not None and micro_batch < 1:
        raise BenchError(f"--micro-batch is {micro_batch}.", "Give a whole number from 1 on.")
    entry, full, its_card, paths = _resolve(name, dict(weights or {}), mini_dataset=mini_dataset, home=home_folder(home), card=card)
    factory = entry.resolve()
    segmenter = factory(LoadRequest(full, its_card, paths, device, precision, micro_batch, home_folder(home), offline))
    if not isinstance(segmenter, Segmenter):
        raise BenchError(f"{entry.target} of {entry.origin} gave a {type(segmenter).__name__}, not a Segmenter.", f"Mend {entry.origin}.")
    return segmenter


def check_model(name: str, *, weights: Mapping[str, Path] | None = None, mini_dataset: bool = False, home: Path | None = None) -> ModelName:
    """The full name that `load_model` would load; checks names and the presence of weights without loading anything.

    Raises:
        BenchError: as `load_model`, but for what only reading the weights can tell.
    """
    _, full, _, _ = _resolve(name, dict(weights or {}), mini_dataset=mini_dataset, home=home_folder(home), card=None)
    return full


def list_models(*, weights: Mapping[str, Path] | None = None, home: Path | None = None) -> list[ModelInfo]:
    """Every variant of every model, and whether it can run with these weights. Imports no model."""
    given = dict(weights or {})
    rows: list[ModelInfo] = []
    for entry in MODELS.entries().values():
        if entry.origin != OURS:
            rows.append(ModelInfo(entry.name, entry.name, "external", (), (), None, "", entry.origin))
            continue
        card = model_card(entry.name)
        recipes = tuple(sorted(card.recipes, key=lambda recipe: recipe != card.default_recipe))
        if not card.variants:
            rows.append(ModelInfo(card.name, card.title, card.status, recipes, (), True, "", entry.origin))
        for variant, its in card.variants.items():
            full = ModelName(card.name, variant)
            reason = _why_not(card, full, given, home_folder(home))
            rows.append(ModelInfo(str(full), card.title, its.status or card.status, recipes, its.parts, not reason, reason, entry.origin))
    return rows


def pick_variant(card: ModelCard, variant: str | None, *, mini_dataset: bool) -> str | None:
    """The variant that was asked for, or the one that fits the dataset; never another one instead.

    Returns:
        None for models without variants.

    Raises:
        BenchError: the model has no such variant.
        WeightsError: nobody can run the variant yet.
    """
    if not card.variants:
        if variant is not None:
            raise BenchError(f"{card.name} has no variants, {variant!r} was asked for.", f"Write {card.name}.")
        return None
    chosen = variant or ("mini" if mini_dataset else "full")
    if variant is None and not {"mini", "full"} & set(card.variants):
        raise BenchError(
            f"{card.name} has no default variant.", f"Ask for one by name: {', '.join(f'{card.name}/{name}' for name in card.variants)}."
        )
    if chosen not in card.variants:
        raise unknown_name(f"variant of {card.name}", chosen, card.variants)
    missing = card.variants[chosen].missing
    if missing:
        why = "" if variant else f" (the default on a {'mini' if mini_dataset else 'real'} dataset)"
        others = [name for name, other in card.variants.items() if not other.missing]
        remedy = f"Ask for {' or '.join(f'{card.name}/{name}' for name in others)} by name." if others else ""
        raise WeightsError(f"{card.name}/{chosen}{why} cannot run: {missing}.", remedy)
    return chosen


def _resolve(
    name: str, weights: dict[str, Path], *, mini_dataset: bool, home: Path, card: Path | None
) -> tuple[Entry, ModelName, ModelCard | None, dict[str, Path]]:
    asked = parse_model_name(name)
    entry, its_card = _find(asked, card)
    _check_keys(weights, its_card)
    if its_card is None:
        return entry, asked, None, weights
    variant = pick_variant(its_card, asked.variant, mini_dataset=mini_dataset)
    full = ModelName(asked.family, variant, pick_recipe(its_card, asked.recipe))
    return entry, full, its_card, _locate(its_card, full, weights, home) if variant else {}


def _find(name: ModelName, override: Path | None) -> tuple[Entry, ModelCard | None]:
    if override is not None:
        card = model_card(name.family, override)
        return Entry("model", card.name, card.factory, str(override)), card
    entry = MODELS.find(name.family)
    return entry, model_card(name.family) if entry.origin == OURS else None


def _check_keys(weights: Mapping[str, Path], card: ModelCard | None) -> None:
    """A misspelt key would be ignored, and the model said to lack its weights."""
    entries = MODELS.entries()
    known = {*entries, *(() if card is None else (card.name, *card.parts))}
    for entry in entries.values():
        if entry.origin == OURS:
            known.update(model_card(entry.name).parts)
    for key in weights:
        if parse_model_name(key).family not in known:
            raise unknown_name("model in --weights", key, known)


def _locate(card: ModelCard, name: ModelName, weights: Mapping[str, Path], home: Path) -> dict[str, Path]:
    reason = _why_not(card, name, weights, home)
    if reason:
        part = card.parts[_absent(card, name, weights, home)[0]]
        if any(source.download for source in part.sources):
            several = len({variant.parts for variant in card.variants.values() if not variant.missing}) > 1
            hint = f" `ldznet-bench download {replace(name, recipe=None) if several else card.name}` fetches it, too."
        else:
            hint = " Published as " + ", ".join(f"{source.ref} ({source.kind})" for source in part.sources) + "." if part.sources else ""
        raise WeightsError(f"{name} {reason}.", f"Expected there: {part.what}, with {part.files}.{hint}")
    return {part: path for part in card.variants[name.variant or ""].parts if (path := _path_of(card, name, part, weights, home))}


def _why_not(card: ModelCard, name: ModelName, weights: Mapping[str, Path], home: Path) -> str:
    variant = card.variants[name.variant or ""]
    if variant.missing:
        return f"cannot run: {variant.missing}"
    absent = _absent(card, name, weights, home)
    return "needs weights: " + " ".join(f"--weights {part}={card.parts[part].form}" for part in absent) if absent else ""


def _absent(card: ModelCard, name: ModelName, weights: Mapping[str, Path], home: Path) -> list[str]:
    return [part for part in card.variants[name.variant or ""].parts if _path_of(card, name, part, weights, home) is None]


def _path_of(card: ModelCard, name: ModelName, part: str, weights: Mapping[str, Path], home: Path) -> Path | None:
    """Where a part is: the most exact key that was given, else what the package carries, or what was fetched into the home.

    A variant that the package carries answers to its own name only: ``--weights clipseg=DIR`` are the published weights, whatever the dataset.

    Raises:
        WeightsError: a path that was given is not there.
    """
    keys = [part]
    if part == card.variants[name.variant or ""].parts[0]:
        carried = any(card.parts[other].bundled for other in card.variants[name.variant or ""].parts)
        family = [] if carried else [str(replace(name, variant=None)), name.family]
        keys = [str(name), str(replace(name, recipe=None)), *family, part]
    for key in keys:
        if key in weights:
            path = Path(weights[key]).expanduser()
            if not path.exists():
                raise WeightsError(f"--weights {key}={path}: there is nothing at that path.", f"Expected: {card.parts[part].what}.")
            return path
    bundled = card.parts[part].bundled
    if bundled:
        place = shared("baselines") / bundled
        return place if place.exists() else None
    fetched = home / "weights" / part
    return fetched if fetched.exists() else None
