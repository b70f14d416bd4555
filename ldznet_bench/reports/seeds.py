"""Which runs are one model several times: runs that differ in what they drew, or in the weights that another training seed gave."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ldznet_bench.errors import BenchError
from ldznet_bench.reports.runs import Run


def variant(run: Run, *, draws: bool = False, weights: bool = False, names: bool = False, tuned: bool = False) -> str:
    """The run's identity but for what is set aside; runs that agree in it are one model, several times.

    Args:
        run: a finished one.
        draws: set aside the run seed, and which draw of a stochastic recipe it is (``run --repeats``).
        weights: set aside the weights' hash (for scored predictions: that of the predictions).
        names: set aside the model's name as well.
        tuned: set aside which threshold was tuned on val, as it follows from the weights; that it was tuned stays.
    """
    identity = dict(run.about.get("identity") or {})
    if draws:
        identity.pop("seed", None)
        recipe = dict(identity.get("recipe") or {})
        repeats = recipe.get("repeats")
        # Draws of one stream alone tell where a spread comes from; they are no draws of the model.
        if not isinstance(repeats, dict) or len(set(repeats.values())) <= 1:
            recipe.pop("repeats", None)
        identity["recipe"] = recipe
    if weights:
        identity.pop("weights", None)
    if names:
        identity.pop("model", None)
    threshold = identity.get("threshold")
    if tuned and isinstance(threshold, dict) and threshold.get("source") == "tuned-on-val":
        identity["threshold"] = {"source": threshold["source"]}
    return json.dumps(identity, sort_keys=True)


def weights_of(run: Run) -> str:
    """What tells the training seeds of a model apart."""
    return str((run.about.get("identity") or {}).get("weights"))


def _variants(runs: Sequence[Run], *, draws: bool, weights: bool, names: bool = False) -> list[str]:
    """Each run's variant. Every training seed has a threshold of its own; two thresholds of one seed are two variants."""
    kinds = [variant(run, draws=draws, weights=weights, names=names, tuned=weights) for run in runs]
    places = [(kind, run.dataset, run.protocol, weights_of(run)) for kind, run in zip(kinds, runs, strict=True)]
    thresholds: dict[tuple[str, ...], set[str]] = {}
    for place, run in zip(places, runs, strict=True):
        thresholds.setdefault(place, set()).add(json.dumps((run.about.get("identity") or {}).get("threshold"), sort_keys=True))
    return [
        variant(run, draws=draws, weights=weights, names=names) if len(thresholds[place]) > 1 else kind
        for kind, place, run in zip(kinds, places, runs, strict=True)
    ]


def row_labels(runs: Sequence[Run], *, draws: bool = False, weights: bool = False) -> list[str]:
    """The label of each run's row: the model, and an identity behind it where one cell has several that may not be taken together.

    Args:
        runs: of a table.
        draws: take runs that differ in their draws alone together.
        weights: take runs that differ in their weights alone together.
    """
    together = draws or weights
    kinds = _variants(runs, draws=draws, weights=weights) if together else [str(run.path) for run in runs]
    cells: dict[tuple[str, str, str], dict[str, str]] = {}
    for run, kind in zip(runs, kinds, strict=True):
        members = cells.setdefault((run.model, run.dataset, run.protocol), {})
        members[kind] = min(members.get(kind, run.path.name), run.path.name)
    crowded = {model for (model, _, _), members in cells.items() if len(members) > 1}
    return [
        f"{run.model} [{cells[run.model, run.dataset, run.protocol][kind]}]" if run.model in crowded else run.model
        for run, kind in zip(runs, kinds, strict=True)
    ]


def refuse_strangers(runs: Sequence[Run]) -> None:
    """Refuse to take runs together that differ in more than their seeds.

    Raises:
        BenchError: they differ in a threshold, a recipe, a batch size …; both are named.
    """
    kinds = _variants(runs, draws=True, weights=True, names=True)
    other = next((place for place, kind in enumerate(kinds) if kind != kinds[0]), None)
    if other is not None:
        one, two = json.loads(kinds[0]), json.loads(kinds[other])
        differ = ", ".join(sorted(key for key in {*one, *two} if one.get(key) != two.get(key)))
        raise BenchError(
            f"{runs[0].path} and {runs[other].path} differ in {differ}: they are not one model with several seeds.", "Name one of them by its folder."
        )
