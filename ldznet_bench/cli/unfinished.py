"""What verbs say of unfinished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_NAMED = 3


def describe(folders: Sequence[Path]) -> list[str]:
    """A line per missing part of the first three run folders."""
    from ldznet_bench.evaluation.unfinished import parts_of

    return [f"  {path.name}: {part}" for path in folders[:_NAMED] for part in parts_of(path)]
