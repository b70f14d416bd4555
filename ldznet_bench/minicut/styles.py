"""Styles laid over the plain picture. Shapes stay where they are in all of them, so masks hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ldznet_bench.minicut.draw import Canvas, Layout, paint
from ldznet_bench.minicut.draws import Draws
from ldznet_bench.minicut.noise import field, streaks
from ldznet_bench.minicut.scene import SIDE

Picture = npt.NDArray[np.uint8]
_F = np.float32
_ROWS = np.arange(SIDE, dtype=np.int32)[:, None]
_COLUMNS = np.arange(SIDE, dtype=np.int32)[None, :]
_ACROSS = (np.arange(SIDE, dtype=np.float32) - _F(47.5)) / _F(48)
_FROM_CENTRE = _ACROSS[:, None] * _ACROSS[:, None] + _ACROSS[None, :] * _ACROSS[None, :]


def render(layout: Layout, style: str, draws: Draws) -> Picture:
    """A scene in a style.

    Args:
        layout: who is where.
        style: one of `STYLES`.
        draws: light, grain, palettes.

    Returns:
        uint8 (96, 96, 3).
    """
    light = (draws.choice((-1, 1)), -1)
    shadow = draws.between(25, 50) if style == "photo" else draws.between(0, 30)
    canvas = paint(layout, draws, light, shadow)
    canvas = _STYLES[style](canvas, layout, draws, light[0])
    return (np.clip(canvas, 0, 255) + _F(0.5)).astype(np.uint8)


def _photo(canvas: Canvas, _: Layout, draws: Draws, side: int) -> Canvas:
    """Uneven light, a colour cast, a lens that softens and darkens the corners, and a noisy sensor."""
    slope, fall = _F(draws.between(0, 20) / 100) * side, _F(draws.between(0, 14) / 100)
    exposure = _F(draws.between(78, 116) / 100)
    glow = exposure * (_F(1) + slope * _ACROSS[None, :] - fall * _FROM_CENTRE)
    canvas *= glow[:, :, None]
    warm = _F(draws.between(-7, 7) / 100)
    canvas *= np.array([1 + warm, 1, 1 - warm], dtype=np.float32)
    canvas = _soften(canvas, _F(draws.between(0, 22) / 100))
    grain = _F(draws.between(2, 6))
    for channel in range(3):
        canvas[:, :, channel] += grain * field(draws)
    return canvas


def _soften(canvas: Canvas, share: np.float32) -> Canvas:
    """A small cross-shaped blur: `share` goes to the neighbours along each axis."""
    for axis in (0, 1):
        near = np.concatenate([canvas[:1], canvas[:-1]]) if axis == 0 else np.concatenate([canvas[:, :1], canvas[:, :-1]], axis=1)
        far = np.concatenate([canvas[1:], canvas[-1:]]) if axis == 0 else np.concatenate([canvas[:, 1:], canvas[:, -1:]], axis=1)
        canvas = (_F(1) - share) * canvas + (share / _F(2)) * (near + far)
    return canvas


def _palette(canvas: Canvas, draws: Draws) -> Canvas:
    """Another palette: pastel, vivid, faded or as it is; hues stay, so that colour words hold."""
    grey = (canvas[:, :, 0] * _F(0.3) + canvas[:, :, 1] * _F(0.59) + canvas[:, :, 2] * _F(0.11))[:, :, None]
    strength, lift, span = draws.choice(((0.85, 70, 0.7), (1.35, -6, 1.02), (0.75, 26, 0.86), (1.1, 0, 1.0)))
    return np.asarray((grey + (canvas - grey) * _F(strength)) * _F(span) + _F(lift))


def _edges(layout: Layout) -> npt.NDArray[np.bool_]:
    """Pixels whose right or lower neighbour is somebody else's."""
    owners, found = layout.owners, np.zeros((SIDE, SIDE), dtype=np.bool_)
    found[:, :-1] = owners[:, :-1] != owners[:, 1:]
    found[:-1] |= owners[:-1] != owners[1:]
    return found


