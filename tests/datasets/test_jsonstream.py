import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldznet_bench.datasets import jsonstream
from ldznet_bench.errors import DataError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("json")


@settings(max_examples=150, deadline=None)
@given(values=st.lists(VALUES, max_size=6), chunk=st.integers(1, 40), indent=st.sampled_from([None, 2]), ascii_only=st.booleans())
def test_elements_equal_json_load_whatever_the_window(folder, values, chunk, indent, ascii_only):
    path = folder / "a.json"
    path.write_text(json.dumps(values, indent=indent, ensure_ascii=ascii_only), encoding="utf-8", errors="surrogatepass")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in path.read_text(encoding="utf-8", errors="surrogatepass")):
        return
    before, jsonstream._CHUNK = jsonstream._CHUNK, chunk
    try:
        assert list(jsonstream.read_array(path)) == values
        assert jsonstream.load_json(path) == values
    finally:
        jsonstream._CHUNK = before


@settings(max_examples=60, deadline=None)
@given(
    value=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), st.lists(st.integers(), max_size=4) | st.integers(), max_size=4),
    chunk=st.integers(1, 40),
)
def test_members_come_in_file_order_arrays_by_element(folder, value, chunk):
    path = folder / "o.json"
    path.write_text(json.dumps(value))
    before, jsonstream._CHUNK = jsonstream._CHUNK, chunk
    try:
        found = list(jsonstream.read_arrays(path))
    finally:
        jsonstream._CHUNK = before
    assert found == [(key, element) for key, each in value.items() for element in (each if isinstance(each, list) else [each])]


TEXT = json.dumps([{"a": [1.5, -2e3, "x\\u00e9\\"], "b": None}, {"c": True}], indent=1)


@pytest.mark.parametrize("chunk", [3, 1 << 20])
def test_a_file_cut_anywhere_is_told_with_its_line(folder, monkeypatch, chunk):
    monkeypatch.setattr(jsonstream, "_CHUNK", chunk)
    path = folder / "cut.json"
    for end in range(len(TEXT)):
        path.write_text(TEXT[:end])
        with pytest.raises(DataError, match=r"cut\.json, line \d+, column \d+: ") as caught:
            list(jsonstream.read_array(path))
        assert "fetch it again" in str(caught.value)


@pytest.mark.parametrize("chunk", [2, 1 << 20])
@pytest.mark.parametrize(
    "text, line, column", [('[1,\n  {"a" 2}]', 2, 8), ("[1]\n\n x", 3, 2), ("[1,\n 2,\n tru]", 3, 2), ('\n{"a": 1}', 2, 1), ("[1 2]", 1, 4)]
)
def test_a_mistake_is_told_with_line_and_column(folder, monkeypatch, chunk, text, line, column):
    monkeypatch.setattr(jsonstream, "_CHUNK", chunk)
    path = folder / "bad.json"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"bad\.json, line {line}, column {column}: "):
        list(jsonstream.read_array(path))


def test_byte_order_mark_and_empty_containers(folder):
    path = folder / "bom.json"
    path.write_bytes(b"\xef\xbb\xbf[ ]\n")
    assert list(jsonstream.read_array(path)) == []
    path.write_text("{}")
    assert list(jsonstream.read_arrays(path)) == []


def test_what_is_not_utf8_absent_or_bottomless_is_told(folder):
    path = folder / "odd.json"
    path.write_bytes(b'["caf\xe9"]')
    with pytest.raises(DataError, match="byte 5: not UTF-8"):
        jsonstream.load_json(path)
    with pytest.raises(DataError, match="cannot read"):
        list(jsonstream.read_array(folder / "none.json"))
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match="nested too deeply"):
        jsonstream.load_json(path)
