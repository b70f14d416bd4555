"""What is in a picture: regions of stuff with things in front of them, drawn by lot from the grammar. No pixels here."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ldznet_bench.minicut.draws import Draws
from ldznet_bench.minicut.words import CAPTION_ONLY, COLOURS, OBJECTS, PATTERNS

SIDE = 96  # pixels of every image, both ways
RADII = {"small": (8, 10), None: (13, 16), "big": (21, 26)}  # pixels; apart enough to tell the sizes by eye
FLIERS = ("bird", "kite", "star", "rocket", "heart")  # may hang in the air
Outline = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Region:
    """An area of stuff.

    Attributes:
        noun: one of `words.STUFF`.
        colour: a colour word.
        pattern: a pattern word, or None.
        outline: polygon in pixels, (x, y).
    """

    noun: str
    colour: str
    pattern: str | None
    outline: Outline


@dataclass(frozen=True, slots=True)
class Thing:
    """An object.

    Attributes:
        noun: one of `words.OBJECTS` or `words.CAPTION_ONLY`.
        colour: of its body.
        pattern: of its body, or None.
        size: ``small``, ``big``, or None for what lies between.
        x: its centre, pixels.
        y: its centre, pixels.
        radius: half of its height or width, pixels.
        flip: mirrored.
        tilt: degrees, clockwise.
        tint: red, green and blue added to its colour.
    """

    noun: str
    colour: str
    pattern: str | None
    size: str | None
    x: int
    y: int
    radius: int
    flip: bool
    tilt: int
    tint: tuple[int, int, int]

    @property
    def base(self) -> tuple[int, int]:
        """The pixel on which it stands."""
        return self.x, self.y + self.radius * 9 // 10


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture's content.

    Attributes:
        regions: far ones first; later ones cover earlier ones, and together they fill the picture.
        things: far ones first; later ones cover earlier ones.
        indoor: a room.
    """

    regions: tuple[Region, ...]
    things: tuple[Thing, ...]
    indoor: bool


Look = tuple[str, str, str | None, str | None]  # noun, colour, pattern, size


def draw_scene(draws: Draws, rare: int = 0, herd: bool = False) -> Scene:
    """A scene by lot.

    Args:
        draws: where every choice comes from.
        rare: percentage of scenes that have a noun of `CAPTION_ONLY`.
        herd: one noun with two to four instances that stand apart, as in RefCOCO's pictures.
    """
    indoor = draws.chance(40)
    regions, horizon = _room(draws) if indoor else _outdoors(draws)
    things: list[Thing] = []
    big = 0
    for look in _herd(draws, rare) if herd else _cast(draws, rare):
        if look[3] == "big":
            big += 1
            if big > 2:
                look = (*look[:3], None)  # a picture has room for two
        thing = _placed(draws, look, things, horizon)
        if thing is not None:
            things.append(thing)
    things.sort(key=lambda thing: (thing.y + thing.radius, thing.x))
    return Scene(regions, tuple(things), indoor)


def without(scene: Scene, gone: frozenset[int]) -> Scene:
    """The scene without the things of these positions."""
    return replace(scene, things=tuple(thing for place, thing in enumerate(scene.things) if place not in gone))


def _look(draws: Draws, noun: str) -> Look:
    pattern = draws.choice(PATTERNS) if draws.chance(45) else None
    return noun, draws.choice(list(COLOURS)), pattern, draws.weighted({None: 52, "small": 26, "big": 22})


def _variant(draws: Draws, look: Look) -> Look:
    """The same noun with one attribute changed, often two: what makes the words of a phrase matter."""
    noun, colour, pattern, size = look
    kind = draws.weighted({"colour": 40, "pattern": 25, "size": 15, "all": 20})
    if kind in ("colour", "all"):
        colour = draws.choice([other for other in COLOURS if other != colour])
    if kind in ("pattern", "all"):
        pattern = draws.choice([other for other in (None, *PATTERNS) if other != pattern])
    if kind in ("size", "all"):
        size = draws.choice([other for other in RADII if other != size])
    return noun, colour, pattern, size


def _cast(draws: Draws, rare: int) -> list[Look]:
    """The looks of a scene: a noun with three or four instances, one with two, one or two on their own."""
    nouns = draws.shuffled(list(OBJECTS))
    if rare and draws.chance(rare):
        nouns.insert(draws.below(3), draws.choice(list(CAPTION_ONLY)))
    first = _look(draws, nouns[0])
    looks = [first, _variant(draws, first)]
    looks.append(draws.choice(looks) if draws.chance(65) else _variant(draws, first))  # a twin needs a relation
    if draws.chance(40):
        looks.append(draws.choice(looks) if draws.chance(50) else _variant(draws, first))
    second = _look(draws, nouns[1])
    looks.append(second)
    if draws.chance(85):
        looks.append(second if draws.chance(25) else _variant(draws, second))
    looks += [_look(draws, noun) for noun in nouns[2 : 3 + draws.below(2)]]
    return draws.shuffled(looks)


def _herd(draws: Draws, rare: int) -> list[Look]:
    nouns = draws.shuffled(list(OBJECTS))
    if rare and draws.chance(rare):
        nouns.insert(0, draws.choice(list(CAPTION_ONLY)))
    looks = []
    for noun, count in ((nouns[0], draws.between(2, 4)), (nouns[1], draws.between(2, 3))):
        first = _look(draws, noun)
        looks += [first] + [first if draws.chance(45) else _variant(draws, first) for _ in range(count - 1)]
    looks += [_look(draws, noun) for noun in nouns[2 : 2 + draws.between(1, 2)]]
    return looks


