"""Tables as LaTeX: a booktabs tabular that plain pdflatex sets, and a macro per number."""

from __future__ import annotations

import itertools
import re

from ldznet_bench.reports.grid import Row, Table, Value, ranked
from ldznet_bench.reports.text import number, spread

_ESCAPES = {
    **{letter: f"\\{letter}" for letter in "{}$&#%_"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "-": "-{}",  # no ligature of two to a dash
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "†": r"$\dagger$",
    "≠": r"$\neq$",
    "≈": r"$\approx$",
    "±": r"$\pm$",
    "\N{EN DASH}": "--",
    "…": r"\dots{}",
}
# Six columns with intervals fit a page and three a column; \\small is what papers set tables in.
_TIGHT = r"\small\setlength{\tabcolsep}{2.5pt}"
_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
_PREAMBLE = r"% needs \usepackage[T1]{fontenc}, \usepackage{textcomp} and \usepackage{booktabs}"


def to_latex(table: Table) -> str:
    r"""A booktabs tabular; best of a column in bold, second underlined, notes below; inside a table environment where it has a caption."""
    places = {column: ranked(table, column) for column in table.columns}
    # Two cells to a column, number and what belongs to it, so that the numbers stand in line whatever follows them.
    lines = [r"\begin{tabular}{@{}l" + r"r@{\,}l" * len(table.columns) + "@{}}", r"\toprule", *_head(table), r"\midrule"]
    for index, row in enumerate(table.rows):
        if index and (row.group, row.published) != (table.rows[index - 1].group, table.rows[index - 1].published):
            lines.append(r"\midrule")
        if row.group and (not index or row.group != table.rows[index - 1].group):
            lines.append(rf"\multicolumn{{{2 * len(table.columns) + 1}}}{{@{{}}l}}{{\emph{{{escape(row.group)}}}}} \\")
        cells = [_cell(row.values.get(column), places[column].get(index), table) for column in table.columns]
        lines.append(" & ".join([_label(row), *cells]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = _notes(table)
    if not table.caption:
        return "\n".join([_PREAMBLE, *lines, *notes]) + "\n"
    name = "table*" if table.wide else "table"
    caption = [rf"\caption{{{escape(table.caption)}}}\smallskip", *([rf"\label{{{table.label}}}"] if table.label else [])]
    return "\n".join([_PREAMBLE, rf"\begin{{{name}}}[t]", r"\centering", _TIGHT, *caption, *lines, *notes, rf"\end{{{name}}}"]) + "\n"


def to_macros(table: Table) -> str:
    r"""A ``\newcommand`` per number, so that text and table cannot disagree."""
    lines, seen = [], set()
    for row in table.rows:
        for column, value in sorted(row.values.items()):
            stem = "res" + "".join(_letters(part) for part in (row.label, column.dataset, column.metric, column.protocol, column.slice))
            name = next(name for name in (stem + _letters(str(k) if k else "") for k in itertools.count()) if name not in seen)
            seen.add(name)
            lines.append(rf"\newcommand{{\{name}}}{{{number(value, table.decimals)}}}")
            if value.low is not None and value.high is not None:
                ends = [f"{100 * end:.{table.decimals}f}" for end in (value.low, value.high)]
                lines.append(rf"\newcommand{{\{name}CI}}{{[{ends[0]}, {ends[1]}]}}")
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text that LaTeX sets as it is; letters that plain pdflatex has no font for become their code point."""
    return "".join(_ESCAPES.get(letter) or _letter(letter) for letter in text)


def _letter(letter: str) -> str:
    if letter.isspace():
        return " "
    if not letter.isprintable() or ord(letter) > 0x17F or 0x7F <= ord(letter) < 0xC0:
        return f"[U+{ord(letter):04X}]"
    return letter


def _head(table: Table) -> list[str]:
    lines = []
    if any(column.over for column in table.columns):
        cells, rules, at = [""], [], 2
        for over, members in itertools.groupby(table.columns, key=lambda column: column.over):
            width = 2 * len(list(members))
            cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(over)}}}")
            rules.append(rf"\cmidrule(lr){{{at}-{at + width - 1}}}" if over else "")
            at += width
        lines += [" & ".join(cells) + r" \\", "".join(rules)]
    titles = [_title(column.heading) if column.heading else _stacked(column.dataset, column.short) for column in table.columns]
    return [*lines, " & ".join(["Method", *(rf"\multicolumn{{2}}{{c}}{{{title}}}" for title in titles)]) + r" \\"]


def _stacked(*parts: str) -> str:
    return r"\begin{tabular}[b]{@{}c@{}}" + r"\\".join(_title(part) for part in parts) + r"\end{tabular}"


def _title(text: str) -> str:
    return escape(text).replace(r"IoU\_FG", r"IoU\textsubscript{FG}").replace(r"\_best", r"\textsubscript{best}")


def _cell(value: Value | None, place: int | None, table: Table) -> str:
    if value is None:
        return "-- &"
    shown = number(value, table.decimals)
    if place == 1:
        shown = rf"\textbf{{{shown}}}"
    elif place == 2:
        shown = rf"\underline{{{shown}}}"
    extent = spread(value, table.decimals, table.pm)
    small = rf"{{\scriptsize {escape(extent.strip())}}}" if extent else ""
    return f"{shown} & {small}{_superscript(value.marks)}".rstrip()


def _label(row: Row) -> str:
    marks = [*(["†"] if row.published else []), *(str(number) for number in row.refs)]
    return escape(row.label) + _superscript(tuple(marks))


def _superscript(marks: tuple[str, ...]) -> str:
    return rf"\textsuperscript{{{','.join(escape(mark) for mark in marks)}}}" if marks else ""


def _notes(table: Table) -> list[str]:
    """Two paragraphs: where the numbers of each row are from; then rules, marks and intervals. A mark never ends a line."""
    sources = [rf"\textsuperscript{{{number}}}~{escape(note)}." for number, note in enumerate(table.footnotes, 1)]
    rest = []
    for note in table.notes:
        mark = re.match(r"\^(\S+) ", note)
        rest.append(rf"\textsuperscript{{{escape(mark[1])}}}~{escape(note[mark.end() :])}." if mark else f"{escape(_sentence(note))}.")
    between = [r"\par\smallskip"] if sources else []
    return [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize\raggedright", *sources, *between, *rest, r"\end{minipage}"]


def _sentence(note: str) -> str:
    """With a capital, unless it begins with the name of a protocol."""
    return note if re.match(r"\S+@\d", note) else note[:1].upper() + note[1:]


def _letters(text: str) -> str:
    """A name of letters alone: ``clipseg/full`` is ClipsegFull, digits are spelled."""
    spelled = "".join(f" {_DIGITS[int(letter)]} " if letter in "0123456789" else " Plus " if letter == "+" else letter for letter in text)
    return "".join(word[:1].upper() + word[1:] for word in re.findall("[A-Za-z]+", spelled))
