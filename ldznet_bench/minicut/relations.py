"""Whether one thing is left of, on, behind … another: yes, no, or too close to call, so that no phrase hangs on a pixel."""

from __future__ import annotations

import numpy as np

from ldznet_bench.minicut.draw import Layout
from ldznet_bench.minicut.words import NEAR_STUFF

CLEAR = 9  # pixels between two centres from which a side is beyond doubt
_LEAST_OVERLAP = 16  # pixels from which one thing is seen to be in front of another
_FOOTING = 2  # pixels round a base that must be of one stuff


def holds(layout: Layout, relation: str, thing: int, anchor: int) -> bool | None:
    """Whether thing `thing` stands in a relation to an entity.

    Args:
        layout: who is where.
        relation: one of `words.RELATIONS`.
        thing: position among the scene's things.
        anchor: entity: r for region r, len(regions) + t for thing t.

    Returns:
        None where it cannot be told, or where the relation makes no sense for that anchor.
    """
    regions = layout.scene.regions
    if relation == "on":
        return _stands_on(layout, thing, anchor) if anchor < len(regions) and regions[anchor].noun in NEAR_STUFF else None
    if anchor < len(regions):
        return None
    other = anchor - len(regions)
    if relation in ("behind", "in front of"):
        return _before(layout, thing, other) if relation == "in front of" else _before(layout, other, thing)
    a, b = layout.scene.things[thing], layout.scene.things[other]
    gap = {"left of": b.x - a.x, "right of": a.x - b.x, "above": b.y - a.y, "below": a.y - b.y}[relation]
    return True if gap >= CLEAR else False if gap <= 0 else None


def _stands_on(layout: Layout, thing: int, region: int) -> bool | None:
    x, y = layout.scene.things[thing].base
    under = layout.stuff[max(0, y - _FOOTING) : y + _FOOTING + 1, max(0, x - _FOOTING) : x + _FOOTING + 1]
    found = under == region
    return True if found.size and found.all() else False if not found.any() else None


def _before(layout: Layout, near: int, far: int) -> bool | None:
    """Whether thing `near` covers some of thing `far`."""
    overlap = int(np.count_nonzero(layout.whole(near) & layout.whole(far)))
    if overlap == 0:
        return False
    return near > far if overlap >= _LEAST_OVERLAP else None
