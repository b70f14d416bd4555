"""Florence-2 through the sealed interface, held against transformers' own generation, and its strings against transformers' own parser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from make_rivals import write_florence2
from rivals import PHRASES, count_calls, in_batches, make_pairs, picture
from transformers import AutoTokenizer, CLIPImageProcessorPil, Florence2ForConditionalGeneration
from transformers.models.florence2.processing_florence2 import Florence2PostProcessor

from ldznet_bench.errors import BenchWarning
from ldznet_bench.masks.geometry import Polygon
from ldznet_bench.masks.rasterise import rasterise
from ldznet_bench.models.florence2 import COUNT, Florence2, read_polygons
from ldznet_bench.models.load import load_model
from ldznet_bench.models.segmenter import Pair

pytestmark = pytest.mark.filterwarnings("ignore::ldznet_bench.errors.BenchWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_florence2(tmp_path_factory.mktemp("florence2"))


def load(folder: Path, **options: Any) -> Florence2:
    segmenter = load_model("florence2", weights={"florence2": folder}, **options)
    assert isinstance(segmenter, Florence2)
    return segmenter


@pytest.fixture(scope="module")
def written(folder: Path) -> list[str]:
    """What transformers' own idiom writes: image tokens in the text, image and text in one call, for two pictures and two phrases."""
    model, tokenizer = Florence2ForConditionalGeneration.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    texts = []
    for name in ("landscape", "square"):
        pixels = CLIPImageProcessorPil.from_pretrained(folder)(images=picture(name), return_tensors="pt").pixel_values
        for phrase in PHRASES[:2]:
            prompt = "<image>" * 17 + f"<s>Locate {phrase} in the image with mask</s>"
            inputs = tokenizer([prompt], add_special_tokens=False, return_tensors="pt")
            ids = model.generate(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], pixel_values=pixels, do_sample=False, num_beams=1
            )
            texts.append("".join(tokenizer.convert_ids_to_tokens(ids[0].tolist())))
    return texts


def test_strings_are_transformers_own(folder: Path, written: list[str]) -> None:
    segmenter = load(folder)
    assert (segmenter.name, segmenter.binary, segmenter.micro_batch) == ("florence2/full+greedy", True, 1)
    pairs = make_pairs(segmenter, ["landscape", "square"], PHRASES[:2])
    assert [text for pair in pairs for text in segmenter.write([pair])] == written
    assert len(set(written)) > 1


def test_a_batch_writes_the_same_and_padding_changes_nothing(folder: Path, written: list[str]) -> None:
    """Prompts of a batch have different lengths: the padding is masked. Only rounding could part them, which tiny weights do not reach."""
    segmenter = load(folder, micro_batch=4)
    pairs = make_pairs(segmenter, ["landscape", "square"], PHRASES[:2])
    batch = segmenter.write(pairs)
    assert [text.replace("<pad>", "") for text in batch] == written
    assert all(torch.equal(a, b) for a, b in zip(segmenter.predict(pairs[:3]), segmenter.predict([*pairs[:3], pairs[2]]), strict=False))


def test_masks_are_the_polygons_at_the_images_size(folder: Path, written: list[str]) -> None:
    segmenter = load(folder)
    maps = in_batches(segmenter, make_pairs(segmenter, ["landscape", "square"], PHRASES[:2]))
    for scores, text, size in zip(maps, written, [(90, 160)] * 2 + [(64, 64)] * 2, strict=True):
        rings, _ = read_polygons(text, size)
        assert np.array_equal(scores.numpy().astype(bool), rasterise([Polygon(np.array(ring)) for ring in rings], *size, "coco"))
    assert any(scores.any() for scores in maps)


def test_images_are_encoded_once(folder: Path) -> None:
    segmenter = load(folder)
    calls = count_calls(segmenter._network.model.vision_tower)
    in_batches(segmenter, make_pairs(segmenter, ["landscape", "square"], PHRASES[:3]))
    assert len(calls) == 2


def test_half_precision_runs(folder: Path) -> None:
    segmenter = load(folder, precision="bf16")
    assert all(scores.dtype == torch.float32 for scores in in_batches(segmenter, make_pairs(segmenter, ["square"], PHRASES[:1])))


def test_long_phrases_are_cut_and_counted(folder: Path) -> None:
    segmenter = load(folder)
    with pytest.warns(BenchWarning, match="prompts of more than 109 tokens were cut to 109"):
        (text,) = segmenter.encode_text(["something long " * 20])
    assert text.shape[1] == 128 - 17


def loc(*bins: int) -> str:
    return "".join(f"<loc_{number}>" for number in bins)


