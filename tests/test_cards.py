import dataclasses
import subprocess
import sys
from typing import Any, Literal

import pytest

from ldznet_bench.cards import card_digest, card_names, card_path, load_card, read_card
from ldznet_bench.errors import BenchError
from ldznet_bench.share import share_root, shared


@dataclasses.dataclass(frozen=True)
class Part:
    size: int
    rate: float = 0.5


@dataclasses.dataclass(frozen=True)
class Toy:
    name: str
    kind: Literal["big", "small"]
    parts: dict[str, Part]
    tags: tuple[str, ...] = ()
    note: str | None = None
    ok: bool = True
    free: Any = None

    def __post_init__(self):
        if self.name == "bad":
            raise ValueError("the name is bad")


GOOD = "name: x\nkind: big\nparts:\n  a: {size: 3}\n"


def read(tmp_path, text):
    path = tmp_path / "toy.yaml"
    path.write_text(text, encoding="utf-8")
    return read_card(path, Toy)


def test_reads_nested_values_and_defaults(tmp_path):
    card = read(tmp_path, GOOD + "tags: [u, v]\nfree: {deep: [1, 2]}\nnote: null\n")
    assert card == Toy("x", "big", {"a": Part(3)}, ("u", "v"), None, True, {"deep": [1, 2]})


@pytest.mark.parametrize("text, value", [("1", 1.0), ("1.5", 1.5), ("1e-3", 1e-3), ("2.5e+2", 250.0)])
def test_floats_in_every_notation(tmp_path, text, value):
    rate = read(tmp_path, f"name: x\nkind: big\nparts:\n  a: {{size: 3, rate: {text}}}\n").parts["a"].rate
    assert rate == value and type(rate) is float


@pytest.mark.parametrize(
    "text, line, said",
    [
        ("nmae: x\n" + GOOD[8:], 1, "Did you mean 'name'?"),
        (GOOD + "tags: a\n", 5, "should be a list"),
        (GOOD + "name: y\n", 5, "twice"),
        (GOOD + "ok: 1\n", 5, "true or false"),
        (GOOD + "note: 2020-04-15\n", 5, "quotes"),
        (GOOD.replace("big", "bigg"), 2, "Did you mean 'big'?"),
        (GOOD.replace("size: 3", "size: 3.5"), 4, "a whole number"),
        (GOOD.replace("size: 3", "size: true"), 4, "a whole number"),
        (GOOD.replace("size: 3", "szie: 3"), 4, "Did you mean 'size'?"),
        (GOOD.replace("name: x", "name: bad"), 1, "the name is bad"),
        ("kind: big\nparts: {}\n", 1, "lacks 'name'"),
        ("- 1\n", 1, "should be a mapping"),
        (GOOD + "tags: [\n", 6, "not YAML"),
    ],
)
def test_mistakes_name_file_line_and_remedy(tmp_path, text, line, said):
    with pytest.raises(BenchError) as caught:
        read(tmp_path, text)
    assert f"toy.yaml:{line}:" in str(caught.value)
    assert said in str(caught.value)


def test_empty_and_absent_files_are_told(tmp_path):
    with pytest.raises(BenchError, match="empty"):
        read(tmp_path, "# nothing\n")
    with pytest.raises(BenchError, match=r"nowhere\.yaml"):
        read_card(tmp_path / "nowhere.yaml", Toy)


def test_digest_ignores_layout_but_not_values(tmp_path):
    first = read(tmp_path, GOOD)
    assert card_digest(first) == card_digest(read(tmp_path, "# a comment\nparts: {a: {size: 3}}\nkind: 'big'\nname: x\n"))
    assert card_digest(first) != card_digest(read(tmp_path, GOOD.replace("3", "4")))


def test_override_stands_in_for_the_card(tmp_path):
    (tmp_path / "own.yaml").write_text(GOOD)
    assert load_card("datasets", "whatever", Toy, tmp_path / "own.yaml").name == "x"


def test_unknown_card_names_the_nearest():
    assert "phrasecut" in card_names("datasets")
    with pytest.raises(BenchError, match="Did you mean 'phrasecut'"):
        card_path("datasets", "phrasecutt")


def test_shared_folders_stand_beside_the_package_or_in_the_wheel():
    assert shared("datasets").is_dir()
    assert share_root().name == "_share" or (share_root() / "pyproject.toml").is_file()


def test_reading_cards_imports_nothing_heavy():
    code = "import sys, ldznet_bench.cards; print([m for m in ('numpy', 'torch', 'pyarrow', 'datasets') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
