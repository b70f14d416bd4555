import pytest

from ldznet_bench.datasets import adapter
from ldznet_bench.datasets.names import parse_name
from ldznet_bench.errors import BenchError, DataError


@pytest.mark.parametrize(
    "written, full",
    [
        ("phrasecut:test", "phrasecut:test"),
        ("refcoco:testA", "refcoco-unc:testA"),
        ("refcoco-unc:testA", "refcoco-unc:testA"),
        ("refcoco-google:test", "refcoco-google:test"),
        ("refcoco+:val", "refcoco+-unc:val"),
        ("refcoco+-unc:testB", "refcoco+-unc:testB"),
        ("refcocog:test", "refcocog-umd:test"),
        ("refcocog-google:val", "refcocog-google:val"),
        ("refcoco:test", "refcoco-unc:test"),  # REFER's substring rule, named by no card
        ("refcoco:testAB", "refcoco-unc:testAB"),
        ("aigi:test", "aigi:test"),
        ("aigi", "aigi:test"),  # its only split
        ("example", "example:test"),
    ],
)
def test_names_expand(written, full):
    name, card = parse_name(written)
    assert name.full == full
    assert card.family == name.family


@pytest.mark.parametrize(
    "written, said",
    [
        ("phrasecutt:test", "Did you mean 'phrasecut'?"),
        ("refcocoo-unc:val", "Did you mean 'refcoco-unc'?"),
        ("refcoco-ucn:val", "Did you mean 'unc'?"),
        ("refcoco-umd:val", "unknown partition of refcoco"),
        ("refcoco:tsetA", "Did you mean 'testA'?"),
        ("refcoco:validation", "unknown split of refcoco"),
        ("phrasecut:testA", "Did you mean 'test'?"),
        ("phrasecut", "phrasecut:miniv"),
        ("phrasecut:", "lacks its split"),
        ("phrasecut-unc:test", "has no partitions"),
        ("", "unknown dataset ''"),
        ("folder:", "lacks its path"),
        ("folder", "lacks its path"),
    ],
)
def test_mistakes_are_answered_with_the_nearest(written, said):
    with pytest.raises(BenchError) as caught:
        parse_name(written)
    assert said in str(caught.value)


def test_folders(tmp_path):
    for name in ("mine", "with:colon"):
        (tmp_path / name).mkdir()
    assert parse_name(f"folder:{tmp_path}/mine")[0].full == "folder:mine"
    assert parse_name(f"folder:{tmp_path}/mine/")[0].full == "folder:mine"
    assert parse_name(f"folder:{tmp_path}/mine/../mine:val")[0].full == "folder:mine:val"
    assert parse_name(f"folder:{tmp_path}/with:colon")[0].full == "folder:with:colon"
    assert parse_name(f"folder:{tmp_path}/with:colon:val")[0].split == "val"
    with pytest.raises(DataError, match="no folder"):
        parse_name(f"folder:{tmp_path}/none")


def test_a_card_may_bring_a_new_family(tmp_path):
    card = tmp_path / "mine.yaml"
    card.write_text(
        "family: my-set\ntitle: t\nformat: folder\nsummary: s\nsample_id: i\nlicence: l\nhomepage: null\ncitation: null\n"
        "splits: {a: {}, b: {images: 3}}\n"
    )
    name, found = parse_name("my-set:b", card)
    assert name.full == "my-set:b" and found.expected(None, "b").images == 3
    with pytest.raises(BenchError, match="the card is for 'my-set', not for 'phrasecut'"):
        parse_name("phrasecut:test", card)


def test_plugins_are_found_by_entry_point_and_imported_only_when_used(tmp_path, monkeypatch):
    (tmp_path / "their_module.py").write_text(
        "from pathlib import Path\nfrom ldznet_bench.datasets.adapter import Adapter\n"
        "class Theirs(Adapter):\n    version = 1\n    @classmethod\n    def card(cls): return Path(__file__).with_name('theirs.yaml')\n"
        "    def files(self): return []\n    def rows(self): return iter(())\n"
    )
    (tmp_path / "theirs.yaml").write_text(
        "family: theirs\ntitle: t\nformat: theirs\nsummary: s\nsample_id: i\nlicence: l\nhomepage: null\ncitation: null\nsplits: {x: {}}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(adapter, "_plugins", lambda: {"theirs": "their_module:Theirs", "broken": "no_such_module:X", "wrong": "pathlib:Path"})
    name, card = parse_name("theirs:x")
    assert (name.full, card.format) == ("theirs:x", "theirs")
    assert adapter.adapter_class("theirs").__name__ == "Theirs"
    with pytest.raises(BenchError, match="cannot be imported"):
        adapter.adapter_class("broken")
    with pytest.raises(BenchError, match="is no Adapter"):
        adapter.adapter_class("wrong")
    with pytest.raises(BenchError, match="Did you mean 'phrasecut'"):
        adapter.adapter_class("phrasecutt")


def test_a_broken_plugin_does_not_hide_the_others(monkeypatch):
    from ldznet_bench.datasets.load import list_datasets

    monkeypatch.setattr(adapter, "_plugins", lambda: {"broken": "no_such_module:X"})
    rows = {row.name: row for row in list_datasets()}
    assert rows["broken"].state == "broken plug-in" and "no_such_module" in rows["broken"].title
    assert rows["example:test"].state == "bundled" and rows["phrasecut:test"].state == "needs --data-root"
