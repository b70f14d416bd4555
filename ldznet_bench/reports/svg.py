"""Charts as SVG text, without style attributes, so that they may stand under a strict content security policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

# Okabe and Ito's colours, told apart with every common colour blindness; black is for the truth.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
DASHES = ("", "6 3", "2 2", "8 3 2 3")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 420, 270, 44, 36, 10, 10

Points = Sequence[tuple[float, float]]


def lines(series: Mapping[str, Points], *, x: str, y: str, title: str) -> str:
    """Lines over the unit square; colour and dash both tell them apart."""
    marks = []
    for index, (name, points) in enumerate(series.items()):
        path = " ".join(f"{_x(a):.1f},{_y(b):.1f}" for a, b in points)
        dash = DASHES[index // len(COLOURS) % len(DASHES)] or DASHES[index % len(DASHES)]
        marks.append(
            f'<polyline fill="none" stroke="{COLOURS[index % len(COLOURS)]}" stroke-width="1.8"'
            + (f' stroke-dasharray="{dash}"' if dash else "")
            + f' points="{path}"><title>{escape(name)}</title></polyline>'
        )
    return _chart("".join(marks), list(series), x=x, y=y, title=title)


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
    return _chart("".join(marks), list(names), x=x, y=y, title=title, ticks=False)


def _chart(marks: str, names: Sequence[str], *, x: str, y: str, title: str, ticks: bool = True) -> str:
    rows = -(-len(names) // 2)
    height = _HEIGHT + 14 * rows
    grid = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{_y(v):.1f}" y2="{_y(v):.1f}" stroke="#bbb" stroke-width="0.5"/>'
        f'<text x="{_LEFT - 4}" y="{_y(v) + 3:.1f}" text-anchor="end">{v:g}</text>'
        + (f'<text x="{_x(v):.1f}" y="{_y(0) + 12:.1f}" text-anchor="middle">{v:g}</text>' if ticks else "")
        for v in (0, 0.2, 0.4, 0.6, 0.8, 1)
    )
    legend = "".join(
        f'<rect x="{_LEFT + 180 * (k % 2)}" y="{_HEIGHT + 14 * (k // 2) - 6}" width="10" height="6" fill="{COLOURS[k % len(COLOURS)]}"/>'
        f'<text x="{_LEFT + 180 * (k % 2) + 14}" y="{_HEIGHT + 14 * (k // 2)}">{escape(_short(name))}</text>'
        for k, name in enumerate(names)
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}" font-size="10" fill="currentColor">{grid}'
        f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_y(0) + 26}" text-anchor="middle">{escape(x)}</text>'
        f'<text x="12" y="{_HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 12 {_HEIGHT / 2})">{escape(y)}</text>{marks}{legend}</svg>'
    )


def _x(value: float) -> float:
    return _LEFT + value * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float) -> float:
    return _TOP + (1 - value) * (_HEIGHT - _TOP - _BOTTOM - 14)


def _short(name: str) -> str:
    return name if len(name) <= 30 else name[:29] + "…"
