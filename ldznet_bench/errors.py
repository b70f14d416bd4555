"""Errors that finish the sentence: what was wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path


class BenchError(Exception):
    """A mistake that the user can mend. The command line prints its text without a traceback and exits with 2.

    Args:
        what: what was wrong and where (file, id, line).
        remedy: what to do about it, as a sentence; may be empty only where nothing can be done.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what} {remedy}".strip())


class DataError(BenchError):
    """A dataset on disk is missing, incomplete, or not what it says it is."""


class PredictionError(BenchError):
    """Predictions that were handed in do not fit the dataset (coverage, size, values)."""


class WeightsError(BenchError):
    """Weights are missing, unreadable, or of another architecture."""


class RunError(BenchError):
    """A run folder cannot be used: unfinished, locked, from another version, or not writable."""


class UnfinishedError(RunError):
    """Runs that were asked for are not finished. The command line says which of their parts are missing.

    Args:
        folders: the run folders.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        listed = ", ".join(map(str, self.folders[:3])) + (", …" if len(self.folders) > 3 else "")
        what = f"{listed} is unfinished." if len(self.folders) == 1 else f"{len(self.folders)} runs answer to it, none of them finished: {listed}."
        remedy = "Repeat the command that started it: it continues, with --shard one part of it, without --shard all that is missing."
        super().__init__(what, remedy)


class BenchWarning(UserWarning):
    """Something that changes how a number should be read; tests turn it into an error."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> BenchError:
    """The error for a name that nothing answers to, with the nearest known one.

    Args:
        kind: what the name should have named, in words: ``"dataset"``.
        name: what the user wrote.
        known: every name that would have been right.
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}?" if near else "Known: " + ", ".join(names) + "."
    return BenchError(f"unknown {kind} {name!r}.", hint)
