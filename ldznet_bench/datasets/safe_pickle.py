"""Pickles of plain data, read without the pickle machine.

REFER ships its annotations as Python-2 pickles, which can run any code when they are loaded. This reader knows only the operations that
build None, booleans, numbers, text, lists, tuples and dicts; everything that would name, call or import something is refused by name, before
anything is built. It also bounds what a hostile file can cost: the standard library's reader would, for one, allocate 64 GB for a memo index.

RefCOCO's 142,210 sentences are five million operations; they take a few seconds once, when the set is prepared.
"""

from __future__ import annotations

import codecs
import pickletools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ldznet_bench.errors import DataError

MAX_BYTES = 1 << 29  # refs(unc).p of RefCOCO has about 60 MB
MAX_DEPTH = 16  # REFER nests five deep: list, ref, sentences, sentence, tokens
_MAX_DIGITS = 40  # of a number written in decimal

_MARK = object()
_STOP, _BINPUT, _LONG_BINPUT, _BINGET, _BINUNICODE = b".qrhX"
_from_bytes = int.from_bytes


class _Refused(Exception):  # noqa: N818 - internal
    """An operation outside plain data."""


def load_plain_pickle(path: Path) -> Any:  # noqa: ANN401 - plain data of any shape
    """The value of a pickle file that holds plain data only.

    Python 2's byte strings become text: UTF-8 where they are, Latin-1 for each byte that is not.

    Raises:
        DataError: unreadable, over `MAX_BYTES`, truncated or malformed (the byte is named), nested deeper than `MAX_DEPTH`, or not plain
            data: every global that it names is listed. Nothing of it is ever imported or run.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path} has {size} bytes; a pickle of annotations has under {MAX_BYTES}.", "Is this the right file?")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}.", "Check the path and its permissions.") from error
    machine = _Machine(data)
    try:
        value = machine.run()
    except _Refused as error:
        raise DataError(
            f"{path}, byte {machine.pos}: refused, because it is not plain data: {error}{_named(data)}.",
            "An annotation file needs none of this; do not load it with anything else, and fetch it again from a source you trust.",
        ) from error
    except (IndexError, KeyError, ValueError, TypeError, struct.error, AttributeError) as error:
        raise DataError(f"{path}, byte {machine.pos}: damaged pickle ({error}).", "The file was not downloaded whole: fetch it again.") from error
    if _deeper(value, MAX_DEPTH):
        raise DataError(f"{path}: its data is nested more than {MAX_DEPTH} deep.", "This is no REFER annotation file.")
    return value


def _latin1(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("ldznet_bench.latin1", _latin1)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "ldznet_bench.latin1")


class _Machine:
    """The stack machine of pickle protocols 0 to 2, plain data only, with the four plain operations of 3 to 5 that Python 3 writes.

    `stack` holds values and marks; `memo` what was stored under a number. One method per operation, found by its byte.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:  # noqa: ANN401
        """Memo and text operations, three quarters of all, are done in the loop itself; the others by the table. That is 2x faster."""
        data, operations, stack, memo = self.data, _OPERATIONS, self.stack, self.memo
        pos, end = 0, len(data)
        while pos < end:
            code = data[pos]
            pos += 1
            if code == _BINPUT:
                memo[data[pos]] = stack[-1]
                pos += 1
            elif code == _BINGET:
                stack.append(memo[data[pos]])
                pos += 1
            elif code == _LONG_BINPUT:
                memo[_from_bytes(data[pos : pos + 4], "little")] = stack[-1]
                pos += 4
            elif code == _BINUNICODE:
                start = pos + 4
                pos = start + _from_bytes(data[pos:start], "little")
                stack.append(data[start:pos].decode("utf-8", "surrogatepass"))
            elif code == _STOP:
                return self.result()
            else:
                self.pos = pos
                operation = operations[code]
                if operation is None:
                    raise _Refused(_NAMES.get(code, f"unknown operation {code:#04x}"))
                operation(self)
                pos = self.pos
        self.pos = end
        raise ValueError("it ends too early")

    def result(self) -> Any:  # noqa: ANN401
        if len(self.stack) != 1 or self.stack[0] is _MARK:
            raise ValueError("it stops without its one value")
        return self.stack[0]

    def take(self, count: int) -> bytes:
        start, self.pos = self.pos, self.pos + count
        if count < 0 or self.pos > len(self.data):
            raise ValueError("it ends too early")
        return self.data[start : self.pos]

    def line(self) -> bytes:
        end = self.data.index(b"\n", self.pos)
        found, self.pos = self.data[self.pos : end], end + 1
        return found

    def to_mark(self) -> list[Any]:
        stack = self.stack
        at = len(stack) - 1
        while stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ValueError("a mark is missing")
        items = stack[at + 1 :]
        del stack[at:]
        return items

    def value(self) -> Any:  # noqa: ANN401
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value should be")
        return value

    def store(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise ValueError("items are added to what is no list")
        target.extend(items)

    def update(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise ValueError("items are set in what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (str, int, float, bool, type(None)):
                raise ValueError("a key is no text or number")
            target[key] = value

    def dict_to_mark(self) -> None:
        items = self.to_mark()
        self.stack.append({})
        self.update(items)

    def pop_pair(self) -> list[Any]:
        second = self.value()
        return [self.value(), second]

    def tuple_of(self, count: int) -> None:
        items = [self.value() for _ in range(count)]
        self.stack.append(tuple(reversed(items)))

    def protocol(self) -> None:
        if self.take(1)[0] > 5:
            raise ValueError("its protocol is none that is known")


def _integer(text: bytes) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError("a number has too many digits")
    return int(text)


def _decimal_or_bool(machine: _Machine) -> None:
    line = machine.line()
    machine.stack.append({b"00": False, b"01": True}[line] if line in (b"00", b"01") else _integer(line))


def _long(machine: _Machine, width: str) -> None:
    (count,) = struct.unpack(width, machine.take(struct.calcsize(width)))
    if count > _MAX_DIGITS:
        raise ValueError("a number has too many digits")
    machine.stack.append(int.from_bytes(machine.take(count), "little", signed=True))


def _quoted(machine: _Machine) -> None:
    line = machine.line().strip()
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
        raise ValueError("a text without its quotes")
    machine.stack.append(_text(codecs.escape_decode(line[1:-1])[0]))


def _sized(width: str, decode: Callable[[bytes], Any]) -> Callable[[_Machine], None]:
    size = struct.calcsize(width)
    unpack = struct.Struct(width).unpack

    def operation(machine: _Machine) -> None:
        machine.stack.append(decode(machine.take(unpack(machine.take(size))[0])))

    return operation


def _number(width: str) -> Callable[[_Machine], None]:
    size = struct.calcsize(width)
    unpack = struct.Struct(width).unpack

    def operation(machine: _Machine) -> None:
        machine.stack.append(unpack(machine.take(size))[0])

    return operation


def _unicode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def _get(machine: _Machine, key: int) -> None:
    machine.stack.append(machine.memo[key])


_PLAIN: dict[bytes, Callable[[_Machine], Any]] = {
    b"(": lambda m: m.stack.append(_MARK),
    b"0": lambda m: m.stack.pop(),
    b"1": lambda m: m.to_mark(),
    b"2": lambda m: m.stack.append(m.stack[-1]),
    b"N": lambda m: m.stack.append(None),
    b"\x88": lambda m: m.stack.append(True),
    b"\x89": lambda m: m.stack.append(False),
    b"I": _decimal_or_bool,
    b"L": lambda m: m.stack.append(_integer(m.line().rstrip(b"L"))),
    b"K": lambda m: m.stack.append(m.take(1)[0]),
    b"M": _number("<H"),
    b"J": _number("<i"),
    b"\x8a": lambda m: _long(m, "<B"),
    b"\x8b": lambda m: _long(m, "<i"),
    b"F": lambda m: m.stack.append(float(m.line())),
    b"G": _number(">d"),
    b"S": _quoted,
    b"T": _sized("<i", _text),
    b"U": _sized("<B", _text),
    b"V": lambda m: m.stack.append(m.line().decode("raw-unicode-escape")),
    b"]": lambda m: m.stack.append([]),
    b"l": lambda m: m.stack.append(m.to_mark()),
    b"a": lambda m: m.extend([m.value()]),
    b"e": lambda m: m.extend(m.to_mark()),
    b"}": lambda m: m.stack.append({}),
    b"d": lambda m: m.dict_to_mark(),
    b"s": lambda m: m.update(m.pop_pair()),
    b"u": lambda m: m.update(m.to_mark()),
    b")": lambda m: m.stack.append(()),
    b"t": lambda m: m.stack.append(tuple(m.to_mark())),
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"p": lambda m: m.store(_integer(m.line())),
    b"g": lambda m: _get(m, _integer(m.line())),
    b"j": lambda m: _get(m, struct.unpack("<I", m.take(4))[0]),
    b"\x80": lambda m: m.protocol(),
    b"\x8c": _sized("<B", _unicode),
    b"\x94": lambda m: m.store(len(m.memo)),
    b"\x95": lambda m: m.take(8),
}
_OPERATIONS = [_PLAIN.get(bytes([code])) for code in range(256)]
_NAMES = {ord(opcode.code.encode("latin-1")): f"operation {opcode.name}" for opcode in pickletools.opcodes}


def _named(data: bytes) -> str:
    """Every global that the pickle names, for the error; as far as the file can be followed."""
    found: dict[str, None] = {}
    texts: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in ("GLOBAL", "INST"):
                found[str(argument).replace(" ", ".")] = None
            elif opcode.name == "STACK_GLOBAL":
                found[".".join(texts[-2:]) or "?"] = None
            elif isinstance(argument, str):
                texts.append(argument)
    except (ValueError, IndexError, struct.error, OverflowError, MemoryError):
        pass  # the rest cannot be followed; what was found is still worth naming
    return f"; it names {', '.join(found)}" if found else ""


def _deeper(value: Any, limit: int) -> bool:  # noqa: ANN401
    """Whether some container is reached only through more than `limit` others. Each is visited once, so shared and circular ones cost nothing."""
    seen: set[int] = set()
    level = [value]
    for _ in range(limit):
        inner: list[Any] = []
        for container in level:
            if isinstance(container, list | tuple | dict) and id(container) not in seen:
                seen.add(id(container))
                members = container.values() if isinstance(container, dict) else container
                inner.extend(member for member in members if type(member) in (list, tuple, dict))
        if not inner:
            return False
        level = inner
    return True