A, B = loc(0, 0, 500, 0, 500, 500), loc(900, 900, 999, 900, 999, 999, 900, 999)
RING_A = [(0.1, 0.05), (100.1, 0.05), (100.1, 50.05)]


@pytest.mark.parametrize(
    ("text", "polygons", "problems"),
    [
        (A, 1, []),
        (f"</s><s>{A}</s><pad><pad>", 1, []),
        (f"{A}<sep>{B}", 2, []),
        (f"<poly>{A}<sep>{B}</poly><poly>{A}</poly>", 3, []),
        (A + loc(7), 1, ["a location without its partner"]),
        (loc(1, 2, 3, 4), 0, ["a polygon of under three points", "no polygon"]),
        (f"{loc(1, 2, 3, 4)}<sep>{A}", 1, ["a polygon of under three points"]),
        (f"{A}<sep>dog{B}", 1, ["text 'dog' among the locations"]),
        (f"dog<sep>{A}", 1, ["text 'dog' among the locations"]),
        (f"a dog{A}", 0, ["text 'a dog' among the locations", "no polygon"]),
        (f"{A}<loc_1000>", 0, ["text '<loc_1000>' among the locations", "no polygon"]),
        (f"{A}<loc_-1>", 0, ["text '<loc_-1>' among the locations", "no polygon"]),
        (f"{A}<loc_1", 0, ["text '<loc_1' among the locations", "no polygon"]),
        ("", 0, ["no polygon"]),
        ("</s></s>", 0, ["no polygon"]),
        ("<sep><sep>", 0, ["no polygon"]),
        ("a dog", 0, ["text 'a dog' among the locations", "no polygon"]),
    ],
)
def test_the_rule_for_strings(text: str, polygons: int, problems: list[str]) -> None:
    rings, said = read_polygons(text, (100, 200))
    assert (len(rings), said) == (polygons, problems)


def test_locations_are_thousandths_and_the_middle_of_a_bin() -> None:
    assert np.array(read_polygons(A, (100, 200))[0]) == pytest.approx(np.array([RING_A]))


class Tokens:
    all_special_tokens = ()


@given(
    st.lists(st.lists(st.integers(0, 999), min_size=6, max_size=20), min_size=1, max_size=4), st.tuples(st.integers(1, 2000), st.integers(1, 2000))
)
def test_strings_that_parse_are_read_as_transformers_reads_them(polygons: list[list[int]], size: tuple[int, int]) -> None:
    """With a location left over, too, which both drop. transformers then cuts coordinates to whole pixels; the authors' own code does not."""
    text = "</s><s>" + "<sep>".join(loc(*bins) for bins in polygons) + "</s>"
    parser = Florence2PostProcessor({"polygons": {}}, Tokens())
    (theirs,) = parser(text=text, image_size=size[::-1], parse_tasks="polygons")["polygons"]
    ours, problems = read_polygons(text, size)
    assert len(ours) == len(theirs["polygons"])
    for ring, other in zip(ours, theirs["polygons"], strict=True):
        cut = np.array(ring).ravel() - other
        assert cut.min() > -1e-3
        assert cut.max() < 1 + 1e-3
    assert bool(problems) == any(len(bins) % 2 for bins in polygons)


@given(st.text(alphabet="<>loc_sepy/019 d", max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    rings, problems = read_polygons(text, (10, 10))
    assert rings or problems


def test_what_does_not_parse_is_named_up_to_twenty_and_counted_always(folder: Path) -> None:
    segmenter = load(folder)
    image = (None, (10, 20))
    for number in range(25):
        pair = Pair(f"s{number}", "dog", 10, 20, 0, image, None)
        assert not segmenter._mask("a dog", pair).any()
        segmenter._mask("a dog", pair)  # the padding of a batch, or a batch that is done again
    assert segmenter.notes[COUNT] == 25
    named = [note for note in segmenter.notes if note.startswith("sample ")]
    assert len(named) == 20
    assert named[0] == "sample 's0': text 'a dog' among the locations; no polygon"


def test_an_outline_that_cannot_be_filled_is_left_out_and_named(folder: Path) -> None:
    segmenter = load(folder)
    size = (4000, 4000)
    zigzag = loc(*(number for _ in range(160) for number in (0, 0, 999, 999)))
    mask = segmenter._mask(f"{zigzag}<sep>{loc(0, 0, 1, 0, 1, 1)}", Pair("s", "dog", *size, 0, (None, size), None))
    assert mask.any()
    assert any("a polygon that cannot be filled" in note for note in segmenter.notes)
