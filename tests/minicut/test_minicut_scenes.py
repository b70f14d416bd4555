import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from ldznet_bench.minicut import STYLES, captioned, stream, vocabulary
from ldznet_bench.minicut.draw import lay_out
from ldznet_bench.minicut.draws import Draws
from ldznet_bench.minicut.scene import SIDE, draw_scene
from ldznet_bench.minicut.shapes import SHAPES
from ldznet_bench.minicut.splits import labelled
from ldznet_bench.minicut.styles import render
from ldznet_bench.minicut.words import CAPTION_ONLY, OBJECTS, PLURALS

SEEDS = st.integers(0, 2**40)


def digest(pictures):
    return hashlib.sha256(b"".join(picture.tobytes() for picture in pictures)).hexdigest()


def test_a_picture_of_the_stream_depends_on_its_name_and_number_alone():
    late = [captioned("a", index) for index in (7, 3, 3)]
    early = dict(zip(range(8), stream("a"), strict=False))
    assert (late[0][0] == early[7][0]).all() and late[0][1] == early[7][1]
    assert (late[1][0] == late[2][0]).all() and late[1][1] == early[3][1]
    assert not (captioned("b", 3)[0] == late[1][0]).all()


def test_pictures_and_captions_are_what_they_were():
    """These bytes are what networks were trained on; a change needs another VERSION and other fingerprints."""
    drawn = [captioned("pinned", index) for index in range(30)]
    assert digest([picture for picture, _ in drawn]) == "0d416742d75f0e536ba700c1b7dbfc226a4ba0f82319a71af20ffbfb66c30f8f"
    assert (
        hashlib.sha256("\n".join(caption for _, caption in drawn).encode()).hexdigest()
        == "5d438c9305494eeb0e9721b9a720e62d68278a1744523b9fb49f4db16aa05522"
    )


def test_draws_are_those_of_pcg64():
    raw = np.random.PCG64(int.from_bytes(hashlib.sha256(b"minicut\0001\0x\0002").digest()[:16])).random_raw(256).tolist()
    draws = Draws("x", 2)
    assert [draws.below(1000) for _ in range(5)] == [((value >> 32) * 1000) >> 32 for value in raw[::-1][:5]]


def test_lots_are_fair():
    draws = Draws("fair")
    counts = np.bincount([draws.below(7) for _ in range(7000)], minlength=7)
    assert counts.min() > 900 and counts.max() < 1100
    assert 250 < sum(draws.chance(30) for _ in range(1000)) < 350
    assert sorted(draws.shuffled(range(50))) == list(range(50)) != draws.shuffled(range(50))


@pytest.mark.parametrize("style", STYLES)
def test_a_style_leaves_everything_in_its_place(style):
    layout = lay_out(draw_scene(Draws("place", 4)))
    picture = render(layout, style, Draws("place", style))
    assert picture.shape == (SIDE, SIDE, 3) and picture.dtype == np.uint8
    assert (picture == render(layout, style, Draws("place", style))).all()
    # What a style may not do is move borders: across them brightness changes more than elsewhere.
    grey = picture.mean(axis=2)
    steps, border = np.abs(np.diff(grey, axis=1)), layout.owners[:, 1:] != layout.owners[:, :-1]
    assert steps[border].mean() > 1.4 * steps[~border].mean()


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_masks_are_the_pixels_that_are_seen(seed):
    """Against things drawn one over the other on a canvas of twice the size, the slow way."""
    layout = lay_out(draw_scene(Draws("tests", seed), 30))
    scene, first = layout.scene, len(layout.scene.regions)
    ids = layout.stuff.copy()
    for place, thing in enumerate(scene.things):
        large = Image.new("L", (2 * SIDE, 2 * SIDE))
        draw = ImageDraw.Draw(large)
        sine, cosine = (round(np.sin(np.radians(degrees)) * 4096) for degrees in (thing.tilt, thing.tilt + 90))
        for part in SHAPES[thing.noun]:
            points = []
            for x, y in part.points:
                x = -x if thing.flip else x
                across, down = x * cosine - y * sine, x * sine + y * cosine
                points.append((2 * thing.x + 1 + across * 2 * thing.radius // 409600, 2 * thing.y + 1 + down * 2 * thing.radius // 409600))
            draw.polygon(points, fill=255 if part.role else 0)
        quarters = (np.asarray(large) > 0).reshape(SIDE, 2, SIDE, 2).sum(axis=(1, 3))
        ids[quarters >= 2] = first + place
    # Pillow finds where a polygon's edges cross a line in float32, so a pixel in a hundred thousand depends on where the canvas begins.
    assert np.count_nonzero(ids != layout.owners) <= 4
    for place in range(len(scene.things)):
        seen, whole = layout.visible(first + place), layout.whole(place)
        assert (seen <= whole).all() and seen.sum() >= 60 and 2 * seen.sum() >= whole.sum()


def test_every_noun_has_a_shape_and_a_plural():
    assert set(SHAPES) == set(PLURALS) == set(OBJECTS) | set(CAPTION_ONLY)
    assert len(OBJECTS) == 25 and not set(OBJECTS) & set(CAPTION_ONLY)


def test_the_vocabulary_is_small_sorted_and_lower_case():
    words = vocabulary()
    assert list(words) == sorted(set(words)) and all(word == word.lower() and word.isalpha() for word in words) and len(words) < 200


def test_the_stream_has_all_styles_and_the_caption_only_nouns():
    captions = [captioned("t", index)[1] for index in range(250)]
    words = " ".join(captions).replace(",", "").split()
    assert set(STYLES) | set(CAPTION_ONLY) | set(OBJECTS) <= set(words)
    assert max(len(caption.split()) for caption in captions) <= 40


def test_no_picture_of_a_split_is_in_another_or_in_the_stream():
    drawn = {captioned("pretrain", index)[0].tobytes() for index in range(80)}
    splits = [
        labelled(domain, split, index).picture.tobytes()
        for domain, split in (("photo", "train"), ("photo", "test"), ("refer", "test"))
        for index in range(30)
    ]
    assert len(drawn) == 80 and len(set(splits)) == 90 and not drawn & set(splits)


def test_a_stream_has_no_picture_before_the_first():
    with pytest.raises(ValueError, match="no picture -1"):
        captioned("a", -1)


def test_python_of_the_page_prints_what_it_says(capsys):
    page = (Path(__file__).parents[2] / "docs" / "minicut.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    exec(compile(block, "minicut.md", "exec"), {})
    (caption,) = re.findall(r'# .*"(.*)"', block)
    assert capsys.readouterr().out == f"(96, 96, 3) {caption} {len(vocabulary())}\n"
