"""Values of parsed JSON, checked: what is missing or of the wrong kind is named with its file, place and id."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from ldznet_bench.errors import DataError

MAX_SIDE = 1_000_000
_INT64 = 2**63
_KINDS = {str: "text", int: "a whole number", list: "a list", dict: "an object"}


class Fields:
    """A JSON object at a place.

    Args:
        value: what should be an object.
        place: file and index, for errors: ``refer_test.json, element 3``.
    """

    def __init__(self, value: Any, place: str) -> None:  # noqa: ANN401
        if not isinstance(value, dict):
            raise DataError(f"{place}: an object was expected, found {shorten(value)}.", "Is this the file that its name says?")
        self.value: dict[str, Any] = value
        self.place = place

    def text(self, key: str) -> str:
        """A text value, as it stands."""
        value = self.value.get(key)
        if type(value) is not str:
            self._fail(key, str)
        return value

    def identifier(self, key: str) -> str:
        """An id: a non-empty text or a whole number, as text."""
        value = self.value.get(key)
        if type(value) is int:
            return str(value)
        if type(value) is not str or not value:
            self._fail(key, int)
        return value

    def integer(self, key: str) -> int:
        """A whole number; 3.0 counts as one, since some tools write all numbers so."""
        value = self.value.get(key)
        if type(value) is float and value.is_integer():
            return int(value)
        if type(value) is not int or abs(value) >= _INT64:
            self._fail(key, int)
        return value

    def size(self, key: str) -> int:
        """A whole number of pixels, from 1 to `MAX_SIDE`."""
        value = self.integer(key)
        if not 1 <= value <= MAX_SIDE:
            self.fail(f"{key!r} is {value}; an image has from 1 to {MAX_SIDE:,} pixels a side")
        return value

    def items(self, key: str) -> list[Any]:
        """A list."""
        value = self.value.get(key)
        if type(value) is not list:
            self._fail(key, list)
        return value

    def texts(self, key: str) -> list[str]:
        """A list of texts."""
        value = self.items(key)
        if not all(type(item) is str for item in value):
            self.fail(f"{key!r} should hold texts only, is {shorten(value)}")
        return value

    def fields(self, key: str) -> Fields:
        """An object within."""
        value = self.value.get(key)
        if type(value) is not dict:
            self._fail(key, dict)
        return Fields(value, f"{self.place}, {key}")

    def box(self, key: str) -> tuple[float, float, float, float]:
        """Four finite numbers."""
        return self._box(self.value.get(key), key)

    def boxes(self, key: str) -> tuple[tuple[float, float, float, float], ...]:
        """A list of four finite numbers each."""
        return tuple(self._box(box, key) for box in self.items(key))

    def fail(self, what: str) -> NoReturn:
        """Raise about this object."""
        known = next(
            (f" ({key} {self.value[key]!r})" for key in ("task_id", "ref_id", "sent_id", "id") if type(self.value.get(key)) in (int, str)), ""
        )
        raise DataError(f"{self.place}{known}: {what}.", "The release is damaged or not of this format; fetch it again.")

    def _box(self, value: Any, key: str) -> tuple[float, float, float, float]:  # noqa: ANN401
        good = isinstance(value, list) and len(value) == 4 and all(type(x) in (int, float) and math.isfinite(x) for x in value)
        if not good:
            self.fail(f"{key!r} should hold boxes of four finite numbers, found {shorten(value)}")
        x, y, w, h = value
        return float(x), float(y), float(w), float(h)

    def _fail(self, key: str, kind: type) -> NoReturn:
        if key not in self.value:
            self.fail(f"{key!r} is missing")
        self.fail(f"{key!r} should be {_KINDS[kind]}, is {shorten(self.value[key])}")


def numbers(values: Sequence[Any]) -> npt.NDArray[np.float64] | None:
    """A flat list of finite numbers as float64 (n,), or None where it holds anything else."""
    if not values:
        return np.empty(0, dtype=np.float64)
    # One pass in C: text, None and lists are other types; booleans count as numbers nowhere.
    if not set(map(type, values)) <= {int, float}:
        return None
    try:
        array = np.array(values, dtype=np.float64)
    except OverflowError:
        return None
    return array if bool(np.isfinite(array).all()) else None


def flatten(lists: Sequence[Sequence[Any]]) -> list[Any]:
    """One level of lists less."""
    return list(itertools.chain.from_iterable(lists))


def shorten(value: Any) -> str:  # noqa: ANN401
    """A value for an error message: containers by kind and length, so that deep or huge ones are safe to name."""
    if isinstance(value, str | bytes):
        return repr(value[:40]) + ("…" if len(value) > 40 else "")
    if isinstance(value, Mapping):
        return f"an object of {len(value)} keys"
    if isinstance(value, list | tuple | set):
        return f"a list of {len(value)}"
    return repr(value)[:60]
