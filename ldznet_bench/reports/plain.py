"""Tables for a terminal: aligned, nothing escaped."""

from __future__ import annotations

from ldznet_bench.reports.grid import Column, Row, Table, ranked
from ldznet_bench.reports.text import number, spread

_WIDEST = 6  # columns side by side; beyond that a line per score reads better


def to_plain(table: Table) -> str:
    """A row per model; a line per score where a single model has many. The best of a column is starred."""
    if len(table.rows) == 1 or len(table.columns) > _WIDEST:
        body = "\n".join(_down(table, row) for row in table.rows)
    else:
        body = _across(table)
    star = ["* best of its column"] if "*" in body else []
    return f"{body}\n" + "".join(f"  {note}\n" for note in (*star, *table.notes))


def _across(table: Table) -> str:
    places = {column: ranked(table, column) for column in table.columns}
    lines = [["", *(column.dataset for column in table.columns)], ["", *(_metric(column.title) for column in table.columns)]]
    for index, row in enumerate(table.rows):
        lines.append([row.label, *(_text(table, row, column, places[column].get(index)) for column in table.columns)])
    return _aligned(lines)


def _down(table: Table, row: Row) -> str:
    lines = [[f"  {column.title}", _text(table, row, column, None)] for column in table.columns if column in row.values]
    return f"{row.label}\n{_aligned(lines)}"


def _metric(title: str) -> str:
    return title.split(" ", 1)[-1]


def _text(table: Table, row: Row, column: Column, place: int | None) -> str:
    value = row.values.get(column)
    if value is None:
        return ""
    marks = f" ^{','.join(value.marks)}" if value.marks else ""
    return number(value, table.decimals) + spread(value, table.decimals, False) + ("*" if place == 1 else " ") + marks


def _aligned(lines: list[list[str]]) -> str:
    """The first column flush left, the others flush right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "".join(
        "  ".join([line[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))]).rstrip() + "\n"
        for line in lines
    )
