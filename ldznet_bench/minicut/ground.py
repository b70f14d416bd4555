"""Regions of stuff as pixels: which is where, and sky, grass, walls and the rest painted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from ldznet_bench.minicut.draws import Draws
from ldznet_bench.minicut.noise import Field, field, streaks
from ldznet_bench.minicut.scene import SIDE, Region
from ldznet_bench.minicut.words import COLOURS

_ROWS = np.arange(SIDE, dtype=np.int32)[:, None]
_COLUMNS = np.arange(SIDE, dtype=np.int32)[None, :]
# Stuff is paler than things of the same colour word, so that things stand out as they do in photographs.
_PALER = {
    ("sky", "blue"): (136, 184, 236), ("sky", "grey"): (168, 174, 182), ("sky", "orange"): (244, 178, 118), ("sky", "pink"): (240, 182, 200),
    ("sky", "white"): (228, 232, 236), ("grass", "green"): (104, 158, 74), ("grass", "yellow"): (196, 178, 88), ("sand", "yellow"): (226, 204, 142),
    ("sand", "orange"): (222, 172, 112), ("sand", "brown"): (172, 134, 96), ("snow", "white"): (234, 238, 244), ("water", "blue"): (74, 124, 186),
    ("water", "green"): (74, 146, 134), ("road", "grey"): (122, 122, 126), ("road", "black"): (66, 66, 72), ("mountain", "grey"): (128, 132, 142),
    ("mountain", "brown"): (138, 108, 84), ("mountain", "purple"): (126, 108, 150), ("mountain", "blue"): (104, 126, 164),
}  # fmt: skip


def stuff_of(regions: Sequence[Region]) -> npt.NDArray[np.uint8]:
    """uint8 (96, 96): the last region whose outline covers each pixel."""
    image = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(image)
    for place, region in enumerate(regions):
        draw.polygon(region.outline, fill=place)
    return np.array(image)


def paint_regions(regions: Sequence[Region], stuff: npt.NDArray[np.uint8], draws: Draws) -> npt.NDArray[np.float32]:
    """float32 (96, 96, 3), about 0 to 255."""
    colours = np.empty((len(regions), 3), dtype=np.float32)
    factors = np.empty((SIDE, SIDE), dtype=np.float32)
    for place, region in enumerate(regions):
        colours[place] = _colour(region, draws)
        np.copyto(factors, _TEXTURES[region.noun](region, draws), where=stuff == place)
    canvas = np.take(colours, stuff, axis=0)
    canvas *= factors[:, :, None]
    return canvas


def _colour(region: Region, draws: Draws) -> tuple[int, ...]:
    base: tuple[int, ...] = _PALER.get((region.noun, region.colour), ())
    if not base:
        base = COLOURS[region.colour]
        if region.noun in ("wall", "floor"):
            base = tuple(part + (226 - part) * 45 // 100 for part in base) if region.colour != "black" else (74, 74, 80)
        else:
            base = tuple(part * 82 // 100 + 28 for part in base)
    shift = draws.between(-10, 10)
    return tuple(part + shift + draws.between(-6, 6) for part in base)


def _sky(_: Region, draws: Draws) -> Field:
    clouds = np.maximum(np.float32(0), field(draws, 14)) * np.float32(draws.between(0, 12) / 100)
    return np.float32(0.9) + _ROWS.astype(np.float32) * np.float32(0.004) + clouds


def _grass(_: Region, draws: Draws) -> Field:
    return np.float32(1) + np.float32(0.09) * streaks(draws, 3, 1) + np.float32(0.08) * field(draws, 8)


def _sand(_: Region, draws: Draws) -> Field:
    return np.float32(1) + np.float32(0.05) * field(draws) + np.float32(0.05) * field(draws, 8)


def _snow(_: Region, draws: Draws) -> Field:
    return np.float32(1) + np.float32(0.05) * field(draws, 14)


def _water(_: Region, draws: Draws) -> Field:
    return np.float32(1) + np.float32(0.1) * streaks(draws, 1, 7) + np.float32(0.06) * field(draws, 8)


def _road(_: Region, draws: Draws) -> Field:
    return np.float32(1) + np.float32(0.07) * field(draws) + np.float32(0.04) * field(draws, 14)


def _mountain(_: Region, draws: Draws) -> Field:
    return np.float32(1) + np.float32(0.12) * field(draws, 4) + np.float32(0.06) * field(draws, 1)


def _wall(region: Region, draws: Draws) -> Field:
    base = np.float32(1) + np.float32(0.03) * field(draws, 14)
    pitch = draws.between(4, 7)
    if region.pattern == "striped":
        return base * np.where(_COLUMNS // pitch % 2 == 1, np.float32(0.84), np.float32(1))
    if region.pattern == "dotted":
        rows, columns = _ROWS % (2 * pitch) - pitch, _COLUMNS % (2 * pitch) - pitch
        return base * np.where(rows * rows + columns * columns <= pitch * pitch // 5, np.float32(0.74), np.float32(1))
    return base


def _floor(region: Region, draws: Draws) -> Field:
    base = np.float32(1) + np.float32(0.03) * field(draws, 4)
    pitch = draws.between(7, 11)
    if region.pattern == "checkered":
        return base * np.where((_ROWS // pitch + _COLUMNS // pitch) % 2 == 1, np.float32(0.76), np.float32(1.04))
    if region.pattern == "wooden":
        plank = _ROWS // pitch
        seam = (_ROWS % pitch == 0) | ((_COLUMNS + plank * 37) % 48 == 0)
        return (base + np.float32(0.06) * streaks(draws, 1, 16)) * np.where(seam, np.float32(0.7), np.float32(1))
    return base


def _carpet(region: Region, draws: Draws) -> Field:
    base = np.float32(1) + np.float32(0.06) * field(draws)
    if region.pattern == "striped":
        return base * np.where(_ROWS // 4 % 2 == 1, np.float32(0.66), np.float32(1.08))
    if region.pattern == "checkered":
        return base * np.where((_ROWS // 6 + _COLUMNS // 6) % 2 == 1, np.float32(0.66), np.float32(1.08))
    return base


_TEXTURES: dict[str, Callable[[Region, Draws], Field]] = {
    "sky": _sky,
    "grass": _grass,
    "sand": _sand,
    "snow": _snow,
    "water": _water,
    "road": _road,
    "mountain": _mountain,
    "wall": _wall,
    "floor": _floor,
    "carpet": _carpet,
}
