"""What a phrase means, worked out slowly from its text and the scene's description alone: nothing of the phrase grammar is imported."""

from __future__ import annotations

import numpy as np

from ldznet_bench.minicut.draw import lay_out
from ldznet_bench.minicut.scene import Scene
from ldznet_bench.minicut.words import PLURALS, RELATIONS

SINGULAR = {plural: noun for noun, plural in PLURALS.items()}


def described(scene: Scene) -> list[tuple[str, set[str]]]:
    """(noun, attribute words) of every region, then of every thing."""
    regions = [(region.noun, {region.colour, region.pattern}) for region in scene.regions]
    return regions + [(thing.noun, {thing.colour, thing.pattern, thing.size}) for thing in scene.things]


def candidates(scene: Scene, text: str) -> set[int]:
    *attributes, noun = text.split()
    noun = SINGULAR.get(noun, noun)
    return {number for number, (its_noun, its) in enumerate(described(scene)) if its_noun == noun and set(attributes) <= its}


def alone(scene: Scene, thing: int) -> np.ndarray:
    """A thing's pixels in a scene without the others."""
    first = len(scene.regions)
    return lay_out(Scene(scene.regions, (scene.things[thing],), scene.indoor)).owners == first


def stands(scene: Scene, relation: str, number: int, anchor: int) -> bool:
    first = len(scene.regions)
    a = scene.things[number - first]
    if relation == "on":
        bare = lay_out(Scene(scene.regions, (), scene.indoor)).owners
        x, y = a.x, a.y + a.radius * 9 // 10
        return int(bare[min(y, 95), x]) == anchor
    b = scene.things[anchor - first]
    if relation == "left of":
        return a.x < b.x
    if relation == "right of":
        return a.x > b.x
    if relation == "above":
        return a.y < b.y
    if relation == "below":
        return a.y > b.y
    touching = (alone(scene, number - first) & alone(scene, anchor - first)).any()
    nearer = number > anchor
    return bool(touching) and nearer == (relation == "in front of")


def meaning(scene: Scene, text: str) -> set[int]:
    """Entity numbers that a phrase of any domain means."""
    for relation in sorted(RELATIONS, key=len, reverse=True):
        if f" {relation} " in text and not text.endswith((" on the left", " on the right")):
            what, _, anchor = text.partition(f" {relation} ")
            (only,) = candidates(scene, anchor)
            return {number for number in candidates(scene, what) if stands(scene, relation, number, only)}
    place, text = _place(text)
    found = candidates(scene, text)
    return found if place is None else {_at(scene, place, found)}


def _place(text: str) -> tuple[str | None, str]:
    for ending, place in ((" on the left", "left"), (" on the right", "right")):
        if text.endswith(ending):
            return place, text.removesuffix(ending)
    text = text.removesuffix(" from the left")
    word, _, rest = text.partition(" ")
    if word in ("left", "right", "top", "bottom", "middle", "second", "third", "biggest", "smallest"):
        return word, rest
    return None, text


def _at(scene: Scene, place: str, found: set[int]) -> int:
    thing = {number: scene.things[number - len(scene.regions)] for number in found}
    across = sorted(thing, key=lambda number: thing[number].x)
    down = sorted(thing, key=lambda number: thing[number].y)
    size = sorted(thing, key=lambda number: thing[number].radius)
    chosen = {
        "left": across[0],
        "right": across[-1],
        "middle": across[len(across) // 2],
        "second": across[1],
        "third": across[-1] if len(across) < 3 else across[2],
        "top": down[0],
        "bottom": down[-1],
        "biggest": size[-1],
        "smallest": size[0],
    }
    return chosen[place]
