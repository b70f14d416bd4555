"""A user's table of phrases: CSV or JSON lines, row by row, each with its place for errors."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ldznet_bench.errors import DataError


class Row:
    """One row.

    Attributes:
        place: file and line, for errors.
        values: column -> what stands there; empty CSV cells and JSON nulls are left out.
    """

    def __init__(self, place: str, values: Mapping[str, Any]) -> None:
        self.place = place
        self.values = {key: value for key, value in values.items() if value is not None and value != ""}

    def text(self, key: str) -> str:
        """A text that must be there, byte for byte."""
        value = self.optional(key)
        if value is None:
            raise self.error(f"{key!r} is missing or empty", "Every row needs it.")
        return value

    def optional(self, key: str) -> str | None:
        """A text, or None; JSON numbers count as their text, so that ids may be numbers."""
        value = self.values.get(key)
        if value is None or isinstance(value, str):
            return value
        if type(value) is int:
            return str(value)
        raise self.error(f"{key!r} should be text, is {value!r:.60}", "Put it in quotes.")

    def texts(self, key: str) -> tuple[str, ...]:
        """Several texts: a JSON list, or one cell with ``;`` between them."""
        value = self.values.get(key)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        return tuple(part.strip() for part in (self.optional(key) or "").split(";") if part.strip())

    def number(self, key: str) -> int | None:
        """A whole number of pixels, at least 1, or None."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
            value = int(value)
        if type(value) is not int or value < 1:
            raise self.error(f"{key!r} should be a whole number of pixels, is {value!r:.60}", "Correct it or leave it out.")
        return value

    def json(self, key: str) -> Any:  # noqa: ANN401 - any JSON value
        """A JSON value, or None; in CSV it is written as JSON text in the cell."""
        value = self.values.get(key)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            raise self.error(f"{key!r} is not valid JSON: {error}", "Quote it as CSV wants: double every quotation mark.") from error

    def error(self, what: str, remedy: str) -> DataError:
        """An error about this row."""
        return DataError(f"{self.place}: {what}.", remedy)


def read_table(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Rows of a ``.csv`` (with a header line) or ``.jsonl`` file (an object per line).

    Columns beside the known ones are ignored, unless they look like a known one misspelt.

    Args:
        path: the file, UTF-8, with or without a byte order mark.
        columns: the known names.

    Raises:
        DataError: unreadable, not UTF-8, not CSV or JSON (file and line are named), or a misspelt column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _csv(path, file, columns) if path.suffix == ".csv" else _jsonl(path, file, columns)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}.", "Check the path and its permissions.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error.reason}).", "Save it as UTF-8; in spreadsheets choose 'CSV UTF-8'.") from error


def _csv(path: Path, file: Any, columns: Sequence[str]) -> Iterator[Row]:  # noqa: ANN401
    reader = csv.DictReader(file, strict=True)
    try:
        _check_columns(reader.fieldnames or [], columns, path, 1)
        for values in reader:
            if None in values:
                raise DataError(f"{path}, line {reader.line_num}: more cells than the header has.", "Put texts that hold commas in quotes.")
            yield Row(f"{path}, line {reader.line_num}", values)
    except csv.Error as error:
        remedy = "Check its quotes; geometry of more than 131,072 characters goes in phrases.jsonl."
        raise DataError(f"{path}, line {reader.line_num}: not valid CSV: {error}.", remedy) from error


def _jsonl(path: Path, file: Any, columns: Sequence[str]) -> Iterator[Row]:  # noqa: ANN401
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: not valid JSON: {error}.", "Every line is one JSON object.") from error
        if not isinstance(values, dict):
            raise DataError(f"{path}, line {number}: no JSON object.", 'Write {"image": …, "phrase": …} on every line.')
        _check_columns(values, columns, path, number)
        yield Row(f"{path}, line {number}", values)


def _check_columns(names: Any, columns: Sequence[str], path: Path, line: int) -> None:  # noqa: ANN401 - any iterable of names
    for name in names:
        near = [] if name in columns else difflib.get_close_matches(str(name).strip().lower(), columns, n=1, cutoff=0.8)
        if near:
            raise DataError(f"{path}, line {line}: unknown column {name!r}.", f"Did you mean {near[0]!r}?")
