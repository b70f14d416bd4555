"""Phrases of a scene, each with the entities that it means: true by construction, never by looking at pixels.

A phrase means everything that it describes: ``ball`` the only ball, ``balls`` all of them, ``red balls`` all red ones. Relations are used only
where no choice of attributes would mean the same entities, and only where each candidate clearly stands in the relation or clearly does not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ldznet_bench.minicut.draw import Layout
from ldznet_bench.minicut.draws import Draws
from ldznet_bench.minicut.relations import CLEAR, holds
from ldznet_bench.minicut.words import CAPTION_ONLY, RELATIONS, STUFF, plural

LEAST_STUFF = 150  # pixels of a region from which it gets a phrase
Truth = frozenset[int]
Attributes = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entity:
    """A region or a thing, as words see it: entity number, noun, and its attributes in the order in which they are said."""

    number: int
    noun: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase and what it means.

    Attributes:
        text: lower-case words.
        kind: ``name``, ``attribute``, ``relation`` or ``location``.
        noun: what it names.
        truth: entity numbers; see `relations.holds`.
        attributes: how many attributes it has.
        distractor: another entity of the same noun is in the picture.
    """

    text: str
    kind: str
    noun: str
    truth: Truth
    attributes: int
    distractor: bool


def entities(layout: Layout) -> list[Entity]:
    """Everything that a phrase can mean."""
    scene = layout.scene
    seen = np.bincount(layout.owners.ravel(), minlength=len(scene.regions))
    found = []
    for number, region in enumerate(scene.regions):
        if seen[number] >= LEAST_STUFF:
            found.append(Entity(number, region.noun, _said(None, region.colour, region.pattern)))
    for number, thing in enumerate(scene.things, len(scene.regions)):
        found.append(Entity(number, thing.noun, _said(thing.size, thing.colour, thing.pattern)))
    return found


def _said(*attributes: str | None) -> Attributes:
    return tuple(attribute for attribute in attributes if attribute is not None)


def _matching(same: Sequence[Entity], attributes: Attributes) -> Truth:
    return frozenset(entity.number for entity in same if set(attributes) <= set(entity.attributes))


def _named(attributes: Attributes, noun: str, count: int) -> str:
    return " ".join((*attributes, noun if count == 1 else plural(noun)))


def _by_noun(everything: Sequence[Entity]) -> dict[str, list[Entity]]:
    groups: dict[str, list[Entity]] = {}
    for entity in everything:
        groups.setdefault(entity.noun, []).append(entity)
    return groups


def _descriptions(same: Sequence[Entity]) -> dict[Attributes, Truth]:
    """Every choice of attributes that something of the noun has, with all that it describes; the empty choice describes all."""
    choices = {
        choice: None
        for entity in same
        for length in range(len(entity.attributes) + 1)
        for choice in itertools.combinations(entity.attributes, length)
    }
    return {choice: _matching(same, choice) for choice in choices}


def plain_phrases(layout: Layout) -> list[Phrase]:
    """Names, attributes with names, and names in relation to names: every phrase of the ``photo`` grammar that is true and clear."""
    groups = _by_noun(entities(layout))
    anchors = list(_anchors(groups))
    found: list[Phrase] = []
    for noun, same in groups.items():
        described = _descriptions(same)
        for attributes, truth in described.items():
            if len(attributes) <= 2:
                kind = "attribute" if attributes else "name"
                distractor = bool(attributes) and len(truth) < len(same)
                found.append(Phrase(_named(attributes, noun, len(truth)), kind, noun, truth, len(attributes), distractor))
        if noun not in STUFF and len(same) > 1:
            found += _related(layout, same, described, anchors)
    return found


def _anchors(groups: dict[str, list[Entity]]) -> Iterator[tuple[Entity, str]]:
    """What a relation can lean on: an entity that its name alone singles out, or else one attribute and its name."""
    for noun, same in groups.items():
        for entity in same:
            if len(same) == 1:
                yield entity, noun
                continue
            for attribute in entity.attributes:
                if len(_matching(same, (attribute,))) == 1:
                    yield entity, f"{attribute} {noun}"


def _related(layout: Layout, same: Sequence[Entity], described: dict[Attributes, Truth], anchors: Sequence[tuple[Entity, str]]) -> Iterator[Phrase]:
    first, noun = len(layout.scene.regions), same[0].noun
    without_relation = set(described.values())
    for (anchor, words), relation in itertools.product(anchors, RELATIONS):
        if anchor.noun == noun:
            continue
        judged = {entity.number: holds(layout, relation, entity.number - first, anchor.number) for entity in same}
        for attributes, candidates in described.items():
            verdicts = {number: judged[number] for number in candidates}
            truth = frozenset(number for number, verdict in verdicts.items() if verdict)
            if len(attributes) > 1 or None in verdicts.values() or not truth or truth == candidates or truth in without_relation:
                continue
            text = f"{_named(attributes, noun, len(truth))} {relation} {words}"
            yield Phrase(text, "relation", noun, truth, len(attributes), True)


