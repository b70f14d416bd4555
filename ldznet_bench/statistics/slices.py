"""Slices: one small language over what records say about a sample.

* ``size<0.02``: the share of the canvas that is true;
* ``n_instances>=5 and not p_att``: any tag stands for itself (PhraseCut's 43, ...);
* ``category="traffic light" or words>4``: text stands in quotes where it has spaces;
* ``leaked``, ``clean``: the image is, is not among ``--leaked-ids``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ldznet_bench.errors import BenchError, unknown_name

COLUMNS = ("phrase", "width", "height", "n_instances", "category", "coco_id", "tags", "flags", "gt_area", "image_id")
INSTANCES = (("n_instances<=1", "1 instance"), ("n_instances>=2 and n_instances<=4", "2-4 instances"), ("n_instances>=5", "5+ instances"))
WORDS = (("words<=1", "1 word"), ("words=2", "2 words"), ("words>=3 and words<=4", "3-4 words"), ("words>=5", "5+ words"))
SIZES = (("size<0.02", "small"), ("size>=0.02 and size<=0.2", "mid"), ("size>0.2", "large"))

BoolArray = npt.NDArray[np.bool_]
_TOKEN = re.compile(r"""\s*(?:(?P<text>"[^"]*"|'[^']*')|(?P<sign><=|>=|!=|=|<|>|\(|\))|(?P<word>[^\s<>=!()"']+))""")
_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}
_NUMBERS: dict[str, Callable[[pa.Table], npt.NDArray[Any]]] = {
    "size": lambda table: _of(table, "gt_area") / np.maximum(1, _of(table, "width").astype(float) * _of(table, "height")),
    "n_instances": lambda table: _of(table, "n_instances"),
    "gt_area": lambda table: _of(table, "gt_area"),
    "width": lambda table: _of(table, "width"),
    "height": lambda table: _of(table, "height"),
    "words": lambda table: np.array([len(phrase.split()) for phrase in table.column("phrase").to_pylist()], dtype=np.int64),
    "characters": lambda table: np.array([len(phrase) for phrase in table.column("phrase").to_pylist()], dtype=np.int64),
}
_TEXTS = ("category", "image_id", "phrase")
_KEYWORDS = ("and", "or", "not")


class Slices:
    """Answers expressions for the samples of one run.

    Args:
        table: with `COLUMNS`, a row per sample.
        leaked: image ids that a model was exposed to, COCO's own as ``coco:ID``; None where nobody said.
        absent: tags that this dataset cannot have here, and why nobody should read them as empty.
    """

    def __init__(self, table: pa.Table, leaked: Collection[str] | None = None, absent: Sequence[str] = ()) -> None:
        self._table = table
        self._leaked = leaked
        self._absent = frozenset(absent)
        self._tags = _tag_rows(table)

    @property
    def tags(self) -> list[str]:
        """Every tag that occurs, sorted."""
        return sorted(self._tags)

    def where(self, expression: str) -> BoolArray:
        """The rows that an expression admits.

        Raises:
            BenchError: it cannot be read, or a name in it means nothing here; the place and the nearest name are given.
        """
        parser = _Parser(expression, self)
        return parser.parse()

    def by(self, what: str) -> list[tuple[str, BoolArray]]:
        """Named slices: ``size``, ``n_instances``, ``words``, ``category``, ``tags``, ``leaked``, or expressions separated by ``;``.

        Raises:
            BenchError: see `where`.
        """
        if what == "size":
            return [(name, self.where(expression)) for expression, name in SIZES]
        if what == "n_instances":
            return [(name, self.where(expression)) for expression, name in INSTANCES]
        if what == "words":
            return [(name, self.where(expression)) for expression, name in WORDS]
        if what == "category":
            names = sorted({name for name in self._table.column("category").to_pylist() if name is not None})
            return [(name, self._text("category", "=", name)) for name in names]
        if what == "tags":
            return [(name, self._tags[name]) for name in self.tags]
        if what == "leaked":
            return [(name, self.where(name)) for name in ("leaked", "clean")]
        return [(part.strip(), self.where(part)) for part in what.split(";") if part.strip()]

    def name(self, name: str) -> BoolArray:
        """Rows of a bare name: a tag, ``leaked`` or ``clean``."""
        if name in ("leaked", "clean"):
            found = self._leaked_rows()
            return found if name == "leaked" else ~found
        if name in self._tags:
            return self._tags[name]
        if name in self._absent:
            raise BenchError(
                f"the slice {name!r} is absent from this dataset: what decides it was not in the release.", "See `absent_slices` in summary.json."
            )
        raise unknown_name("slice", name, [*self._tags, *_NUMBERS, *_TEXTS, "leaked", "clean"])

    def compare(self, name: str, sign: str, value: str, *, quoted: bool) -> BoolArray:
        """Rows of ``name sign value``."""
        if name in _TEXTS:
            return self._text(name, sign, value)
        if name not in _NUMBERS:
            raise unknown_name("quantity", name, [*_NUMBERS, *_TEXTS])
        try:
            number = float(value)
        except ValueError as error:
            raise BenchError(f"{name} {sign} {value}: {value!r} is not a number.", f"Write, for example, {name}{sign}2.") from error
        found: BoolArray = _SIGNS[sign](_NUMBERS[name](self._table), number)
        return found

    def _text(self, name: str, sign: str, value: str) -> BoolArray:
        if sign not in ("=", "!="):
            raise BenchError(f"{name} is text and cannot be compared with {sign}.", f'Write {name}="{value}" or {name}!="{value}".')
        same = np.array([text == value for text in self._table.column(name).to_pylist()], dtype=bool)
        return same if sign == "=" else ~same

    def _leaked_rows(self) -> BoolArray:
        if self._leaked is None:
            raise BenchError(
                "`leaked` and `clean` need to know which images a model has seen.", "Give --leaked-ids FILE; `ldznet-bench audit` writes one."
            )
        images, coco = (self._table.column(name).to_pylist() for name in ("image_id", "coco_id"))
        return np.array([image in self._leaked or f"coco:{ident}" in self._leaked for image, ident in zip(images, coco, strict=True)], dtype=bool)


