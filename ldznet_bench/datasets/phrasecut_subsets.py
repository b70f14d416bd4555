"""PhraseCut's 43 subsets as tags. Rules: PhraseCut utils/subset.py get_subset (ChenyunWu/PhraseCutDataset 276470b), quirks included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ldznet_bench.datasets.phrasecut_words import ATTRIBUTE_TYPES, WordLists

_CATEGORY = ("c20", "c100", "c500", "c21-100", "c101-500", "c500+")
_ATTRIBUTE = ("a20", "a100", "a200", "a21-100", "a101-200", "a200+")
_TYPES = {"name": "p_name", "attribute": "p_att+", "relation": "p_rel+", "verbose": "p_verbose"}

# The order in which the official evaluator lists them; a sample's tags keep it.
SUBSETS = (
    *("all", "c_coco", *_CATEGORY, "i_single", "i_multi", "i_many"),
    *("p_name", "p_att", "p_att+", "p_rel", "p_rel+", "p_verbose", "p_attm", "p_relm"),
    *("t_stuff", "t_obj", "s_small", "s_mid", "s_large", *_ATTRIBUTE),
    *(f"a_{kind}" for kind in ATTRIBUTE_TYPES),
    *("p_att_rel", "d_cocotv", "d_notcocotv"),
)
WORD_SUBSETS = ("c_coco", "t_stuff", "t_obj", *(f"a_{kind}" for kind in ATTRIBUTE_TYPES))
RANK_SUBSETS = (*_CATEGORY, *_ATTRIBUTE)

SMALL, LARGE = 0.02, 0.2  # shares of the image
_ORDER = {name: position for position, name in enumerate(SUBSETS)}
_NO_CATEGORY, _NO_ATTRIBUTE = 501, 201  # ranks of what the frequency list does not hold


@dataclass(frozen=True, slots=True)
class Phrase:
    """What the subsets look at.

    Attributes:
        name: ``phrase_structure.name``.
        attributes: ``phrase_structure.attributes``.
        relations: how many relation descriptions.
        kind: ``phrase_structure.type``.
        boxes: how many instance boxes.
        relative_size: true pixels (PIL rasteriser, annotation size) over the image's pixels.
        in_coco: the image has a COCO id.
    """

    name: str
    attributes: Sequence[str]
    relations: int
    kind: str
    boxes: int
    relative_size: float
    in_coco: bool


@dataclass(frozen=True, slots=True)
class Ranks:
    """Frequency ranks from ``name_att_rel_count.json``, 0 for the most frequent.

    Attributes:
        categories: of ``cat``.
        attributes: of ``att``.
    """

    categories: Mapping[str, int]
    attributes: Mapping[str, int]


def subsets_of(phrase: Phrase, ranks: Ranks | None, words: WordLists | None) -> tuple[str, ...]:
    """The subsets that a phrase belongs to, in the official order.

    Without `ranks` those of `RANK_SUBSETS`, without `words` those of `WORD_SUBSETS` are unknown and left out for every phrase.
    """
    found = {"all", "d_cocotv" if phrase.in_coco else "d_notcocotv"}
    found |= _structure(phrase) | _instances(phrase.boxes) | {_size(phrase.relative_size)}
    if ranks is not None:
        found |= _category(ranks.categories.get(phrase.name, _NO_CATEGORY))
        # A phrase without attributes counts as one with only rare ones: a200+ (as the official code has it).
        found |= _attribute(min((ranks.attributes.get(attribute, _NO_ATTRIBUTE) for attribute in phrase.attributes), default=_NO_ATTRIBUTE))
    if words is not None:
        found |= _words(phrase, words)
    return tuple(sorted(found, key=_ORDER.__getitem__))


def _structure(phrase: Phrase) -> set[str]:
    attributes, relations = len(phrase.attributes), phrase.relations
    found = {_TYPES[phrase.kind]} if phrase.kind in _TYPES else set()
    rules = (
        ("p_att", attributes > 0),
        ("p_attm", attributes > 1),
        ("p_rel", relations > 0),
        ("p_relm", relations > 1),
        ("p_att_rel", attributes > 0 and relations > 0),
    )
    return found | {name for name, holds in rules if holds}


def _instances(boxes: int) -> set[str]:
    if boxes == 0:
        return set()
    # The official docstring says that more than one is "multi"; its code stops at four.
    return {"i_single" if boxes == 1 else "i_multi" if boxes < 5 else "i_many"}


def _size(share: float) -> str:
    return "s_small" if share < SMALL else "s_large" if share > LARGE else "s_mid"


def _category(rank: int) -> set[str]:
    band = "c20" if rank < 20 else "c21-100" if rank < 100 else "c101-500" if rank < 500 else "c500+"
    return {band} | ({"c100"} if rank < 100 else set()) | ({"c500"} if rank < 500 else set())


def _attribute(rank: int) -> set[str]:
    band = "a20" if rank < 20 else "a21-100" if rank < 100 else "a101-200" if rank < 200 else "a200+"
    return {band} | ({"a100"} if rank < 100 else set()) | ({"a200"} if rank < 200 else set())


def _words(phrase: Phrase, words: WordLists) -> set[str]:
    # A stuff word counts anywhere in the name: "tomato" is stuff by "mat" (as the official code has it).
    found = {"t_stuff" if any(word in phrase.name for word in words.stuff) else "t_obj"}
    if phrase.name in words.coco:
        found.add("c_coco")
    for kind, known in words.attributes.items():
        if not known.isdisjoint(phrase.attributes):
            found.add(f"a_{kind}")
    return found
