"""The word lists behind 13 of PhraseCut's subsets, read from the user's own copy.

They are the authors', who state no licence, and exist only in their ``utils/subset.py``; so they are not part of this package. That file is
read as text: its list literals are taken, nothing in it is run. A JSON object of lists under the same names does as well.
"""

from __future__ import annotations

import ast
import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldznet_bench.datasets.jsonstream import load_json
from ldznet_bench.errors import BenchWarning, DataError

VARIABLE = "LDZNET_BENCH_PHRASECUT_WORDS"
ATTRIBUTE_TYPES = ("color", "shape", "material", "texture", "state", "adj", "noun", "loc", "count", "bad")
OFFICIAL_SHA256 = "2547905472dbc0c60d9243c39fb903473e49978610626f8dd981fa6d7c36d664"  # utils/subset.py at 276470b

# What each list is called there in part, and how many words the official one has: enough to tell them apart without knowing the file's form.
_SIZES = {
    **dict(zip(ATTRIBUTE_TYPES, (50, 65, 49, 40, 78, 79, 40, 21, 14, 10), strict=True)),
    "coco": 80,
    "stuff": 85,
}
_MAX_BYTES = 1 << 20  # the official file has 20 KB


@dataclass(frozen=True, slots=True)
class WordLists:
    """The lists.

    Attributes:
        attributes: attribute type (`ATTRIBUTE_TYPES`) -> its words.
        coco: the 80 COCO class names.
        stuff: words that make a name stuff, in the source's order.
    """

    attributes: Mapping[str, frozenset[str]]
    coco: frozenset[str]
    stuff: tuple[str, ...]


def find_word_lists(given: Path | None, release: Path, root: Path, home: Path) -> Path | None:
    """Where the user keeps the lists, or None.

    Looked for in this order: `given`, the environment variable `VARIABLE`, ``utils/subset.py`` in and around the release (the release
    unpacked inside a checkout of the authors' repository), ``HOME/phrasecut/subset.py`` and ``HOME/phrasecut/words.json``.

    Raises:
        DataError: `given` or the variable names a file that is not there.
    """
    stated = given if given is not None else Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None
    if stated is not None:
        stated = stated.expanduser()
        if not stated.is_file():
            raise DataError(f"PhraseCut's word lists were to be read from {stated}, which is no file.", "Give the path of utils/subset.py.")
        return stated
    return next((place for place in word_list_places(release, root, home) if place.is_file()), None)


def word_list_places(release: Path, root: Path, home: Path) -> list[Path]:
    """Every place that `find_word_lists` looks at when none was named."""
    folders = dict.fromkeys((release, release.parent, release.parent.parent, root))
    inside = [folder / name for folder in folders for name in ("utils/subset.py", "PhraseCutDataset/utils/subset.py", "subset.py")]
    return [*inside, home / "phrasecut" / "subset.py", home / "phrasecut" / "words.json"]


def read_word_lists(path: Path) -> WordLists:
    """The lists of a ``.py`` (literals only, never run) or ``.json`` file.

    A Python file other than the one at commit 276470b is read all the same, with a warning: its subsets may differ.

    Raises:
        DataError: unreadable, or some list cannot be found in it; they are named.
    """
    lists = _from_json(path) if path.suffix == ".json" else _from_python(path)
    chosen = {name: _choose(name, size, lists) for name, size in _SIZES.items()}
    missing = [name for name, words in chosen.items() if words is None]
    if missing:
        raise DataError(
            f"{path} has no word lists for {', '.join(missing)} (list literals whose names hold these words were looked for).",
            "Give utils/subset.py of the PhraseCutDataset repository as it is, or a JSON object of lists.",
        )
    words = {name: tuple(found) for name, found in chosen.items() if found is not None}
    return WordLists({kind: frozenset(words[kind]) for kind in ATTRIBUTE_TYPES}, frozenset(words["coco"]), words["stuff"])


def _from_json(path: Path) -> dict[str, list[str]]:
    value = load_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path} is no JSON object of word lists.", "Give one list per name: att_color, …, coco, stuff_names.")
    return {str(name): words for name, words in value.items() if _is_words(words)}


def _from_python(path: Path) -> dict[str, list[str]]:
    try:
        content = path.read_bytes()
        if len(content) > _MAX_BYTES:
            raise DataError(f"{path} has {len(content)} bytes, far more than PhraseCut's utils/subset.py.", "Give that file.")
        if hashlib.sha256(content).hexdigest() != OFFICIAL_SHA256:
            warnings.warn(
                f"{path} is not PhraseCut's utils/subset.py of commit 276470b; its word lists are used as they are, and subsets may differ.",
                BenchWarning,
                stacklevel=2,
            )
        tree = ast.parse(content)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"cannot read word lists from {path}: {error}.", "Give utils/subset.py of the PhraseCutDataset repository.") from error
    names: dict[str, Any] = {}
    found: dict[str, list[str]] = {}
    for name, node in _assignments(tree):
        value = _literal(node, names)
        names[name] = value
        inner = {f"{name}.{key}": words for key, words in value.items() if _is_words(words)} if isinstance(value, dict) else {}
        found |= {key: list(words) for key, words in (inner or {name: value}).items() if _is_words(words)}
    return found


def _assignments(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """(name, value) of every assignment, at any depth, in source order."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None]
    for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset)):
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            name = target.id if isinstance(target, ast.Name) else target.attr if isinstance(target, ast.Attribute) else None
            if name is not None and node.value is not None:
                yield name, node.value


def _literal(node: ast.expr, names: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a literal, or None for what is none
    """A literal's value; also ``set([...])``, ``"a b".split()``, sums and names of earlier literals. None for anything else."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _literal(node.left, names), _literal(node.right, names)
        return [*left, *right] if _is_words(left) and _is_words(right) else None
    if isinstance(node, ast.Call):
        return _call(node, names)
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    return value


def _call(node: ast.Call, names: Mapping[str, Any]) -> Any:  # noqa: ANN401
    if isinstance(node.func, ast.Name) and node.func.id in ("set", "frozenset", "list", "tuple") and len(node.args) == 1:
        return _literal(node.args[0], names)
    if isinstance(node.func, ast.Attribute) and node.func.attr == "split":
        text = _literal(node.func.value, names)
        arguments = [_literal(argument, names) for argument in node.args]
        if isinstance(text, str) and all(isinstance(argument, str) and argument for argument in arguments[:1]):
            return [word.strip() for word in text.split(*arguments[:1])]
    return None


def _choose(name: str, size: int, lists: Mapping[str, list[str]]) -> list[str] | None:
    """The list for a name: called like it if any is, of the official size if several are, the longest otherwise; else the only one of that size."""
    called = {key: words for key, words in lists.items() if name in key.lower()}
    if name in ATTRIBUTE_TYPES:
        # "count" is also part of other names; an attribute list says so, or ends in its type.
        called = {key: words for key, words in called.items() if "att" in key.lower() or key.lower().endswith(name)} or called
    sized = [words for words in called.values() if len(words) == size]
    if called:
        return sized[0] if sized else max(called.values(), key=len)
    alone = [words for words in lists.values() if len(words) == size]
    return alone[0] if len(alone) == 1 else None


def _is_words(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, list | tuple | set | frozenset | dict) and len(value) > 1 and all(isinstance(word, str) for word in value)
