"""A table as text, in the style that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ldznet_bench.errors import unknown_name
from ldznet_bench.reports import latex, plain, text
from ldznet_bench.reports.grid import Options, Table
from ldznet_bench.reports.runs import Run
from ldznet_bench.reports.table import make_table


def render(runs: Sequence[Run], metrics: Sequence[str] = (), style: str = "markdown", options: Options | None = None) -> str:
    """A table of finished runs as text.

    Args:
        runs: finished ones.
        metrics: see `Options`.
        style: ``markdown``, ``csv``, ``latex``, ``json``, ``macros`` or ``plain`` (for a terminal).
        options: how the table is made; by default everything is printed, marked.

    Raises:
        BenchError: unknown style, or see `make_table`.
    """
    chosen = replace(options or Options(), metrics=tuple(metrics))
    emit = emitter(style)
    return emit(make_table(runs, chosen))


def emitter(style: str) -> Callable[[Table], str]:
    """The function that writes a table in a style.

    Raises:
        BenchError: unknown style.
    """
    styles = {"markdown": text.to_markdown, "csv": text.to_csv, "json": text.to_json, "latex": latex.to_latex, "macros": latex.to_macros}
    styles["plain"] = plain.to_plain
    if style not in styles:
        raise unknown_name("table style", style, styles)
    return styles[style]
