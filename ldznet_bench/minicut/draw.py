"""From a scene to pixels: where everything is, and its plain picture before a style is laid over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from ldznet_bench.minicut import ground
from ldznet_bench.minicut.draws import Draws
from ldznet_bench.minicut.noise import field
from ldznet_bench.minicut.scene import SIDE, Scene, Thing, without
from ldznet_bench.minicut.shapes import BODY, BROWN, CREAM, DARK, GLASS, GOLD, LEAF, LIGHT, NOTHING, ROLES, SHADE, turned
from ldznet_bench.minicut.words import COLOURS, NEAR_STUFF

Canvas = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
_UNIT = 100 * 4096  # of a turned point, for one radius
_LEAST_SHARE, _LEAST_PIXELS = 50, 60  # of a thing that stays in its picture: percent and pixels that are seen
_ACCENTS = {DARK: (44, 42, 48), CREAM: (240, 230, 206), BROWN: (112, 74, 44), GLASS: (168, 206, 226), LEAF: (70, 140, 60), GOLD: (236, 190, 60)}


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A thing's roles at twice the resolution, clipped to the picture.

    Attributes:
        roles: uint8 (2h, 2w); `shapes` names them.
        top: first row in the picture, pixels.
        left: first column in the picture, pixels.
        coverage: uint8 (h, w): how many of a pixel's four quarters are the thing's.
    """

    roles: npt.NDArray[np.uint8]
    top: int
    left: int
    coverage: npt.NDArray[np.uint8]

    @property
    def window(self) -> tuple[slice, slice]:
        """The picture's pixels that it may touch."""
        height, width = self.coverage.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Who is where.

    Attributes:
        scene: every thing of it can be seen.
        tiles: one per thing.
        stuff: uint8 (96, 96): the region behind each pixel, things aside.
        owners: uint8 (96, 96): what is seen at each pixel: r for region r, len(regions) + t for thing t.
    """

    scene: Scene
    tiles: tuple[Tile, ...]
    stuff: npt.NDArray[np.uint8]
    owners: npt.NDArray[np.uint8]

    def visible(self, entity: int) -> Mask:
        """The pixels at which a region or thing is seen."""
        return np.asarray(self.owners == entity)

    def whole(self, thing: int) -> Mask:
        """The pixels of thing `thing`, were nothing in front of it."""
        mask = np.zeros((SIDE, SIDE), dtype=np.bool_)
        tile = self.tiles[thing]
        mask[tile.window] = tile.coverage >= 2
        return mask


def lay_out(scene: Scene) -> Layout:
    """Where everything is; things that others hide are taken out of the scene."""
    tiles = [_tile(thing) for thing in scene.things]
    stuff = ground.stuff_of(scene.regions)
    first = len(scene.regions)
    while True:
        owners = stuff.copy()
        for place, tile in enumerate(tiles):
            owners[tile.window][tile.coverage >= 2] = first + place
        seen = np.bincount(owners.ravel(), minlength=first + len(tiles))[first:]
        whole = [int(np.count_nonzero(tile.coverage >= 2)) for tile in tiles]
        gone = {place for place, total in enumerate(whole) if seen[place] < _LEAST_PIXELS or 100 * int(seen[place]) < _LEAST_SHARE * total}
        if not gone:
            return Layout(scene, tuple(tiles), stuff, owners)
        nearest = max(gone)  # what it hid may be seen again without it
        scene = without(scene, frozenset({nearest}))
        del tiles[nearest]


def _tile(thing: Thing) -> Tile:
    reach = thing.radius * 21 // 20 + 1
    left, right = max(0, thing.x - reach), min(SIDE, thing.x + reach + 1)
    top, bottom = max(0, thing.y - reach), min(SIDE, thing.y + reach + 1)
    image = Image.new("L", (2 * (right - left), 2 * (bottom - top)))
    draw = ImageDraw.Draw(image)
    x0, y0 = 2 * (thing.x - left) + 1, 2 * (thing.y - top) + 1
    twice = 2 * thing.radius
    for role, points in turned(thing.noun, thing.tilt, thing.flip):
        draw.polygon([(x0 + x * twice // _UNIT, y0 + y * twice // _UNIT) for x, y in points], fill=role)
    roles = np.asarray(image)
    solid = (roles != NOTHING).view(np.uint8)
    coverage = solid[::2, ::2] + solid[1::2, ::2] + solid[::2, 1::2] + solid[1::2, 1::2]
    return Tile(roles, top, left, coverage)


def paint(layout: Layout, draws: Draws, light: tuple[int, int], shadow: int) -> Canvas:
    """The plain picture.

    Args:
        layout: who is where.
        draws: grain and clouds.
        light: where it comes from, each of -1, 0, 1: right and down.
        shadow: strength of cast shadows in percent.

    Returns:
        float32 (96, 96, 3), about 0 to 255, not clipped.
    """
    canvas = ground.paint_regions(layout.scene.regions, layout.stuff, draws)
    for thing, tile in zip(layout.scene.things, layout.tiles, strict=True):
        if shadow and layout.scene.regions[layout.stuff[min(SIDE - 1, thing.base[1]), thing.x]].noun in NEAR_STUFF:
            _cast_shadow(canvas, thing, light[0], shadow)
        _paint_thing(canvas, thing, tile, draws, light)
    return canvas


def _cast_shadow(canvas: Canvas, thing: Thing, side: int, strength: int) -> None:
    x, y = thing.base
    x -= side * thing.radius // 3
    across, down = thing.radius, max(3, thing.radius * 3 // 10)
    top, bottom, left, right = max(0, y - down), min(SIDE, y + down + 1), max(0, x - across), min(SIDE, x + across + 1)
    if top >= bottom or left >= right:
        return
    rows = (np.arange(top, bottom, dtype=np.float32) - np.float32(y)) / np.float32(down)
    columns = (np.arange(left, right, dtype=np.float32) - np.float32(x)) / np.float32(across)
    depth = np.maximum(np.float32(0), np.float32(1) - (rows * rows)[:, None] - (columns * columns)[None, :])
    canvas[top:bottom, left:right] *= (np.float32(1) - np.float32(strength / 100) * depth)[:, :, None]


def _paint_thing(canvas: Canvas, thing: Thing, tile: Tile, draws: Draws, light: tuple[int, int]) -> None:
    height, width = tile.roles.shape
    down = np.arange(height, dtype=np.int32) + (2 * tile.top - 2 * thing.y)
    across = np.arange(width, dtype=np.int32) + (2 * tile.left - 2 * thing.x)
    roles = tile.roles
    if thing.pattern in ("striped", "dotted", "checkered"):
        roles = roles + np.uint8(ROLES) * _second_colour(thing, down, across).view(np.uint8)
    slope = np.float32(0.22 / (2 * thing.radius))
    glow = np.float32(1) + (light[0] * slope) * across.astype(np.float32)[None, :] + (light[1] * slope) * down.astype(np.float32)[:, None]
    if thing.pattern in ("metal", "wooden", "fuzzy"):
        body = (tile.roles >= BODY) & (tile.roles <= LIGHT)
        glow *= np.where(body, _grain(thing, down, across, draws), np.float32(1))
    glow *= tile.roles != NOTHING
    pixels = np.take(_colours(thing).T, roles, axis=1)  # planes of colour: twice as fast as pixels of three
    pixels *= glow
    colour = pixels[:, ::2, ::2] + pixels[:, 1::2, ::2]
    colour += pixels[:, ::2, 1::2]
    colour += pixels[:, 1::2, 1::2]
    colour *= np.float32(0.25)
    window = canvas[tile.window]
    window *= (np.float32(1) - np.float32(0.25) * tile.coverage)[:, :, None]
    window += colour.transpose(1, 2, 0)


def _second_colour(thing: Thing, down: npt.NDArray[np.int32], across: npt.NDArray[np.int32]) -> Mask:
    """Where a pattern's second colour is, bool (2h, 2w); the pitch grows with the thing, and is never under 2.5 pixels."""
    pitch = max(5, thing.radius // 2)
    if thing.pattern == "striped":
        lines = down[:, None] + 0 * across[None, :] if thing.tilt % 2 else across[None, :] + 0 * down[:, None]
        return np.asarray((lines // pitch) % 2 == 1)
    if thing.pattern == "checkered":
        return np.asarray((down[:, None] // pitch + across[None, :] // pitch) % 2 == 1)
    square = pitch * 3 // 2
    rows, columns = down % square - square // 2, across % square - square // 2
    return np.asarray((rows * rows)[:, None] + (columns * columns)[None, :] <= (square * square) // 9)


def _grain(thing: Thing, down: npt.NDArray[np.int32], across: npt.NDArray[np.int32], draws: Draws) -> Canvas:
    """What multiplies the body's brightness: bright bands for metal, dark lines for wood, tufts for what is fuzzy; (2h, 2w)."""
    size = max(len(down), len(across))
    if thing.pattern == "fuzzy":
        return np.float32(1) + np.float32(0.3) * field(draws, 2, size)[: len(down), : len(across)]
    if thing.pattern == "wooden":
        wave = (down[:, None] * 2 + (field(draws, 8, size)[: len(down), : len(across)] * np.float32(5)).astype(np.int32)) % 11
        return np.where(wave < 4, np.float32(0.68), np.float32(1.06))
    band = np.abs((across[None, :] + down[:, None] // 2) % (thing.radius + 6) - (thing.radius + 6) // 2).astype(np.float32)
    return np.asarray(np.float32(0.62) + band * np.float32(1.9 / (thing.radius + 6)))


def _colours(thing: Thing) -> Canvas:
    """The colour of every role, and again under a pattern's second colour: float32 (20, 3)."""
    body = [COLOURS[thing.colour][channel] + thing.tint[channel] for channel in range(3)]
    table = np.zeros((2 * ROLES, 3), dtype=np.float32)
    for role, colour in _ACCENTS.items():
        table[role] = table[role + ROLES] = colour
    _shades(table[:ROLES], body)
    _shades(table[ROLES:], _contrast(body))
    if thing.pattern == "metal":
        table[[BODY, SHADE, LIGHT]] = table[[BODY, SHADE, LIGHT]] * np.float32(0.75) + np.float32(44)
    return table


def _shades(table: Canvas, body: Sequence[int]) -> None:
    table[BODY] = body
    table[SHADE] = [part * 68 // 100 for part in body]
    table[LIGHT] = [part + (255 - part) * 45 // 100 for part in body]


def _contrast(body: Sequence[int]) -> list[int]:
    """A pattern's second colour: nearly white beside most, dark beside what is light, so that the first keeps its name."""
    light = (body[0] * 30 + body[1] * 59 + body[2] * 11) // 100
    return [part * 45 // 100 for part in body] if light > 170 else [part + (250 - part) * 70 // 100 for part in body]
