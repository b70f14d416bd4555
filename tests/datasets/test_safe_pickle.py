import builtins
import copyreg
import os
import pickle
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldznet_bench.datasets import safe_pickle
from ldznet_bench.datasets.safe_pickle import load_plain_pickle
from ldznet_bench.errors import DataError

SCALARS = st.none() | st.booleans() | st.integers(-(2**100), 2**100) | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8"))
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), inner, max_size=5)
        | st.tuples(inner)
        | st.tuples(inner, inner)
    ),
    max_leaves=20,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pickles")


def read(folder, data):
    path = folder / "x.p"
    path.write_bytes(data)
    return load_plain_pickle(path)


@settings(max_examples=200, deadline=None)
@given(value=PLAIN, protocol=st.integers(0, 5))
def test_plain_data_of_every_protocol(folder, value, protocol):
    if safe_pickle._deeper(value, safe_pickle.MAX_DEPTH):
        return
    assert read(folder, pickle.dumps(value, protocol)) == value


def test_types_survive(folder):
    value = [True, 1, 1.0, "1", None, (1,), [], {}, ()]
    for protocol in range(5):
        found = read(folder, pickle.dumps(value, protocol))
        assert [type(item) for item in found] == [type(item) for item in value]


@pytest.mark.parametrize("name", ["refcoco/refs(unc).p", "refcoco/refs(google).p", "refcocog/refs(umd).p"])
def test_python2_pickles_equal_the_standard_library(goldens, name):
    path = goldens / "refer_data" / name
    assert load_plain_pickle(path) == pickle.loads(path.read_bytes(), encoding="utf-8")


@pytest.mark.parametrize(
    "data, text",
    [
        (b"S'caf\\xc3\\xa9'\n.", "café"),  # UTF-8 in a Python 2 str
        (b"S'caf\\xe9'\n.", "café"),  # Latin-1
        (b"U\x05caf\xc3\xa9.", "café"),
        (b"T\x04\x00\x00\x00caf\xe9.", "café"),
        (b"Vcaf\\u00e9 \\u4e2d\n.", "café 中"),
        (b"X\x05\x00\x00\x00caf\xc3\xa9.", "café"),
        (b'S"it\'s"\n.', "it's"),
    ],
)
def test_text_of_python_2(folder, data, text):
    assert read(folder, data) == text


class Call:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value, named",
    [
        ([Call(os.system, "touch owned")], f"{os.system.__module__}.system"),
        ({"a": Call(builtins.getattr, "x", "y")}, "builtin"),
        (Call(builtins.eval, "1"), "eval"),
        ([Call(copyreg._reconstructor, int, object, None)], "_reconstructor"),
        (os.path.join, "join"),
        (struct.Struct, "Struct"),
    ],
)
def test_everything_that_calls_or_names_is_refused_by_name(folder, value, named, protocol, monkeypatch):
    monkeypatch.setattr(os, "system", os.system)
    with pytest.raises(DataError, match="not plain data") as caught:
        read(folder, pickle.dumps(value, protocol))
    assert named in str(caught.value)


def test_every_global_of_a_pickle_is_listed(folder):
    with pytest.raises(DataError, match=r"posix\.system.*builtins\.eval"):
        read(folder, b"(lp0\ncposix\nsystem\n(S'true'\ntRacbuiltins\neval\n(S'1'\ntRa.")


@pytest.mark.parametrize(
    "opcode", [b"c", b"i", b"o", b"R", b"b", b"\x81", b"P", b"Q", b"\x82", b"\x83", b"\x84", b"\x92", b"\x93", b"B", b"C", b"\x8f", b"\xff"]
)
def test_no_other_operation_is_known(folder, opcode):
    with pytest.raises(DataError, match="refused"):
        read(folder, b"(N" + opcode + b"os\nsystem\n.")


def test_instances_and_persistent_ids_are_refused(folder):
    for data in (b"(ios\nsystem\n.", b"(S'x'\nios\nsystem\n.", b"Pid\n.", b"S'x'\nQ."):
        with pytest.raises(DataError, match="refused"):
            read(folder, data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"N",
        b"NN.",
        b"(.",
        b"]q\x01h\x02.",
        b"e.",
        b"(e.",
        b"Na.",
        b"]a.",
        b"}(Nu.",
        b"}(]Nu.",
        b"I12x\n.",
        b"S'open\n.",
        b"X\xff\xff\xff\xffab.",
        b"T\xff\xff\xff\xffab.",
        b"U\xffab.",
        b"\x8b\xff\xff\xff\x7fab.",
        b"\x80\x09N.",
        b"I" + b"9" * 5000 + b"\n.",
        b"L" + b"9" * 5000 + b"L\n.",
        b"\x85.",
        b"(\x85.",
        b"r\x00.",
        b"]r\xff\xff\xff\xff",
        b"X\x02\x00\x00\x00\xff\xfe.",
    ],
)
def test_damaged_pickles_are_told(folder, data):
    with pytest.raises(DataError, match=r"x\.p, byte \d+: damaged pickle"):
        read(folder, data)


def test_cut_anywhere_is_told(folder):
    data = pickle.dumps([{"a": [1, 2.5, "text"], "b": ("u", None)}], 2)
    for end in range(len(data)):
        with pytest.raises(DataError):
            read(folder, data[:end])


def test_bombs_cost_nothing(folder):
    started = time.perf_counter()
    assert read(folder, b"]r\xff\xff\xff\xff.") == []  # a memo index for which CPython allocates 64 GB
    with pytest.raises(DataError, match="nested more than 16 deep"):
        read(folder, b"(" * 200_000 + b"l" * 200_000 + b".")
    with pytest.raises(DataError, match="nested more than 16 deep"):
        read(folder, b"]" * 200_000 + b"a" * 199_999 + b".")
    laughs = b"]q\x00" + b"".join(b"](" + b"h" + bytes([n]) + b"h" + bytes([n]) + b"eq" + bytes([n + 1]) for n in range(100))
    assert len(read(folder, b"(" + laughs + b"l.")) == 101  # 2^100 lists, if they were visited one by one
    itself = read(folder, b"]q\x00h\x00a.")
    assert itself[0] is itself
    assert time.perf_counter() - started < 20


def test_size_is_bounded(folder, monkeypatch):
    monkeypatch.setattr(safe_pickle, "MAX_BYTES", 3)
    with pytest.raises(DataError, match="has 4 bytes"):
        read(folder, b"(lN.")


def test_absent_file_is_told(folder):
    with pytest.raises(DataError, match="cannot read"):
        load_plain_pickle(folder / "none.p")
