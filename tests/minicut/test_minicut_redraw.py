import json
import sys
import types

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageFilter

from ldznet_bench.datasets.packed import COLUMNS
from ldznet_bench.errors import BenchError
from ldznet_bench.minicut import generate, redraw
from ldznet_bench.minicut.splits import SIZES, labelled


def blurred(pictures, captions):
    assert len(captions) == len(pictures) == 50 and all(captions)
    return np.stack([np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(0.8))) for picture in pictures])


def half_turned(pictures, captions):
    """Every second picture is another one: its masks no longer hold."""
    pictures = pictures.copy()
    pictures[::2] = pictures[::2, ::-1, ::-1]
    return pictures


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setitem(SIZES, "val", 20)


def test_a_light_touch_keeps_everything(few):
    content, drift = redraw.redrawn_split("val", blurred)
    rows = pq.read_table(pa.BufferReader(content)).to_pylist()
    assert list(rows[0]) == list(COLUMNS) and len(rows) == drift.kept_images == drift.tried_images == 20
    assert drift.kept_phrases == drift.tried_phrases == sum(len(row["phrases"]) for row in rows)
    assert drift.colour_shift < 12 and 0.6 * drift.edges_before < drift.edges_after


def test_scenes_that_moved_are_left_out_and_counted(few):
    content, drift = redraw.redrawn_split("val", half_turned)
    kept = pq.read_table(pa.BufferReader(content))["image_id"].to_pylist()
    assert drift.kept_images == 20 and drift.tried_images > 30
    assert sum(int(name[-4:]) % 2 for name in kept) >= 18


def test_a_thing_of_another_colour_takes_its_phrases_with_it(few):
    item = labelled("gen", "val", 0)
    phrase = next(phrase for phrase in item.phrases if len(phrase.truth) == 1)
    picture = item.picture.copy()
    mask = item.layout.visible(next(iter(phrase.truth)))
    picture[mask] = 255 - picture[mask]
    assert redraw.colour_shift(phrase, item, picture) > redraw.MOST_SHIFT > redraw.colour_shift(phrase, item, item.picture) == 0
    other = next(phrase for phrase in item.phrases if not mask[item.layout.visible(min(phrase.truth))].any() and len(phrase.truth) == 1)
    assert redraw.colour_shift(other, item, picture) == 0


def test_a_model_that_forgets_the_scene_is_an_error(few):
    noise = np.random.default_rng(0)
    with pytest.raises(BenchError, match="of 150 redrawn scenes only 0 kept"):
        redraw.redrawn_split("val", lambda pictures, captions: noise.integers(0, 256, pictures.shape, dtype=np.uint8))


def test_a_model_that_returns_another_shape_is_an_error(few):
    with pytest.raises(BenchError, match=r"made uint8 \(50, 48, 48, 3\) of uint8 \(50, 96, 96, 3\)"):
        redraw.redrawn_split("val", lambda pictures, captions: pictures[:, ::2, ::2])


def test_the_command_makes_gen_with_a_model(few, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "a_model", types.SimpleNamespace(redraw=blurred))
    assert generate.main(["--to", str(tmp_path), "--only", "gen:val", "--redraw", "a_model:redraw"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gen-val.drift.json", "gen-val.parquet"]
    assert json.loads((tmp_path / "gen-val.drift.json").read_text())["kept_images"] == 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "gen:val"], "gen:val is made by a diffusion model, and none is given. Name it with --redraw"),
        (["--redraw", "no_such_module:x"], "'no_such_module:x' cannot be imported"),
        (["--redraw", "json:no_such_function"], "cannot be imported"),
        (["--redraw", ""], "cannot be imported"),
    ],
)
def test_mistakes_are_told(arguments, said, tmp_path, capsys):
    assert generate.main(["--to", str(tmp_path), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
