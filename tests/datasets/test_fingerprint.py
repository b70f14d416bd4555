import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldznet_bench.datasets.fingerprint import fingerprint
from ldznet_bench.masks.geometry import Geometry, Rle, polygon


def by_definition(images, samples):
    value = {"images": [list(each) for each in images], "samples": [[i, phrase, geometry.to_json()] for i, phrase, geometry in samples]}
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


GEOMETRY = Geometry(4, 5, ((polygon([0, 0, 1.5, 0, 1, 1e-3]), Rle(4, 5, b"d0")), ()))


@given(
    st.dictionaries(st.text(st.characters(codec="utf-8")), st.none() | st.just("ab" * 32), max_size=4),
    st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")), max_size=4),
)
def test_it_is_the_hash_of_the_documented_json(images, phrases):
    listed = sorted(images.items())
    samples = [(key, phrases[key], GEOMETRY) for key in sorted(phrases)]
    assert fingerprint(listed, samples) == by_definition(listed, samples)


def test_its_value_never_changes():
    assert fingerprint([("1", None), ("2", "ab")], [("a", "é", GEOMETRY)]) == "2f38fef8e15acb898804b480f169a1fb612eb10150b7f1b4fb507a45e0b54255"


@pytest.mark.parametrize("ids", [["b", "a"], ["a", "a"]])
def test_ids_must_ascend(ids):
    with pytest.raises(ValueError, match="not ascending"):
        fingerprint([], [(each, "", GEOMETRY) for each in ids])


def test_everything_counts():
    base = ([("1", "ab")], [("a", "p", GEOMETRY)])
    others = [
        ([("1", "ac")], base[1]),
        ([("1", None)], base[1]),
        ([("2", "ab")], base[1]),
        (base[0], [("b", "p", GEOMETRY)]),
        (base[0], [("a", "q", GEOMETRY)]),
        (base[0], [("a", "p", Geometry(5, 5, GEOMETRY.instances))]),
        (base[0], [("a", "p", Geometry(4, 5, GEOMETRY.instances[:1]))]),
    ]
    assert len({fingerprint(*each) for each in [base, *others]}) == len(others) + 1
