"""From names to segmenters."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldznet_bench.errors import BenchError, WeightsError
from ldznet_bench.models import load
from ldznet_bench.models.load import LoadRequest, ModelName, check_model, list_models, load_model, parse_model_name
from ldznet_bench.models.segmenter import Segmenter
from ldznet_bench.models.trivial import WEIGHT_FREE, Full

words = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,8}\Z")


class Theirs(Full):
    name = "theirs"

    def __init__(self, request: LoadRequest) -> None:
        super().__init__()
        self.request = request


def not_a_segmenter(request: LoadRequest) -> object:
    return object()


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of another package."""
    points = [EntryPoint(name, f"{__name__}:{target}", "group") for name, target in (("theirs", "Theirs"), ("odd", "not_a_segmenter"))]
    monkeypatch.setattr("ldznet_bench.registry.entry_points", lambda group: points)


CARD = """
name: homemade
title: Homemade
family: homemade
kind: network
scores: dense
status: ours
factory: {factory}
summary: a model that only this file declares
licence: Apache-2.0
parts:
  homemade: {{what: a file, form: FILE, files: weights.bin}}
  encoder: {{what: another file, form: FILE, files: encoder.bin}}
variants:
  full: {{summary: the only one, parts: [homemade, encoder]}}
"""


@pytest.fixture
def card(tmp_path: Path) -> Path:
    path = tmp_path / "homemade.yaml"
    path.write_text(CARD.format(factory=f"{__name__}:Theirs"))
    return path


@given(words, st.none() | words, st.none() | words)
def test_names_survive_parsing(family: str, variant: str | None, recipe: str | None) -> None:
    name = ModelName(family, variant, recipe)
    assert parse_model_name(str(name)) == name


@pytest.mark.parametrize("text", ["", "/full", "clipseg/", "clipseg+", "a b", "clipseg/full/x", "clipseg+hf+x", "clipseg+hf/full", "../x", "é"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(BenchError, match="is no model name"):
        parse_model_name(text)


def test_bare_name_of_a_weight_free_model() -> None:
    assert load_model("box").name == "box"


@pytest.mark.parametrize("mini", [False, True])
def test_weight_free_models_have_no_variant(mini: bool) -> None:
    assert str(check_model("noise", mini_dataset=mini)) == "noise"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("clipsge", "unknown model 'clipsge'. Did you mean 'clipseg'"),
        ("clipseg/fulll", "unknown variant of clipseg 'fulll'. Did you mean 'full'"),
        ("clipseg/full+papr", "unknown recipe of clipseg 'papr'. Did you mean 'paper'"),
        ("oracle/full", "oracle has no variants, 'full' was asked for"),
        ("oracle+hf", "oracle has no recipes, 'hf' was asked for"),
    ],
)
def test_unknown_pieces_of_a_name(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=message):
        load_model(name, weights={"clipseg": tmp_path})


def test_variant_and_recipe_are_filled_in(tmp_path: Path) -> None:
    assert str(check_model("clipseg", weights={"clipseg": tmp_path})) == "clipseg/full+hf"


@pytest.fixture
def carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that carries the miniature CLIPSeg's weights, or would if the folder were made."""
    place = tmp_path / "package" / "mini" / "clipseg"
    monkeypatch.setattr(load, "shared", lambda _: tmp_path / "package")
    return place


@pytest.mark.parametrize(("name", "mini"), [("clipseg", True), ("clipseg/mini", False)])
@pytest.mark.parametrize("key", ["clipseg", "clipseg/full", "clipseg+hf"])
def test_mini_never_falls_back_to_full(name: str, mini: bool, key: str, tmp_path: Path, carried: Path) -> None:
    with pytest.raises(WeightsError, match=r"clipseg/mini\+hf needs weights: --weights mini-clipseg=DIR"):
        load_model(name, mini_dataset=mini, weights={key: tmp_path})
    carried.mkdir(parents=True)
    assert str(check_model(name, mini_dataset=mini, weights={key: tmp_path})) == "clipseg/mini+hf"


def test_what_the_package_carries_gives_way_to_what_is_named_for_it(tmp_path: Path, carried: Path) -> None:
    carried.mkdir(parents=True)
    with pytest.raises(WeightsError, match=f"{tmp_path} lacks config.json"):
        load_model("clipseg/mini", weights={"clipseg/mini": tmp_path})


