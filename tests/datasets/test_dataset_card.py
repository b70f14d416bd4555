import pytest

from ldznet_bench.datasets.adapter import adapter_class
from ldznet_bench.datasets.card import Release, Split, dataset_card, families
from ldznet_bench.datasets.counts import Found, count_table, differences
from ldznet_bench.errors import BenchError

# sources.md B1 to B3: images, phrases (REFER: refs).
KNOWN = {
    "phrasecut:train": (71746, 310816),
    "phrasecut:val": (2971, 20316),
    "phrasecut:test": (2545, 14354),
    "phrasecut:miniv": (100, 821),
    "refcoco-unc:testA": (750, 1975),
    "refcoco-google:test": (4527, 5000),
    "refcoco+-unc:testB": (750, 1798),
    "refcocog-umd:test": (2600, 5023),
    "refcocog-google:val": (4650, 5000),
    "aigi:test": (100, 214),
}


def test_cards_state_the_published_counts():
    splits = {name: split for family in families() for name, split in dataset_card(family).names()}
    for name, (images, count) in KNOWN.items():
        assert splits[name].images == images
        assert count in (splits[name].phrases, splits[name].refs, splits[name].instances)


@pytest.mark.parametrize(
    "family",
    ["phrasecut", "refcoco", "refcoco+", "refcocog", "aigi", "example", "folder", "grefcoco", "refcoco-m", "reasonseg", "phrasecut-negatives"],
)
def test_every_card_reads_and_names_a_format(family):
    card = dataset_card(family)
    assert card.family == family
    assert adapter_class(card.format).version >= 1
    assert (card.mini, card.bundled) == ((True, "example") if family == "example" else (False, None))


def test_default_partition_must_be_one(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        "family: f\ntitle: t\nformat: folder\nsummary: s\nsample_id: i\nlicence: l\nhomepage: null\ncitation: null\n"
        "partitions: {a: {splits: {x: {}}}}\ndefault_partition: b\n"
    )
    with pytest.raises(BenchError, match="default_partition is 'b'"):
        dataset_card("f", path)


TEST = Split(images=2545, phrases=14354, older=(Release("before 2020-04-15", 2937, 18961),))


def test_equal_counts_differ_in_nothing():
    assert differences(TEST, Found(2545, 14354, None, 20000)) == ((), None)
    assert differences(None, Found(1, 1, None, 1)) == ((), None)
    assert differences(Split(), Found(1, 1, None, 1)) == ((), None)


def test_old_release_is_told_by_its_counts():
    reasons, release = differences(TEST, Found(2937, 18961, None, 1))
    assert release == "before 2020-04-15"
    assert reasons == ("the release before 2020-04-15 (2,937 images, 18,961 phrases); the current one has 2,545 images, 14,354 phrases",)


def test_other_counts_are_listed_one_by_one():
    reasons, release = differences(TEST, Found(2545, 14000, None, 1))
    assert (reasons, release) == (("phrases: 14,354 expected, 14,000 found",), None)
    assert count_table(TEST, Found(1, 2, None, 4)) == [("images", 2545, 1), ("phrases", 14354, 2), ("instances", None, 4)]
