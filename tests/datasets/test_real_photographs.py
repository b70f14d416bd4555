"""The real photographs laid out as releases; the counts are those of their README."""

import pytest
from PIL import Image

COUNTS = {
    "phrasecut:test": 363,
    "phrasecut:val": 105,
    "phrasecut:miniv": 58,
    "refcoco:train": 213,
    "refcoco:val": 189,
    "refcoco:testA": 104,
    "refcoco:testB": 404,
    "refcoco+:train": 110,
    "refcoco+:val": 108,
    "refcoco+:testA": 46,
    "refcoco+:testB": 264,
    "refcocog:train": 189,
    "refcocog:val": 171,
    "refcocog:test": 457,
}


@pytest.mark.parametrize("name", COUNTS)
def test_every_split_prepares_with_its_count(load, real_data, name):
    data = load(name, real_data)
    assert data.n_samples == COUNTS[name] == sum(len(group.samples) for group in data.groups())
    assert data.problems() == []
    assert data.partial  # the cards are for the real releases
    for group in data.groups([0, data.n_images - 1]):
        with Image.open(group.image.path) as image:
            assert image.size == (group.image.width, group.image.height)


def test_a_card_may_state_these_counts(load, real_data, tmp_path):
    card = tmp_path / "card.yaml"
    card.write_text(
        "family: phrasecut\ntitle: t\nformat: phrasecut\nsummary: s\nsample_id: i\nlicence: l\nhomepage: null\ncitation: null\n"
        "splits: {test: {images: 68, phrases: 363}}\n"
    )
    assert load("phrasecut:test", real_data, card=card).partial == ()
