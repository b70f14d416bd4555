"""Charts as SVG text, without style attributes, so that they may stand under a strict content security policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

# Okabe and Ito's colours, told apart with every common colour blindness; their yellow is darkened so that it shows on white, their black is
# grey so that it shows on black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#C9B800", "#7F7F7F")
DASHES = ("", "6 3", "2 2", "8 3 2 3")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 420, 270, 44, 36, 10, 10

Points = Sequence[tuple[float, float]]


def lines(series: Mapping[str, Points], *, x: str, y: str, title: str, names: Sequence[str] = ()) -> str:
    """Lines over the unit square; colour and dash both tell them apart.

    Args:
        series: by name.
        x: name of the axis.
        y: name of the axis.
        title: for screen readers.
        names: of all series of the page, so that each keeps its colour in charts that lack some.
    """
    places = {name: place for place, name in enumerate(names or series)}
    marks = []
    for name, points in series.items():
        path = " ".join(f"{_x(a):.1f},{_y(b):.1f}" for a, b in points)
        marks.append(f'<polyline fill="none" {_stroke(places[name])} points="{path}"><title>{escape(name)}</title></polyline>')
    return _chart("".join(marks), {name: places[name] for name in series}, x=x, y=y, title=title, line=True)


def bars(groups: Mapping[str, Sequence[float | None]], names: Sequence[str], *, x: str, y: str, title: str) -> str:
    """A group of bars per key, one bar per name; heights in [0, 1]."""
    step = (_WIDTH - _LEFT - _RIGHT) / max(1, len(groups))
    width = 0.8 * step / max(1, len(names))
    marks = []
    for place, (group, values) in enumerate(groups.items()):
        left = _LEFT + step * (place + 0.1)
        for index, value in enumerate(values):
            if value is not None:
                top = _y(value)
                label = f"{escape(names[index])}, {escape(group)}: {100 * value:.2f}"
                marks.append(
                    f'<rect x="{left + index * width:.1f}" y="{top:.1f}" width="{width:.1f}" height="{_y(0) - top:.1f}" '
                    f'fill="{COLOURS[index % len(COLOURS)]}"><title>{label}</title></rect>'
                )
        if len(groups) <= 8:
            marks.append(f'<text x="{left + 0.4 * step:.1f}" y="{_y(0) + 12:.1f}" text-anchor="middle">{escape(group)}</text>')
    return _chart("".join(marks), {name: place for place, name in enumerate(names)}, x=x, y=y, title=title)


def _chart(marks: str, names: Mapping[str, int], *, x: str, y: str, title: str, line: bool = False) -> str:
    height = _HEIGHT + 14 * -(-len(names) // 2)
    grid = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{_y(v):.1f}" y2="{_y(v):.1f}" stroke="currentColor" stroke-opacity="0.2" stroke-width="0.6"/>'
        f'<text x="{_LEFT - 4}" y="{_y(v) + 3:.1f}" text-anchor="end">{v:g}</text>'
        + (f'<text x="{_x(v):.1f}" y="{_y(0) + 12:.1f}" text-anchor="middle">{v:g}</text>' if line else "")
        for v in (0, 0.2, 0.4, 0.6, 0.8, 1)
    )
    legend = "".join(_legend(k, name, place, line) for k, (name, place) in enumerate(names.items()))
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}" font-size="10" fill="currentColor">{grid}'
        f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_y(0) + 26}" text-anchor="middle">{escape(x)}</text>'
        f'<text x="12" y="{_HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 12 {_HEIGHT / 2})">{escape(y)}</text>{marks}{legend}</svg>'
    )


def _legend(k: int, name: str, place: int, line: bool) -> str:
    left, top = _LEFT + 186 * (k % 2), _HEIGHT + 14 * (k // 2) - 3
    sign = (
        f'<line x1="{left}" x2="{left + 18}" y1="{top}" y2="{top}" {_stroke(place)}/>'
        if line
        else f'<rect x="{left + 6}" y="{top - 4}" width="12" height="8" fill="{COLOURS[place % len(COLOURS)]}"/>'
    )
    return f'{sign}<text x="{left + 23}" y="{top + 3}">{escape(_short(name))}</text>'


def _stroke(place: int) -> str:
    dash = DASHES[place // len(COLOURS) % len(DASHES)] or DASHES[place % len(DASHES)]
    return f'stroke="{COLOURS[place % len(COLOURS)]}" stroke-width="1.8"' + (f' stroke-dasharray="{dash}"' if dash else "")


def _x(value: float) -> float:
    return _LEFT + value * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float) -> float:
    return _TOP + (1 - value) * (_HEIGHT - _TOP - _BOTTOM - 14)


def _short(name: str) -> str:
    return name if len(name) <= 30 else name[:29] + "…"
