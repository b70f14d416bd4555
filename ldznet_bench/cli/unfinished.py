"""What verbs say of unfinished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ldznet_bench.evaluation.unfinished import Part

_NAMED = 3
_PARTS = 32


def describe(folders: Sequence[Path]) -> list[str]:
    """A line per missing part of the first three run folders, the first parts of each."""
    return [f"  {path.name}: {line}" for path in folders[:_NAMED] for line in missing_lines(path)]


def missing_lines(folder: Path) -> list[str]:
    """A line per missing part of a run folder, or why that cannot be told."""
    from ldznet_bench.errors import BenchError
    from ldznet_bench.evaluation.unfinished import parts_of

    try:
        return listed(parts_of(folder))
    except BenchError as error:
        return [str(error)]


def as_json(folder: Path) -> dict[str, Any]:
    """A run folder and its missing parts."""
    from ldznet_bench.errors import BenchError
    from ldznet_bench.evaluation.unfinished import parts_of

    try:
        return {"path": str(folder), "parts": [part.to_json() for part in parts_of(folder)]}
    except BenchError as error:
        return {"path": str(folder), "parts": [], "problem": str(error)}


def listed(parts: Sequence[Part]) -> list[str]:
    """A line per part, and how many more there are."""
    more = [f"… and {len(parts) - _PARTS:,} more parts"] if len(parts) > _PARTS else []
    return [*map(str, parts[:_PARTS]), *more]