class _Parser:
    """``or`` binds least, then ``and``, then ``not``; parentheses group."""

    def __init__(self, expression: str, slices: Slices) -> None:
        self._expression = expression
        self._slices = slices
        self._tokens = list(self._read())
        self._at = 0

    def parse(self) -> BoolArray:
        if not self._tokens:
            raise BenchError("an empty slice expression.", "Write, for example, size<0.02.")
        found = self._or()
        if self._at < len(self._tokens):
            raise self._error(f"did not expect {self._tokens[self._at][1]!r}")
        return found

    def _read(self) -> list[tuple[str, str]]:
        tokens, at = [], 0
        while at < len(self._expression.rstrip()):
            match = _TOKEN.match(self._expression, at)
            if match is None:
                raise self._error(f"cannot read {self._expression[at:].strip()!r}")
            kind = str(match.lastgroup)
            value = match.group(kind)
            tokens.append((kind, value[1:-1] if kind == "text" else value))
            at = match.end()
        return tokens

    def _or(self) -> BoolArray:
        found = self._and()
        while self._take("or"):
            found = found | self._and()
        return found

    def _and(self) -> BoolArray:
        found = self._not()
        while self._take("and"):
            found = found & self._not()
        return found

    def _not(self) -> BoolArray:
        if self._take("not"):
            return ~self._not()
        if self._take("("):
            found = self._or()
            if not self._take(")"):
                raise self._error("a parenthesis is not closed")
            return found
        return self._term()

    def _term(self) -> BoolArray:
        kind, name = self._next()
        if kind == "sign" or name in _KEYWORDS:
            raise self._error(f"expected a name, found {name!r}")
        if self._at < len(self._tokens) and self._tokens[self._at][0] == "sign" and self._tokens[self._at][1] in _SIGNS:
            sign = self._next()[1]
            kind, value = self._next()
            if kind == "sign":
                raise self._error(f"expected a value after {sign!r}, found {value!r}")
            return self._slices.compare(name, sign, value, quoted=kind == "text")
        return self._slices.name(name)

    def _take(self, word: str) -> bool:
        here = self._at < len(self._tokens) and self._tokens[self._at][0] != "text" and self._tokens[self._at][1] == word
        self._at += here
        return here

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise self._error("it ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _error(self, what: str) -> BenchError:
        return BenchError(
            f"slice expression {self._expression!r}: {what}.", 'Write, for example, size<0.02 and not p_att, or category="traffic light".'
        )


def _of(table: pa.Table, name: str) -> npt.NDArray[Any]:
    return np.asarray(table.column(name))


def _tag_rows(table: pa.Table) -> dict[str, BoolArray]:
    tags = table.column("tags").to_pylist()
    rows: dict[str, BoolArray] = {}
    for row, names in enumerate(tags):
        for name in names:
            if name not in rows:
                rows[name] = np.zeros(len(tags), dtype=bool)
            rows[name][row] = True
    return rows
