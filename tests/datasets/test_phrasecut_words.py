import hashlib
import json

import make_releases
import pytest

from ldznet_bench.datasets import phrasecut_words
from ldznet_bench.datasets.phrasecut_words import ATTRIBUTE_TYPES, VARIABLE, find_word_lists, read_word_lists
from ldznet_bench.errors import BenchWarning, DataError

SIZES = {**dict(zip(ATTRIBUTE_TYPES, (50, 65, 49, 40, 78, 79, 40, 21, 14, 10), strict=True)), "coco": 80, "stuff": 85}
LISTS = {name: [f"{name} word {n}" for n in range(size)] for name, size in SIZES.items()}


def python(**forms):
    """A file like subset.py, where each list is written as its form says."""
    lines = [
        "import os",
        "os.system('false')",
        "subsets = ['all', 'c_coco']",
        "def get_subset(counts, name):",
        "    loc = counts['cat']",
        "    return [name]",
    ]
    for name, words in LISTS.items():
        lines.append(forms.get(name, lambda words, name=name: f"{names(name)} = {words!r}")(words))
    return "\n".join(lines) + "\nraise SystemExit('this file was run')\n"


def names(name):
    return {"coco": "coco_names", "stuff": "stuff_names"}.get(name, f"att_{name}")


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a file and takes it for the official one."""

    def write(text):
        path = tmp_path / "subset.py"
        path.write_text(text)
        monkeypatch.setattr(phrasecut_words, "OFFICIAL_SHA256", hashlib.sha256(text.encode()).hexdigest())
        return path

    return write


def check(lists):
    assert {kind: set(words) for kind, words in lists.attributes.items()} == {kind: set(LISTS[kind]) for kind in ATTRIBUTE_TYPES}
    assert lists.coco == set(LISTS["coco"])
    assert list(lists.stuff) == LISTS["stuff"]


def test_literals_are_read_and_nothing_is_run(write):
    check(read_word_lists(write(python())))


def test_many_forms_of_literals(write):
    forms = {
        "color": lambda words: f"class Words:\n    att_color = tuple({words!r})",
        "shape": lambda words: f"att_shape: list = {words!r}",
        "material": lambda words: f"att_material = set({words!r})",
        "texture": lambda words: f"def f():\n    att_texture = {words!r}\n    return att_texture",
        "state": lambda words: f"att_state = {words[:9]!r} + {words[9:]!r}",
        "adj": lambda words: f"att_adj = {','.join(words)!r}.split(',')",
        "noun": lambda words: f"self_att_noun = other = {tuple(words)!r}",
        "coco": lambda words: f"coco = {dict.fromkeys(words, 1)!r}",
        "loc": lambda words: f"first = {words!r}\natt_loc = first",
    }
    check(read_word_lists(write(python(**forms))))


def test_a_dictionary_of_lists(write):
    table = {name: LISTS[name] for name in ATTRIBUTE_TYPES}
    check(read_word_lists(write(f"att_words = {table!r}\nstuff = {LISTS['stuff']!r}\ncoco = {LISTS['coco']!r}\n")))


def test_names_beat_sizes_and_sizes_settle_ties(write):
    more = "discount = ['a', 'b']\ncoco_people = ['x', 'y']\natt_color_short = ['red', 'blue']\n"
    check(read_word_lists(write(more + python())))


def test_nameless_lists_are_told_by_their_size(write):
    check(read_word_lists(write(python(stuff=lambda words: f"background = {words!r}"))))


def test_json_of_lists(tmp_path):
    path = tmp_path / "words.json"
    path.write_text(json.dumps({"subsets": ["all"], **{names(name): words for name, words in LISTS.items()}}))
    check(read_word_lists(path))


def test_facts_are_in_this_shape(subset_words):
    lists = read_word_lists(subset_words)
    given = json.loads(subset_words.read_text())
    assert {kind: set(given[f"att_{kind}"]) for kind in ATTRIBUTE_TYPES} == {kind: set(words) for kind, words in lists.attributes.items()}
    assert (set(given["coco"]), given["stuff_names"]) == (set(lists.coco), list(lists.stuff))


def test_another_file_than_the_official_one_is_used_with_a_warning(tmp_path):
    path = tmp_path / "subset.py"
    path.write_text(python())
    with pytest.warns(BenchWarning, match="is not PhraseCut's utils/subset.py"):
        check(read_word_lists(path))


@pytest.mark.parametrize(
    "text, said",
    [
        ("att_color = ['a', 'b']\n", "no word lists for shape"),
        ("def (\n", "cannot read word lists"),
        ("x = '\0'\n", "cannot read word lists"),
        ("(" * 10000, "cannot read word lists"),
        ("#" * (2 << 20), "far more than"),
    ],
)
def test_files_without_the_lists_are_told(write, text, said):
    with pytest.raises(DataError, match=said):
        read_word_lists(write(text))


def test_json_that_is_no_object(tmp_path):
    path = tmp_path / "words.json"
    path.write_text("[1]")
    with pytest.raises(DataError, match="no JSON object"):
        read_word_lists(path)


def test_places(tmp_path, monkeypatch):
    release, root, home = tmp_path / "repo" / "data" / "VGPhraseCut_v0", tmp_path / "root", tmp_path / "home"
    assert find_word_lists(None, release, root, home) is None
    for path in (home / "phrasecut" / "subset.py", root / "utils" / "subset.py", tmp_path / "repo" / "utils" / "subset.py"):
        path.parent.mkdir(parents=True)
        path.touch()
        assert find_word_lists(None, release, root, home) == path
    monkeypatch.setenv(VARIABLE, str(tmp_path / "own.py"))
    with pytest.raises(DataError, match="which is no file"):
        find_word_lists(None, release, root, home)
    (tmp_path / "own.py").touch()
    assert find_word_lists(None, release, root, home) == tmp_path / "own.py"
    (tmp_path / "given.json").touch()
    assert find_word_lists(tmp_path / "given.json", release, root, home) == tmp_path / "given.json"


def test_a_changed_word_list_makes_the_set_anew(load, tmp_path, subset_words):
    release = make_releases.phrasecut(tmp_path / "data")
    assert load("phrasecut:test", release).absent_tags
    words = tmp_path / "data" / "words.json"
    words.write_bytes(subset_words.read_bytes())
    with_words = load("phrasecut:test", release, word_lists=words)
    assert not with_words.absent_tags
    value = json.loads(words.read_text())
    words.write_text(json.dumps({**value, "att_color": ["none", "nothing"]}))
    assert load("phrasecut:test", release, word_lists=words).path != with_words.path
