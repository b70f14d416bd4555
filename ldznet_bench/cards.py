"""Cards: YAML files that declare datasets and models, read strictly into typed dataclasses.

A schema is a frozen dataclass; its annotations are the rules. A key that the schema does not know, a key given twice, a missing key or a
value of the wrong kind is an error that names the file, the line and the nearest key, so that a typo can never be silently ignored.

    @dataclass(frozen=True)
    class BaselineCard:
        name: str
        family: Literal["clipseg", "ldznet"]
        recipes: dict[str, Recipe]          # Recipe is another dataclass
        homepage: str | None = None         # a default makes a key optional

    card = load_card("baselines", "clipseg", BaselineCard)

Understood annotations: str, int, float (takes ints), bool, None, Any, Literal, unions, ``tuple[X, ...]``, ``dict[str, X]``, dataclasses.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import re
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

from ldznet_bench.errors import BenchError, unknown_name
from ldznet_bench.share import Folder, shared

Schema = TypeVar("Schema")

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser reads a card in 1 ms, the Python one in 10
_SCALARS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}
_TAGS = {
    "tag:yaml.org,2002:str": str,
    "tag:yaml.org,2002:int": int,
    "tag:yaml.org,2002:float": float,
    "tag:yaml.org,2002:bool": bool,
    "tag:yaml.org,2002:null": type(None),
}


def card_names(folder: Folder) -> list[str]:
    """Names of the cards in a shared folder, sorted: ``aigi`` for ``datasets/aigi.yaml``."""
    return sorted(path.stem for path in shared(folder).glob("*.yaml"))


def card_path(folder: Folder, name: str) -> Path:
    """The file of a card.

    Raises:
        BenchError: there is none of that name; the nearest one is named.
    """
    names = card_names(folder)
    if name not in names:
        raise unknown_name("dataset" if folder == "datasets" else "model", name, names)
    return shared(folder) / f"{name}.yaml"


def load_card(folder: Folder, name: str, schema: type[Schema], override: Path | None = None) -> Schema:
    """The card of a name, or the one in `override` (``--card FILE``), which stands in for it as a whole.

    Args:
        folder: which shared folder the card belongs to.
        name: file name without ``.yaml``.
        schema: frozen dataclass to read it into.
        override: a card file of the user's; the caller checks that it is for this name.

    Raises:
        BenchError: no such card, unreadable file, or not according to the schema (file, line, nearest key).
    """
    return read_card(override if override is not None else card_path(folder, name), schema)


def read_card(path: Path, schema: type[Schema]) -> Schema:
    """Read one YAML file into a dataclass.

    Raises:
        BenchError: as `load_card`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"cannot read the card {path}: {error}.", "Give the path of a YAML file in UTF-8.") from error
    try:
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        problem = getattr(error, "problem", None) or error
        raise BenchError(f"{where}: not YAML: {problem}.", "Mend the line, mind the indentation.") from error
    if node is None:
        raise BenchError(f"{path}: the card is empty.", "See the cards that come with ldznet_bench for the keys.")
    value: Schema = _Reader(path).read(node, schema, "the card")
    return value


