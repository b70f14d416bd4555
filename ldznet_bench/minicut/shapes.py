"""What the nouns look like: polygons in hundredths of an object's radius, y down, each with the role that colours it.

Everything is whole numbers, so that a rotated outline has the same vertices on every machine.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

NOTHING, BODY, SHADE, LIGHT, DARK, CREAM, BROWN, GLASS, LEAF, GOLD = range(10)
ROLES = 10
Point = tuple[int, int]
_TURN = 4096  # the unit of the sine table


@dataclass(frozen=True, slots=True)
class Part:
    """One polygon of a noun's picture; later parts cover earlier ones, and NOTHING cuts a hole."""

    role: int
    points: tuple[Point, ...]


@functools.cache
def _sine(degrees: int) -> int:
    return round(math.sin(math.radians(degrees % 360)) * _TURN)


@functools.lru_cache(8192)
def turned(noun: str, degrees: int, flip: bool) -> tuple[tuple[int, tuple[Point, ...]], ...]:
    """A noun's parts (role, points) mirrored, then turned about the origin; in units of 1/4096 of `SHAPES`' own."""
    sine, cosine, sign = _sine(degrees), _sine(degrees + 90), -1 if flip else 1
    return tuple((part.role, tuple((sign * x * cosine - y * sine, sign * x * sine + y * cosine) for x, y in part.points)) for part in SHAPES[noun])


def _poly(role: int, *xy: int) -> Part:
    return Part(role, tuple(zip(xy[::2], xy[1::2], strict=True)))


def _box(role: int, x0: int, y0: int, x1: int, y1: int) -> Part:
    return _poly(role, x0, y0, x1, y0, x1, y1, x0, y1)