def chosen_phrases(layout: Layout, draws: Draws) -> list[Phrase]:
    """Five or six phrases that mean different entities, kinds mixed about as in PhraseCut; fewer where the scene has no more to say."""
    pool = draws.shuffled(plain_phrases(layout))
    wanted = draws.between(5, 6)
    plan = [draws.weighted({"attribute": 54, "relation": 24, "name": 22}) for _ in range(wanted)]
    picked: list[Phrase] = []
    if any(phrase.noun in CAPTION_ONLY for phrase in pool):
        picked.append(next(phrase for phrase in pool if phrase.noun in CAPTION_ONLY))
        plan.pop()
    for kind in [*plan, *("attribute", "name", "relation") * 3]:
        if len(picked) == wanted:
            break
        best = _best(pool, kind, picked)
        if best is not None:
            picked.append(best)
    return picked


def _best(pool: Sequence[Phrase], kind: str, picked: Sequence[Phrase]) -> Phrase | None:
    """The first of a kind that means something new. One attribute in four may lack a distractor; stuff gets two phrases at most."""
    taken = {phrase.truth for phrase in picked}
    stuff = sum(phrase.noun in STUFF for phrase in picked)
    plain = [phrase for phrase in picked if phrase.kind == "attribute"]
    alone = sum(not phrase.distractor for phrase in plain)
    for phrase in pool:
        if phrase.kind != kind or phrase.truth in taken or (phrase.noun in STUFF and stuff >= 2):
            continue
        if kind == "attribute" and not phrase.distractor and 4 * alone >= len(plain) + 1 - 4 * (not plain and phrase.attributes == 1):
            continue
        return phrase
    return None


def refer_phrases(layout: Layout) -> list[Phrase]:
    """Sentences that single out one of several things of one noun, as RefCOCO's do: by looks, relation, place or rank."""
    groups = {noun: same for noun, same in _by_noun(entities(layout)).items() if noun not in STUFF and len(same) > 1}
    found = [phrase for phrase in plain_phrases(layout) if phrase.noun in groups and len(phrase.truth) == 1 and phrase.kind != "name"]
    for same in groups.values():
        described = _descriptions(same)
        alike = {truth: attributes for attributes, truth in described.items() if len(attributes) <= 1 and len(truth) > 1}
        for truth, attributes in alike.items():
            found += _located(layout, [entity for entity in same if entity.number in truth], attributes)
    return found


def _located(layout: Layout, alike: Sequence[Entity], attributes: Attributes) -> Iterator[Phrase]:
    first, name = len(layout.scene.regions), " ".join((*attributes, alike[0].noun))
    thing = {entity.number: layout.scene.things[entity.number - first] for entity in alike}

    def phrase(text: str, number: int) -> Phrase:
        return Phrase(text, "location", alike[0].noun, frozenset({number}), len(attributes), True)

    across = _ranked({number: each.x for number, each in thing.items()})
    if across:
        yield phrase(f"left {name}", across[0])
        yield phrase(f"{name} on the left", across[0])
        yield phrase(f"right {name}", across[-1])
        yield phrase(f"{name} on the right", across[-1])
        if len(across) == 3:
            yield phrase(f"middle {name}", across[1])
        for place, word in enumerate(("second", "third")[: max(0, len(across) - 2)], 1):
            yield phrase(f"{word} {name} from the left", across[place])
    down = _ranked({number: each.y for number, each in thing.items()})
    if down:
        yield phrase(f"top {name}", down[0])
        yield phrase(f"bottom {name}", down[-1])
    by_size = sorted(thing, key=lambda number: thing[number].radius)
    if thing[by_size[-1]].radius * 10 >= thing[by_size[-2]].radius * 13:
        yield phrase(f"biggest {name}", by_size[-1])
    if thing[by_size[0]].radius * 13 <= thing[by_size[1]].radius * 10:
        yield phrase(f"smallest {name}", by_size[0])


def _ranked(places: dict[int, int]) -> list[int]:
    """Numbers in order of place; empty where two are too close to tell."""
    order = sorted(places, key=lambda number: places[number])
    clear = all(places[b] - places[a] >= CLEAR for a, b in itertools.pairwise(order))
    return order if clear else []


def chosen_sentences(layout: Layout, draws: Draws) -> list[Phrase]:
    """Three or four sentences about different things; kinds in turn, as far as the scene allows."""
    pool = draws.shuffled(refer_phrases(layout))
    wanted = draws.between(3, 4)
    picked: list[Phrase] = []
    for kind in (*draws.shuffled(("attribute", "location", "location", "relation")), *("location", "attribute", "relation") * 2):
        taken = {phrase.truth for phrase in picked}
        match = next((phrase for phrase in pool if phrase.kind == kind and phrase.truth not in taken), None)
        if match is not None and len(picked) < wanted:
            picked.append(match)
    return picked
