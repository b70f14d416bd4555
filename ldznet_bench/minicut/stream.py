"""The endless stream of captioned pictures in all styles: what the pre-training of the miniature learns from. No masks."""

from __future__ import annotations

from collections.abc import Iterator

from ldznet_bench.minicut.captions import caption_of
from ldznet_bench.minicut.draw import Layout, lay_out
from ldznet_bench.minicut.draws import Draws
from ldznet_bench.minicut.scene import draw_scene
from ldznet_bench.minicut.styles import STYLES, Picture, render

RARE = 25  # percent of the stream's pictures that have a caption-only noun
HERDS = 20  # percent that are laid out as the refer domain's are
_STYLE_WEIGHTS = {style: 40 if style == "photo" else 10 for style in STYLES}


def captioned(stream_name: str, index: int) -> tuple[Picture, str]:
    """Picture `index` of a stream, which depends on these two alone.

    Args:
        stream_name: any name; each is a stream of its own. No name makes a picture of a labelled split.
        index: from 0, without end.

    Returns:
        uint8 (96, 96, 3) and its caption.
    """
    layout, style, draws = _drawn(stream_name, index)
    return render(layout, style, draws), caption_of(layout, style, Draws("caption", stream_name, index))


def stream(stream_name: str, start: int = 0) -> Iterator[tuple[Picture, str]]:
    """The pictures of `captioned` from `start` on, without end."""
    while True:
        yield captioned(stream_name, start)
        start += 1


def _drawn(stream_name: str, index: int) -> tuple[Layout, str, Draws]:
    if index < 0:
        raise ValueError(f"a stream has no picture {index}")
    draws = Draws("stream", stream_name, index)
    layout = lay_out(draw_scene(draws, RARE, draws.chance(HERDS)))
    return layout, draws.weighted(_STYLE_WEIGHTS), draws