def _oval(role: int, x: int, y: int, rx: int, ry: int, start: int = 0, stop: int = 360) -> Part:
    """An ellipse, or the part of it between two angles (clockwise from the right, as y points down)."""
    degrees = range(start, stop + (stop - start < 360), 15)
    return Part(role, tuple((x + rx * _sine(angle + 90) // _TURN, y + ry * _sine(angle) // _TURN) for angle in degrees))


def _ray(x: int, y: int, radius: int, inner: int, points: int) -> tuple[Point, ...]:
    step = 180 // points
    radii = [(angle * step - 90, inner if angle % 2 else radius) for angle in range(2 * points)]
    return tuple((x + r * _sine(angle + 90) // _TURN, y + r * _sine(angle) // _TURN) for angle, r in radii)


def _petals() -> tuple[Part, ...]:
    around = [(_sine(angle + 90), _sine(angle)) for angle in range(0, 360, 60)]
    return tuple(_oval(BODY, 44 * c // _TURN, -40 + 44 * s // _TURN, 30, 30) for c, s in around)


SHAPES: dict[str, tuple[Part, ...]] = {
    "apple": (
        _poly(BROWN, -6, -90, 6, -94, 8, -50, -6, -50),
        _poly(LEAF, 6, -72, 34, -98, 56, -86, 34, -66),
        _oval(BODY, -34, 10, 58, 72),
        _oval(BODY, 34, 10, 58, 72),
    ),
    "ball": (_oval(BODY, 0, 0, 92, 92), _oval(SHADE, 0, 0, 30, 92), _oval(LIGHT, -50, -46, 15, 15)),
    "bell": (
        _oval(DARK, 0, 74, 20, 18),
        _oval(BODY, 0, -70, 18, 18),
        _poly(BODY, -20, -72, 20, -72, 46, -40, 56, 20, 88, 62, -88, 62, -56, 20, -46, -40),
        _box(SHADE, -88, 48, 88, 66),
    ),
    "bird": (
        _poly(SHADE, -40, 0, -98, -30, -92, 18),
        _poly(DARK, -8, 50, 0, 50, 0, 92, -8, 92),
        _poly(DARK, 14, 50, 22, 50, 22, 92, 14, 92),
        _oval(BODY, -4, 12, 62, 46),
        _poly(GOLD, 72, -52, 100, -38, 72, -26),
        _oval(BODY, 48, -38, 36, 34),
        _poly(SHADE, -46, -6, 26, -10, 4, 34, -22, 36),
        _oval(DARK, 58, -44, 7, 7),
    ),
    "boat": (
        _box(BROWN, -6, -98, 6, 30),
        _poly(CREAM, 10, -92, 74, 16, 10, 16),
        _poly(CREAM, -10, -70, -62, 16, -10, 16),
        _poly(BODY, -98, 24, 98, 24, 62, 84, -62, 84),
        _poly(SHADE, -98, 24, 98, 24, 88, 40, -88, 40),
    ),
    "book": (
        _poly(CREAM, -66, 62, 70, 62, 82, 88, -54, 88),
        _poly(BODY, -82, -88, 62, -88, 74, 66, -70, 66),
        _poly(SHADE, -82, -88, -54, -88, -42, 66, -70, 66),
        _box(CREAM, -26, -56, 44, -30),
    ),
    "bottle": (
        _box(BODY, -14, -80, 14, -20),
        _box(DARK, -17, -98, 17, -74),
        _poly(BODY, -14, -34, 14, -34, 40, 4, 40, 92, 34, 98, -34, 98, -40, 92, -40, 4),
        _box(CREAM, -40, 26, 40, 62),
    ),
    "box": (
        _box(BODY, -88, -44, 54, 90),
        _poly(LIGHT, -88, -44, -50, -84, 92, -84, 54, -44),
        _poly(SHADE, 54, -44, 92, -84, 92, 50, 54, 90),
        _poly(CREAM, -28, -44, 10, -84, 26, -84, -12, -44),
    ),
    "car": (
        _poly(BODY, -52, -8, -34, -56, 34, -56, 58, -8),
        _poly(GLASS, -40, -10, -27, -46, -4, -46, -4, -10),
        _poly(GLASS, 6, -10, 6, -46, 28, -46, 44, -10),
        _poly(BODY, -98, 0, -90, -12, 84, -12, 98, 8, 98, 42, -98, 42),
        _oval(DARK, -54, 42, 26, 26),
        _oval(DARK, 54, 42, 26, 26),
        _oval(CREAM, -54, 42, 10, 10),
        _oval(CREAM, 54, 42, 10, 10),
        _box(GOLD, 86, 6, 98, 20),
    ),
    "cat": (
        _poly(SHADE, 40, 70, 84, 44, 78, -6, 94, -8, 100, 54, 60, 92),
        _oval(BODY, 4, 46, 52, 50),
        _poly(BODY, -62, -88, -36, -62, -60, -34),
        _poly(BODY, 22, -88, -4, -62, 20, -34),
        _oval(BODY, -20, -36, 46, 40),
        _oval(GOLD, -38, -40, 9, 10),
        _oval(GOLD, -2, -40, 9, 10),
        _poly(DARK, -26, -24, -14, -24, -20, -14),
    ),
    "chair": (
        _box(BODY, -58, -96, -36, 20),
        _poly(SHADE, -36, -88, -20, -96, -20, 6, -36, 14),
        _poly(BODY, -58, 4, 52, 4, 66, 28, -58, 28),
        _box(SHADE, -56, 28, -38, 98),
        _box(SHADE, 40, 28, 58, 98),
        _box(SHADE, -16, 28, -4, 82),
    ),
    "crown": (
        _poly(BODY, -84, 66, -96, -52, -46, 4, 0, -84, 46, 4, 96, -52, 84, 66),
        _box(SHADE, -84, 42, 84, 74),
        _oval(GLASS, 0, -76, 14, 14),
        _oval(GLASS, -90, -50, 12, 12),
        _oval(GLASS, 90, -50, 12, 12),
    ),
    "cup": (
        _oval(BODY, 56, -2, 42, 46),
        _oval(NOTHING, 56, -2, 24, 28),
        _poly(BODY, -76, -74, 58, -74, 40, 84, -58, 84),
        _oval(SHADE, -9, -74, 67, 16),
    ),
    "flower": (_box(LEAF, -7, 0, 7, 98), _poly(LEAF, 4, 78, 56, 34, 50, 72), *_petals(), _oval(GOLD, 0, -40, 24, 24)),
    "hat": (
        _oval(BODY, 0, 46, 98, 30),
        _poly(BODY, -54, 44, -44, -58, -20, -72, 20, -72, 44, -58, 54, 44),
        _poly(DARK, -56, 36, -52, 8, 52, 8, 56, 36),
    ),
    "heart": (_oval(BODY, -44, -30, 50, 50), _oval(BODY, 44, -30, 50, 50), _poly(BODY, -90, -12, -60, -40, 0, -40, 60, -40, 90, -12, 0, 92)),
    "house": (
        _box(BROWN, 36, -88, 60, -40),
        _box(BODY, -74, -16, 74, 92),
        _poly(SHADE, -98, -12, 0, -98, 98, -12),
        _box(DARK, -16, 34, 18, 92),
        _box(GLASS, -58, 8, -30, 38),
        _box(GLASS, 32, 8, 60, 38),
    ),
    "key": (
        _oval(BODY, 0, -54, 44, 42),
        _oval(NOTHING, 0, -54, 20, 18),
        _box(BODY, -13, -16, 13, 96),
        _box(BODY, 10, 40, 48, 58),
        _box(BODY, 10, 74, 40, 92),
    ),
    "kite": (
        _poly(DARK, -4, 40, 4, 40, 26, 72, -14, 98, -22, 92, 14, 72),
        _poly(BODY, 0, -98, 66, -30, 0, 52, -66, -30),
        _poly(SHADE, 0, -98, 66, -30, 0, -30),
        _poly(SHADE, 0, 52, -66, -30, 0, -30),
    ),
    "lamp": (
        _box(DARK, -8, -10, 8, 82),
        _oval(DARK, 0, 84, 44, 14),
        _poly(BODY, -34, -94, 34, -94, 78, 4, -78, 4),
        _poly(SHADE, -72, -8, 72, -8, 78, 6, -78, 6),
    ),
    "mushroom": (
        _poly(CREAM, -24, -10, 24, -10, 34, 92, -34, 92),
        _oval(BODY, 0, 4, 92, 92, 180, 360),
        _oval(CREAM, -40, -34, 17, 15),
        _oval(CREAM, 30, -52, 15, 14),
        _oval(CREAM, 56, -16, 13, 11),
    ),
    "robot": (
        _box(DARK, -4, -98, 4, -70),
        _oval(GOLD, 0, -92, 9, 9),
        _box(BODY, -44, -74, 44, -20),
        _box(GLASS, -30, -60, -8, -40),
        _box(GLASS, 8, -60, 30, -40),
        _box(BODY, -56, -12, 56, 56),
        _box(SHADE, -82, -8, -62, 44),
        _box(SHADE, 62, -8, 82, 44),
        _box(SHADE, -42, 56, -14, 96),
        _box(SHADE, 14, 56, 42, 96),
        _box(CREAM, -30, 6, 30, 36),
    ),
    "rocket": (
        _poly(GOLD, -22, 66, 22, 66, 0, 100),
        _poly(SHADE, -28, 14, -70, 78, -28, 66),
        _poly(SHADE, 28, 14, 70, 78, 28, 66),
        _poly(BODY, 0, -98, 24, -62, 32, -10, 28, 70, -28, 70, -32, -10, -24, -62),
        _oval(GLASS, 0, -24, 17, 17),
    ),
    "snowman": (
        _oval(BODY, 0, 52, 52, 46),
        _oval(BODY, 0, -14, 38, 34),
        _oval(BODY, 0, -58, 28, 26),
        _box(DARK, -30, -82, 30, -74),
        _box(DARK, -18, -98, 18, -76),
        _poly(GOLD, 0, -60, 34, -52, 0, -48),
        _oval(DARK, 0, -18, 6, 6),
        _oval(DARK, 0, 2, 6, 6),
    ),
    "star": (Part(BODY, _ray(0, 8, 98, 44, 5)), Part(LIGHT, _ray(0, 8, 40, 18, 5))),
    "table": (
        _box(SHADE, -84, -6, -66, 88),
        _box(SHADE, 66, -6, 84, 88),
        _box(SHADE, -40, -6, -28, 66),
        _box(SHADE, 28, -6, 40, 66),
        _poly(BODY, -70, -44, 70, -44, 98, -6, -98, -6),
        _box(LIGHT, -98, -8, 98, 8),
    ),
    "tree": (
        _poly(BROWN, -15, 10, 15, 10, 20, 98, -20, 98),
        _oval(BODY, -42, -8, 46, 42),
        _oval(BODY, 42, -8, 46, 42),
        _oval(BODY, 0, -46, 54, 50),
        _oval(SHADE, 22, 4, 36, 24),
    ),
    "umbrella": (
        _box(DARK, -5, -98, 5, 84),
        _poly(DARK, -5, 78, 5, 78, 14, 88, 28, 82, 34, 88, 14, 100, -4, 92),
        _oval(BODY, 0, 8, 98, 92, 180, 360),
        _oval(SHADE, 0, 8, 34, 92, 180, 360),
        _oval(NOTHING, -66, 10, 30, 12),
        _oval(NOTHING, 66, 10, 30, 12),
    ),
    "whale": (
        _poly(SHADE, -60, 4, -98, -46, -70, -40, -64, -62, -40, -8),
        _oval(BODY, 16, 14, 80, 54),
        _poly(BODY, -78, -14, -50, -20, -10, 40, -40, 44),
        _oval(CREAM, 34, 44, 52, 22),
        _poly(SHADE, 0, 34, 30, 32, 6, 72, -8, 66),
        _oval(DARK, 66, 2, 8, 8),
    ),
}
