"""JSON files of hundreds of megabytes, one element at a time, with the place of every mistake.

PhraseCut's training file is 344 MB of text and several GB as Python objects; an element is 1 KB. Elements are decoded by the C scanner of
the standard library from a sliding window, at the same speed as `json.load`.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ldznet_bench.errors import DataError

_CHUNK = 1 << 20
_NEAR = 16  # an error this close to the window's end may be a literal, an escape or a number cut in two
_SPACE = " \t\n\r"
_REMEDY = "The file is damaged or was not downloaded whole: fetch it again."


def load_json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """A whole JSON file, for small ones.

    Raises:
        DataError: unreadable, truncated or invalid; file, line and column are named.
    """
    with _open(path) as file:
        reader = _Reader(path, file)
        value = reader.value("the file")
        reader.end()
    return value


def read_array(path: Path) -> Iterator[Any]:
    """Elements of a file that is one JSON array, in order.

    Raises:
        DataError: as `load_json`, with the element's index; or the file is no array.
    """
    with _open(path) as file:
        reader = _Reader(path, file)
        if reader.peek() != "[":
            raise reader.error("a list was expected", reader.pos)
        yield from reader.array("element")
        reader.end()


def read_arrays(path: Path) -> Iterator[tuple[str, Any]]:
    """Every (key, element) of a file that is one JSON object of arrays (COCO's ``images``, ``annotations``, …), in file order.

    A value that is no array comes once, whole.

    Raises:
        DataError: as `load_json`, with the element's index; or the file is no object.
    """
    with _open(path) as file:
        reader = _Reader(path, file)
        if reader.peek() != "{":
            raise reader.error("an object was expected", reader.pos)
        for key in reader.members():
            if reader.peek() == "[":
                for element in reader.array(f"{key} element"):
                    yield key, element
            else:
                yield key, reader.value(key)
        reader.end()


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}.", "Check the path and its permissions.") from error


class _Reader:
    """A window over the file's text; `pos` is where the next token starts."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.file = file
        self.decode = json.JSONDecoder().raw_decode
        self.utf8 = codecs.getincrementaldecoder("utf-8-sig")()
        self.text = ""
        self.pos = 0
        self.lines = 0  # line breaks before the window
        self.column = 0  # characters between the last of them and the window

    def peek(self) -> str:
        """The next character that is no white space; empty at the end of the file."""
        while True:
            while self.pos < len(self.text) and self.text[self.pos] in _SPACE:
                self.pos += 1
            if self.pos < len(self.text):
                return self.text[self.pos]
            if not self._fill():
                return ""

    def value(self, what: str) -> Any:  # noqa: ANN401
        self.peek()
        while True:
            try:
                value, end = self.decode(self.text, self.pos)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self.text) - _NEAR
                if cut and self._fill():
                    continue
                raise self.error(f"{what}: {error.msg}", error.pos) from error
            except RecursionError as error:
                raise self.error(f"{what} is nested too deeply", self.pos) from error
            if end >= len(self.text) - _NEAR and self._fill():
                continue  # a number may go on: "1.5e-" reads as 1.5
            self.pos = end
            return value

    def array(self, what: str) -> Iterator[Any]:
        self._take("[", what)
        if self.peek() == "]":
            self.pos += 1
            return
        index = 0
        while True:
            yield self.value(f"{what} {index}")
            index += 1
            if self._take(",]", f"{what} {index - 1}") == "]":
                return

    def members(self) -> Iterator[str]:
        self._take("{", "the file")
        if self.peek() == "}":
            self.pos += 1
            return
        while True:
            if self.peek() != '"':
                raise self.error("a key was expected", self.pos)
            key = self.value("a key")
            self._take(":", key)
            yield key
            if self._take(",}", key) == "}":
                return

    def end(self) -> None:
        if self.peek():
            raise self.error("something follows the end of the JSON value", self.pos)

    def error(self, what: str, pos: int) -> DataError:
        before = self.text[:pos]
        line = self.lines + before.count("\n") + 1
        column = (pos - before.rfind("\n") - 1 if "\n" in before else self.column + pos) + 1
        cut = "Unterminated" in what or pos >= len(self.text.rstrip(_SPACE))
        ended = "the file ends too early" if cut else "not valid JSON"
        return DataError(f"{self.path}, line {line}, column {column}: {ended} ({what}).", _REMEDY)

    def _take(self, choices: str, what: str) -> str:
        found = self.peek()
        if not found or found not in choices:
            raise self.error(f"after {what}: {' or '.join(map(repr, choices))} was expected", self.pos)
        self.pos += 1
        return found

    def _fill(self) -> bool:
        """Drop what was read, read on: at least as much as is pending, so that one large value costs linear time. False at the end."""
        pending = len(self.text) - self.pos
        raw = self.file.read(max(_CHUNK, pending))
        try:
            more = self.utf8.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            at = self.file.tell() - len(raw) + error.start
            raise DataError(f"{self.path}, near byte {at}: not UTF-8 ({error.reason}).", _REMEDY) from error
        if not raw and not more:
            return False
        breaks = self.text.count("\n", 0, self.pos)
        self.lines += breaks
        self.column = self.pos - self.text.rfind("\n", 0, self.pos) - 1 if breaks else self.column + self.pos
        self.text, self.pos = self.text[self.pos :] + more, 0
        return True
