"""One caption per picture, from the grammar of the phrases: what a web page might say under it."""

from __future__ import annotations

from ldznet_bench.minicut.draw import Layout
from ldznet_bench.minicut.draws import Draws
from ldznet_bench.minicut.relations import CLEAR, holds
from ldznet_bench.minicut.scene import SIDE, Thing
from ldznet_bench.minicut.words import NEAR_STUFF, NUMBERS, RELATIONS, article, plural

Group = tuple[str, list[int]]  # the words, and the things that they count


def caption_of(layout: Layout, style: str, draws: Draws) -> str:
    """A caption: a few of the things, counted, some in relation, some of the ground, and at times the style.

    Only what is so is said; not all that is so.
    """
    groups = _groups(layout, draws)
    mentioned = groups[: draws.weighted({1: 25, 2: 45, 3: 30})]
    parts = [words for words, _ in mentioned]
    if len(mentioned) >= 2 and draws.chance(55):
        relation = _relation(layout, mentioned[0], mentioned[1], draws)
        if relation is not None:
            parts = [f"{parts[0]} {relation} {parts[1]}", *parts[2:]]
    if mentioned and len(parts) == len(mentioned) and draws.chance(30):
        parts[0] += _side(layout, mentioned[0])
    text = _joined(parts) + (_ground(layout, mentioned, draws) if draws.chance(65) else "")
    if not mentioned:
        text = _joined([_stuff(layout, number) for number in range(len(layout.scene.regions))][:2])
    return _opened(text, style, draws)


def _opened(text: str, style: str, draws: Draws) -> str:
    if draws.chance(50):
        return f"{article(style)} {style} of {text}"
    return text if draws.chance(70) else f"{draws.choice(('a picture', 'an image', 'a scene'))} of {text}"


def _groups(layout: Layout, draws: Draws) -> list[Group]:
    """Things that look alike in all that is said of them, in an order by lot."""
    things = layout.scene.things
    bare, full = draws.chance(18), draws.chance(50)
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, thing in enumerate(things):
        groups.setdefault(_said(thing, bare, full), []).append(place)
    return [(_counted(words, len(members)), members) for words, members in draws.shuffled(sorted(groups.items()))]


def _said(thing: Thing, bare: bool, full: bool) -> tuple[str, ...]:
    """What a caption says of a thing: its noun, mostly its colour and pattern, at times its size."""
    if bare:
        return (thing.noun,)
    size = (thing.size,) if full and thing.size else ()
    return (*size, thing.colour, *((thing.pattern,) if thing.pattern else ()), thing.noun)


def _counted(words: tuple[str, ...], count: int) -> str:
    if count == 1:
        return f"{article(words[0])} {' '.join(words)}"
    return " ".join((NUMBERS[count], *words[:-1], plural(words[-1])))


def _relation(layout: Layout, group: Group, other: Group, draws: Draws) -> str | None:
    """A relation that all of a group clearly have to the one thing of another."""
    if len(other[1]) != 1:
        return None
    anchor = len(layout.scene.regions) + other[1][0]
    true = [relation for relation in RELATIONS if all(holds(layout, relation, place, anchor) for place in group[1])]
    return draws.choice(true) if true else None


def _side(layout: Layout, group: Group) -> str:
    things = [layout.scene.things[place] for place in group[1]]
    if all(3 * thing.x < SIDE for thing in things):
        return " on the left"
    if all(3 * thing.x > 2 * SIDE for thing in things):
        return " on the right"
    others = [thing.y for place, thing in enumerate(layout.scene.things) if place not in group[1]]
    if others and all(thing.y + CLEAR <= min(others) for thing in things):
        return " at the top"
    if others and all(thing.y - CLEAR >= max(others) for thing in things):
        return " at the bottom"
    return ""


def _stuff(layout: Layout, number: int) -> str:
    region = layout.scene.regions[number]
    words = [word for word in (region.colour, region.pattern, region.noun) if word]
    return f"{article(words[0])} {' '.join(words)}" if region.noun in ("wall", "floor", "carpet", "mountain", "road") else " ".join(words)


def _ground(layout: Layout, mentioned: list[Group], draws: Draws) -> str:
    """What the last of the mentioned stand on, or what is behind it all."""
    first = layout.scene.regions
    places = mentioned[-1][1] if mentioned else []
    under = [
        number for number, region in enumerate(first) if region.noun in NEAR_STUFF and places and all(holds(layout, "on", p, number) for p in places)
    ]
    text = f" on {_stuff(layout, under[-1])}" if under else ""
    if draws.chance(35) and first[0].noun == "sky":
        return f"{text} under {_stuff(layout, 0)}"
    if draws.chance(35) and first[0].noun == "wall":
        return f"{text} near {_stuff(layout, 0)}"
    return text


def _joined(parts: list[str]) -> str:
    if len(parts) <= 1:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}".replace(", ", " , ").replace(" , ", ", ")