def _steps(canvas: Canvas, step: int) -> Canvas:
    return np.asarray(np.floor(canvas / _F(step)) * _F(step) + _F(step // 2))


def _painting(canvas: Canvas, _: Layout, draws: Draws, side: int) -> Canvas:
    """Paint that follows a brush: every dab takes the colour of a place nearby."""
    canvas = _palette(canvas, draws)
    long, wide = (2, 5) if draws.chance(50) else (5, 2)
    drift = np.clip(streaks(draws, long, wide) * _F(1.6), -3, 3).astype(np.int32)
    rows = np.clip(_ROWS // 2 * 2 + drift, 0, SIDE - 1)
    columns = np.clip(_COLUMNS // 2 * 2 + side * drift[::-1], 0, SIDE - 1)
    return np.asarray(canvas[rows, columns] * (_F(1) + _F(0.07) * streaks(draws, long, wide))[:, :, None])


def _cartoon(canvas: Canvas, layout: Layout, draws: Draws, _: int) -> Canvas:
    """Few tones and an ink line round everything."""
    canvas = _steps(_palette(canvas, draws), 44)
    canvas[_edges(layout)] = _F(draws.between(10, 40))
    return canvas


def _comic(canvas: Canvas, layout: Layout, draws: Draws, _: int) -> Canvas:
    """A halftone screen: dots of a stronger colour on paper, and an ink line."""
    canvas = _palette(canvas, draws)
    pitch = draws.between(3, 4)
    u, v = (_ROWS + _COLUMNS) % (2 * pitch) - pitch, (_ROWS - _COLUMNS) % (2 * pitch) - pitch
    screen = (u * u + v * v).astype(np.float32) / _F(2 * pitch * pitch)
    dark = _F(1) - (canvas[:, :, 0] * _F(0.3) + canvas[:, :, 1] * _F(0.59) + canvas[:, :, 2] * _F(0.11)) / _F(255)
    ink = (screen < dark * _F(1.15))[:, :, None]
    paper = np.array(draws.choice(((250, 246, 236), (248, 238, 214), (240, 244, 250))), dtype=np.float32)
    canvas = np.where(ink, canvas * _F(0.8), canvas * _F(0.55) + paper * _F(0.45))
    canvas[_edges(layout)] = _F(24)
    return canvas


def _poster(canvas: Canvas, _: Layout, draws: Draws, __: int) -> Canvas:
    """Three tones a channel, in print that is a little off its register."""
    canvas = _steps(_palette(canvas, draws) + _F(4) * field(draws, 4)[:, :, None], 72)
    off = draws.choice((-1, 1))
    canvas[:, :, 0] = np.roll(canvas[:, :, 0], off, axis=1)
    warm = np.array(draws.choice(((1.06, 1.0, 0.84), (0.94, 1.0, 1.06), (1.0, 0.96, 1.0))), dtype=np.float32)
    return canvas * warm * _F(0.92) + _F(8)


def _sketch(canvas: Canvas, layout: Layout, draws: Draws, _: int) -> Canvas:
    """Coloured pencil on paper: hatching, and a soft line where brightness changes."""
    grey = canvas[:, :, 0] * _F(0.3) + canvas[:, :, 1] * _F(0.59) + canvas[:, :, 2] * _F(0.11)
    line = np.zeros((SIDE, SIDE), dtype=np.float32)
    line[:, :-1] = np.abs(grey[:, 1:] - grey[:, :-1])
    line[:-1] += np.abs(grey[1:] - grey[:-1])
    hatch = ((_ROWS + draws.choice((-1, 1)) * _COLUMNS) % 4 < 2).astype(np.float32) * _F(0.22) + _F(0.42)
    hatch = hatch + _F(0.06) * field(draws)
    paper = np.array(draws.choice(((246, 242, 230), (238, 238, 240), (236, 226, 204))), dtype=np.float32)
    canvas = paper + (canvas - paper) * hatch[:, :, None]
    canvas -= np.minimum(line * _F(1.6), _F(150))[:, :, None]
    canvas[_edges(layout)] *= _F(0.55)
    return canvas


def _mosaic(canvas: Canvas, _: Layout, draws: Draws, __: int) -> Canvas:
    """Little square stones with grout between them."""
    canvas = _palette(canvas, draws)
    corner = canvas[::3, ::3] + canvas[1::3, ::3] + canvas[::3, 1::3] + canvas[1::3, 1::3]
    stones = corner * (_F(0.25) + _F(0.02) * field(draws, 0, SIDE // 3))[:, :, None]
    canvas = np.repeat(np.repeat(stones, 3, axis=0), 3, axis=1)
    canvas[((_ROWS % 3 == 2) | (_COLUMNS % 3 == 2))] *= _F(0.8)
    return canvas


_STYLES: dict[str, Callable[[Canvas, Layout, Draws, int], Canvas]] = {
    "photo": _photo,
    "cartoon": _cartoon,
    "comic": _comic,
    "mosaic": _mosaic,
    "painting": _painting,
    "poster": _poster,
    "sketch": _sketch,
}
STYLES = tuple(_STYLES)
ART = tuple(style for style in STYLES if style != "photo")