def card_digest(card: Any) -> str:  # noqa: ANN401 - any dataclass instance
    """Sha256 (hex) over the card's values as canonical JSON; comments, order and layout of the file do not count."""
    text = json.dumps(dataclasses.asdict(card), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _fields(schema: type[Any]) -> dict[str, tuple[Any, bool]]:
    """Key -> (annotation, required) of a dataclass."""
    hints = typing.get_type_hints(schema)
    return {
        field.name: (hints[field.name], field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING)
        for field in dataclasses.fields(schema)
        if field.init
    }


class _Reader:
    """Turns YAML nodes into values of an annotation; knows the file for its errors."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.constructor = yaml.constructor.SafeConstructor()

    def read(self, node: yaml.Node, kind: Any, what: str) -> Any:  # noqa: ANN401
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if kind is Any:
            return self.constructor.construct_object(node, deep=True)
        if dataclasses.is_dataclass(kind):
            return self._dataclass(node, kind, what)
        if origin in (Union, types.UnionType):
            return self._union(node, arguments, what)
        if origin is Literal:
            return self._literal(node, arguments, what)
        if origin is tuple:
            return self._tuple(node, arguments[0], what)
        if origin is dict:
            return {key: self.read(child, arguments[1], f"{what} / {key}") for key, _, child in self._pairs(node, what)}
        return self._scalar(node, kind, what)

    def _dataclass(self, node: yaml.Node, schema: Any, what: str) -> Any:  # noqa: ANN401
        fields = _fields(schema)
        values: dict[str, Any] = {}
        for key, key_node, child in self._pairs(node, what):
            if key not in fields:
                near = difflib.get_close_matches(key, fields, n=1, cutoff=0.5)
                hint = f"Did you mean {near[0]!r}?" if near else "Known: " + ", ".join(fields) + "."
                raise self._error(key_node, f"unknown key {key!r} in {what}.", hint)
            values[key] = self.read(child, fields[key][0], key)
        missing = [key for key, (_, required) in fields.items() if required and key not in values]
        if missing:
            raise self._error(node, f"{what} lacks {', '.join(map(repr, missing))}.", "Add it.")
        try:
            return schema(**values)
        except ValueError as error:
            raise self._error(node, f"{what}: {error}.", "Correct the card.") from error

    def _union(self, node: yaml.Node, arguments: tuple[Any, ...], what: str) -> Any:  # noqa: ANN401
        if type(None) in arguments and _TAGS.get(node.tag) is type(None):
            return None
        rest = [argument for argument in arguments if argument is not type(None)]
        for argument in rest[:-1]:
            try:
                return self.read(node, argument, what)
            except BenchError:
                continue  # the last alternative's error is the one that is told
        return self.read(node, rest[-1], what)

    def _literal(self, node: yaml.Node, choices: tuple[Any, ...], what: str) -> Any:  # noqa: ANN401
        value = self.constructor.construct_object(node, deep=True)
        if value not in choices or type(value) not in {type(choice) for choice in choices}:
            near = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]!r}?" if near else "It may be " + ", ".join(map(repr, choices)) + "."
            raise self._error(node, f"{what} is {value!r}.", hint)
        return value

    def _tuple(self, node: yaml.Node, kind: Any, what: str) -> tuple[Any, ...]:  # noqa: ANN401
        if not isinstance(node, yaml.SequenceNode):
            raise self._error(node, f"{what} should be a list, is {_describe(node)}.", "Write [a, b] or one item per line after '- '.")
        return tuple(self.read(child, kind, what) for child in node.value)

    def _scalar(self, node: yaml.Node, kind: Any, what: str) -> Any:  # noqa: ANN401
        if kind not in _SCALARS:
            raise TypeError(f"a card schema cannot hold {kind!r} ({what})")
        found = _TAGS.get(node.tag) if isinstance(node, yaml.ScalarNode) else None
        if kind is float and (found is int or _is_exponent(node)):
            return float(node.value if found is str else self.constructor.construct_object(node))
        if found is not kind:
            remedy = "Put it in quotes." if kind is str and isinstance(node, yaml.ScalarNode) else f"Write {_SCALARS[kind]}."
            raise self._error(node, f"{what} should be {_SCALARS[kind]}, is {_describe(node)}.", remedy)
        return self.constructor.construct_object(node)

    def _pairs(self, node: yaml.Node, what: str) -> list[tuple[str, yaml.Node, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            raise self._error(node, f"{what} should be a mapping, is {_describe(node)}.", "Write 'key: value' lines.")
        pairs: dict[str, tuple[str, yaml.Node, yaml.Node]] = {}
        for key_node, child in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, f"a key of {what} is {_describe(key_node)}.", "Keys are plain words.")
            key = str(key_node.value)
            if key in pairs:
                raise self._error(key_node, f"{what} has {key!r} twice.", "Keep one of them.")
            pairs[key] = (key, key_node, child)
        return list(pairs.values())

    def _error(self, node: yaml.Node, what: str, remedy: str) -> BenchError:
        return BenchError(f"{self.path}:{node.start_mark.line + 1}: {what}", remedy)


def _describe(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value)
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _is_exponent(node: yaml.Node) -> bool:
    """YAML 1.1 takes 1e-3 for text (no dot); a card means a number."""
    return isinstance(node, yaml.ScalarNode) and not node.style and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", str(node.value)) is not None
