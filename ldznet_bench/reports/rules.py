"""Which runs may stand in one column, and what has to be said about those that may not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ldznet_bench.errors import RunError
from ldznet_bench.reports.runs import Run

MARKS = {"partial": "p", "limited": "l", "dirty": "d", "skipped": "s", "mixed": "m", "oracle-test": "o", "tuned-on-val": "v", "few-seeds": "w"}
MEANING = {
    "p": "counts or files differ from the dataset's card (partial): not comparable with published rows",
    "l": "a limited run: a sample of the split only",
    "d": "made with uncommitted changes in the checkout (dirty)",
    "s": "samples without prediction were left out of every figure",
    "m": "made from other data or rules than the first run of its column",
    "o": "threshold chosen on the test set itself (oracle-test)",
    "v": "threshold tuned on the val split",
    "w": "conditional on these weights: fewer than six training seeds, so only images are drawn",
    "†": "published, not measured here",
    "≠": "another or unknown protocol: not comparable with its column, outside bold and ranks",
    "≈": "not told apart from the best of its column (paired bootstrap over images, Holm, 5 %)",
}
_REMEDY = "Choose runs with --models, --datasets and --protocol, or print them all, marked, with --allow-mixed."


def stamps(run: Run) -> list[str]:
    """What is wrong with a run: ``partial``, ``limited``, ``dirty``, ``skipped``."""
    missing = run.summary.get("missing") or {}
    tests = {
        "partial": bool(run.summary.get("partial")),
        "limited": run.limited,
        "dirty": bool(run.about.get("provenance", {}).get("dirty")),
        "skipped": missing.get("policy") == "skip" and missing.get("n_missing", 0) > 0,
    }
    return [name for name, true in tests.items() if true]


def refuse(runs: Sequence[Run], *, limited: bool = False, skipped: bool = False) -> None:
    """Refuse runs that cannot be compared.

    Args:
        runs: all runs of a table.
        limited: admit limited runs.
        skipped: admit runs that left samples out, where samples are paired anyway.

    Raises:
        RunError: a limited or dirty run, one that left samples out, a partial one beside a whole one, or a column of two fingerprints or two
            versions of a protocol's rules; the culprits are named.
    """
    refuse_mixed(runs)
    for stamp, why in (
        ("limited", "cover a sample of their split only"),
        ("dirty", "were made with uncommitted changes"),
        ("skipped", "left samples out"),
    ):
        found = [run for run in runs if stamp in stamps(run)]
        if found and not (stamp == "limited" and limited) and not (stamp == "skipped" and skipped):
            raise RunError(f"{_some(found)} {why}: {'--limited admits them. ' if stamp == 'limited' else ''}they cannot stand in a table.", _REMEDY)
    for group in _columns(runs):
        partial = [run for run in group if "partial" in stamps(run)]
        if partial and len(partial) < len(group):
            raise RunError(f"{_some(partial)} are partial, other runs on {group[0].dataset} are not.", _REMEDY)


def refuse_mixed(runs: Sequence[Run]) -> None:
    """Refuse a column of two fingerprints or two versions of a protocol's rules.

    Raises:
        RunError: two runs of one dataset and protocol were not made from the same data or rules; both are named.
    """
    for group in _columns(runs):
        for what, value in _SAME.items():
            other = next((run for run in group if value(run) != value(group[0])), None)
            if other is not None:
                raise RunError(f"{group[0].dataset} under {group[0].protocol} has two {what}: {group[0].path} and {other.path}.", _REMEDY)


def mixed(runs: Sequence[Run]) -> set[int]:
    """The id() of the runs that differ from the first of their column, where mixing was allowed."""
    return {id(run) for group in _columns(runs) for run in group if any(value(run) != value(group[0]) for value in _SAME.values())}


def _columns(runs: Iterable[Run]) -> list[list[Run]]:
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.dataset, run.protocol), []).append(run)
    return list(groups.values())


def _some(runs: Sequence[Run]) -> str:
    names = [f"{run.model} on {run.dataset} ({run.path})" for run in runs]
    return "; ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


_SAME: dict[str, Callable[[Run], Any]] = {
    "fingerprints": lambda run: run.summary["fingerprint"],
    "versions of its rules": lambda run: run.about.get("rules"),
}