def test_missing_weights_say_what_to_type_and_what_is_expected() -> None:
    with pytest.raises(WeightsError) as error:
        load_model("clipseg")
    for words_ in (
        "--weights clipseg=DIR",
        "config.json",
        "model.safetensors or pytorch_model.bin",
        "tokenizer.json",
        "merges.txt",
        "ldznet-bench download clipseg",
    ):
        assert words_ in str(error.value)


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"--weights clipseg=.*nowhere: there is nothing at that path"):
        load_model("clipseg", weights={"clipseg": tmp_path / "nowhere"})


def test_misspelt_weights_key(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"unknown model in --weights 'clipsge'. Did you mean 'clipseg'"):
        load_model("box", weights={"clipsge": tmp_path})


def test_weights_of_other_models_are_left_alone(tmp_path: Path) -> None:
    assert load_model("box", weights={"clipseg": tmp_path / "nowhere"}).name == "box"


@pytest.mark.parametrize("key", ["homemade/full", "homemade", "homemade/full+x"])
def test_most_exact_weights_key_wins(key: str, tmp_path: Path, card: Path) -> None:
    ways = {"homemade": "a", "homemade/full": "b", "homemade/full+x": "c"}
    for name in "abc":
        (tmp_path / name).touch()
    given = {way: tmp_path / ways[way] for way in list(ways)[: list(ways).index(key) + 1]}
    card.write_text(card.read_text() + "recipes: {x: {summary: the way, status: ours, source: us}}\ndefault_recipe: x\n")
    model = load_model("homemade", card=card, weights={**given, "encoder": tmp_path / "a"})
    assert model.request.weights["homemade"] == tmp_path / ways[key]


def test_every_missing_part_is_named(card: Path) -> None:
    with pytest.raises(WeightsError, match="needs weights: --weights homemade=FILE --weights encoder=FILE"):
        load_model("homemade", card=card)


def test_weights_in_the_home_are_found(tmp_path: Path, card: Path) -> None:
    for part in ("homemade", "encoder"):
        (tmp_path / "weights" / part).mkdir(parents=True)
    model = load_model("homemade", card=card, home=tmp_path)
    assert model.request.weights == {part: tmp_path / "weights" / part for part in ("homemade", "encoder")}


def test_a_card_is_for_its_model(card: Path) -> None:
    with pytest.raises(BenchError, match=r"homemade.yaml: the card is for 'homemade', not for 'clipseg'"):
        load_model("clipseg", card=card)


@pytest.mark.usefixtures("theirs")
def test_models_of_other_packages_get_all_that_was_asked(tmp_path: Path) -> None:
    model = load_model("theirs/big+fast", weights={"theirs": tmp_path}, device="cuda:1", precision="bf16", micro_batch=3, home=tmp_path)
    request = LoadRequest(ModelName("theirs", "big", "fast"), None, {"theirs": tmp_path}, "cuda:1", "bf16", 3, tmp_path, False)
    assert model.request == request


@pytest.mark.usefixtures("theirs")
def test_models_of_other_packages_are_listed() -> None:
    rows = {row.name: row for row in list_models()}
    assert (rows["theirs"].status, rows["theirs"].ready) == ("external", None)


@pytest.mark.usefixtures("theirs")
def test_what_a_factory_returns_is_checked() -> None:
    with pytest.raises(BenchError, match="gave a object, not a Segmenter"):
        load_model("odd")


@pytest.mark.parametrize("micro_batch", [0, -1])
def test_micro_batch_is_at_least_one(micro_batch: int) -> None:
    with pytest.raises(BenchError, match=f"--micro-batch is {micro_batch}"):
        load_model("box", micro_batch=micro_batch)


def test_list_says_what_is_missing() -> None:
    rows = {row.name: row for row in list_models()}
    assert (rows["clipseg/full"].ready, rows["clipseg/full"].reason) == (False, "needs weights: --weights clipseg=DIR")


def test_list_says_what_is_ready(tmp_path: Path) -> None:
    rows = {row.name: row for row in list_models(weights={"clipseg": tmp_path})}
    assert (rows["clipseg/full"].ready, rows["box"].ready) == (True, True)


def test_list_gives_the_default_recipe_first() -> None:
    assert next(row.recipes for row in list_models() if row.name == "clipseg/full") == ("hf", "paper")


def test_listing_imports_no_network() -> None:
    code = "import sys; from ldznet_bench.models.load import list_models; list_models(); sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", sorted(WEIGHT_FREE))
def test_weight_free_models_are_always_ready(name: str) -> None:
    assert next(row.ready for row in list_models() if row.name == name)
    assert isinstance(load_model(name), Segmenter)
