"""Tables as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io

from ldznet_bench.atomic import dump_json
from ldznet_bench.reports.grid import Row, Table, Value, ranked

_MARKDOWN = str.maketrans({"|": "\\|", "*": "\\*", "_": "\\_", "`": "\\`", "<": "&lt;", ">": "&gt;", "[": "\\[", "]": "\\]", "\n": " ", "\r": " "})


def to_json(table: Table) -> str:
    """A list of scores with their model, dataset, protocol, metric and marks; null where a metric does not apply."""
    return dump_json(
        [
            {
                "model": row.label,
                "dataset": column.dataset,
                "protocol": column.protocol,
                "metric": column.metric,
                "slice": column.slice or None,
                "value": value.score,
                "low": value.low,
                "high": value.high,
                "sd": value.sd,
                "n_samples": value.n,
                "tier": value.tier,
                "published": row.published,
                "comparable": value.comparable,
                "marks": list(value.marks),
            }
            for row in table.rows
            for column, value in sorted(row.values.items())
        ]
    )


def to_csv(table: Table) -> str:
    """One line per score, exact values in [0, 1]; empty where a metric does not apply."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["model", "dataset", "protocol", "metric", "slice", "value", "low", "high", "sd", "n_samples", "tier", "published", "marks"])
    for row in table.rows:
        for column, value in sorted(row.values.items()):
            numbers = ["" if number is None else repr(number) for number in (value.score, value.low, value.high, value.sd, value.n, value.tier)]
            line = [column.dataset, column.protocol, column.metric, column.slice, *numbers, str(row.published).lower(), " ".join(value.marks)]
            writer.writerow([_plain(row.label), *line])
    return buffer.getvalue()


def to_markdown(table: Table) -> str:
    """GitHub Markdown; best of a column bold, second underlined; notes below."""
    head = ["model", *(escape(_heading(column.over, column.title)) for column in table.columns)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" + "---:|" * len(table.columns)]
    places = {column: ranked(table, column) for column in table.columns}
    for index, row in enumerate(table.rows):
        cells = [_cell(row.values.get(column), places[column].get(index), table) for column in table.columns]
        lines.append("| " + " | ".join([_label(row), *cells]) + " |")
    notes = [f"\n- [{number}] {escape(note)}" for number, note in enumerate(table.footnotes, 1)] + [f"\n- {escape(note)}" for note in table.notes]
    caption = f"**{escape(table.caption)}**\n\n" if table.caption else ""
    return caption + "\n".join(lines) + "\n" + "".join(notes) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    return text.translate(_MARKDOWN)


def number(value: Value, decimals: int) -> str:
    """A score in percent."""
    return "n/a" if value.score is None else f"{100 * value.score:.{decimals}f}"


def spread(value: Value, decimals: int, pm: bool) -> str:
    """Its interval or deviation, with a space before; empty without either."""
    if value.sd is not None:
        return f" ±{100 * value.sd:.{decimals}f}"
    if value.low is None or value.high is None:
        return ""
    if pm:
        return f" ±{50 * (value.high - value.low):.{decimals}f}"
    return f" [{100 * value.low:.{decimals}f}, {100 * value.high:.{decimals}f}]"


def _cell(value: Value | None, place: int | None, table: Table) -> str:
    if value is None:
        return ""
    shown = number(value, table.decimals)
    shown = f"**{shown}**" if place == 1 else f"<u>{shown}</u>" if place == 2 else shown
    return shown + spread(value, table.decimals, table.pm) + "".join(f" ^{mark}" for mark in value.marks)


def _label(row: Row) -> str:
    return escape(row.label) + (" †" if row.published else "") + "".join(f" [{number}]" for number in row.refs)


def _heading(over: str, title: str) -> str:
    return f"{over} {title}" if over else title


def _plain(text: str) -> str:
    """A name that a spreadsheet does not take for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