def _placed(draws: Draws, look: Look, others: list[Thing], horizon: int) -> Thing | None:
    """A thing of that look where there is room for it: some overlap is wanted, hiding is not."""
    noun, colour, pattern, size = look
    radius = draws.between(*RADII[size])
    tint = (draws.between(-14, 14), draws.between(-14, 14), draws.between(-14, 14))
    flip, tilt = draws.chance(50), draws.between(-10, 10)
    crowded = draws.chance(30)
    for attempt in range(24):
        x = draws.between(radius * 3 // 4, SIDE - 1 - radius * 3 // 4)
        if noun in FLIERS and draws.chance(60):
            y = draws.between(radius, SIDE * 2 // 3)
        else:
            y = draws.between(max(horizon + 4, radius), SIDE - 3) - radius * 9 // 10
            y = max(y, radius * 3 // 4)
        least = 11 if crowded or attempt >= 12 else 17  # twentieths of the sum of radii
        if all(20 * 20 * ((x - o.x) ** 2 + (y - o.y) ** 2) >= (least * (radius + o.radius)) ** 2 for o in others):
            return Thing(noun, colour, pattern, size, x, y, radius, flip, tilt, tint)
    return None


def _below(line: int) -> Outline:
    return ((0, line), (SIDE, line), (SIDE, SIDE), (0, SIDE))


def _outdoors(draws: Draws) -> tuple[tuple[Region, ...], int]:
    horizon = draws.between(22, 46)
    sky = Region("sky", draws.weighted({"blue": 6, "grey": 2, "orange": 2, "pink": 1, "white": 1}), None, _below(0))
    regions = [sky]
    if draws.chance(35):
        regions.append(_mountain(draws, horizon))
    ground = draws.weighted({"grass": 4, "sand": 3, "snow": 3, "water": 2})
    colours = {
        "grass": ("green", "green", "yellow"),
        "sand": ("yellow", "orange", "brown"),
        "snow": ("white",),
        "water": ("blue", "blue", "green"),
        "road": ("grey", "black"),
    }
    regions.append(Region(ground, draws.choice(colours[ground]), None, _below(horizon)))
    if draws.chance(65):
        other = draws.choice([noun for noun in colours if noun != ground])
        outline = (
            _half(draws, horizon) if other != "road" and draws.chance(50) else _patch(draws, horizon) if other != "road" else _path(draws, horizon)
        )
        regions.append(Region(other, draws.choice(colours[other]), None, outline))
    return tuple(regions), horizon


def _mountain(draws: Draws, horizon: int) -> Region:
    ridge = [(x, draws.between(max(4, horizon - 26), horizon - 5)) for x in range(0, SIDE + 1, 16)]
    outline = ((0, horizon + 1), *ridge, (SIDE, horizon + 1))
    return Region("mountain", draws.choice(("grey", "brown", "purple", "blue")), None, outline)


def _half(draws: Draws, horizon: int) -> Outline:
    """One side of the ground, its border slanting."""
    top, foot = draws.between(30, 66), draws.between(24, 72)
    return (
        ((0, horizon), (top, horizon), (foot, SIDE), (0, SIDE)) if draws.chance(50) else ((top, horizon), (SIDE, horizon), (SIDE, SIDE), (foot, SIDE))
    )


def _path(draws: Draws, horizon: int) -> Outline:
    top, foot, narrow, wide = draws.between(24, 72), draws.between(20, 76), draws.between(4, 9), draws.between(16, 26)
    return ((top - narrow, horizon), (top + narrow, horizon), (foot + wide, SIDE), (foot - wide, SIDE))


def _patch(draws: Draws, horizon: int) -> Outline:
    """A pond, or a carpet: an eight-cornered oval on the ground."""
    room = SIDE - horizon
    x, y = draws.between(26, 70), horizon + room * draws.between(50, 66) // 100
    across, down = draws.between(24, 38), room * draws.between(24, 36) // 100
    corners = ((100, 38), (64, 92), (-64, 92), (-100, 38), (-100, -38), (-64, -92), (64, -92), (100, -38))
    return tuple((x + across * cx // 100, y + down * cy // 100) for cx, cy in corners)


def _room(draws: Draws) -> tuple[tuple[Region, ...], int]:
    corner = draws.between(26, 50)
    wall = Region(
        "wall",
        draws.choice(("white", "yellow", "blue", "green", "pink", "grey", "purple")),
        draws.weighted({None: 6, "striped": 2, "dotted": 1}),
        _below(0),
    )
    floors = (("brown", "wooden"), ("grey", None), ("white", "checkered"), ("orange", "wooden"), ("black", "checkered"))
    regions = [wall, Region("floor", *draws.choice(floors), _below(corner))]
    if draws.chance(70):
        outline = _patch(draws, corner) if draws.chance(50) else _mat(draws, corner)
        regions.append(
            Region(
                "carpet",
                draws.choice(("red", "blue", "green", "purple", "orange", "pink")),
                draws.weighted({None: 3, "striped": 2, "checkered": 1}),
                outline,
            )
        )
    return tuple(regions), corner


def _mat(draws: Draws, corner: int) -> Outline:
    top, foot = corner + draws.between(6, 12), SIDE - draws.between(3, 10)
    left, right, slant = draws.between(4, 24), SIDE - draws.between(4, 24), draws.between(4, 12)
    return ((left + slant, top), (right - slant, top), (right, foot), (left, foot))
