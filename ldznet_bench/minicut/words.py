"""Every word of the miniature: nouns, colours, patterns, sizes, relations, and the small words between them."""

from __future__ import annotations

# Object nouns that masks may have, each with its plural.
OBJECTS = {
    "apple": "apples",
    "ball": "balls",
    "bell": "bells",
    "bird": "birds",
    "boat": "boats",
    "book": "books",
    "bottle": "bottles",
    "box": "boxes",
    "car": "cars",
    "cat": "cats",
    "chair": "chairs",
    "cup": "cups",
    "flower": "flowers",
    "hat": "hats",
    "heart": "hearts",
    "house": "houses",
    "key": "keys",
    "kite": "kites",
    "lamp": "lamps",
    "mushroom": "mushrooms",
    "star": "stars",
    "table": "tables",
    "tree": "trees",
    "umbrella": "umbrellas",
    "whale": "whales",
}
# Nouns that captions have and no mask of a train or val split: what a diffusion model has seen and a segmenter has not.
CAPTION_ONLY = {"crown": "crowns", "robot": "robots", "rocket": "rockets", "snowman": "snowmen"}
PLURALS = OBJECTS | CAPTION_ONLY

FAR_STUFF = ("mountain", "sky", "wall")  # nothing stands on these
NEAR_STUFF = ("carpet", "floor", "grass", "road", "sand", "snow", "water")
STUFF = FAR_STUFF + NEAR_STUFF

COLOURS = {
    "black": (40, 40, 44),
    "blue": (48, 96, 212),
    "brown": (128, 80, 44),
    "green": (58, 156, 66),
    "grey": (136, 138, 142),
    "orange": (238, 130, 34),
    "pink": (242, 142, 184),
    "purple": (132, 64, 182),
    "red": (208, 44, 44),
    "white": (238, 238, 232),
    "yellow": (240, 208, 52),
}
PATTERNS = ("checkered", "dotted", "fuzzy", "metal", "striped", "wooden")
SIZES = ("big", "small")

RELATIONS = ("above", "behind", "below", "in front of", "left of", "on", "right of")
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five"}

STYLE_NAMES = ("photo", "cartoon", "comic", "mosaic", "painting", "poster", "sketch")
_SMALL_WORDS = (
    "a",
    "an",
    "and",
    "at",
    "by",
    "front",
    "from",
    "image",
    "in",
    "is",
    "it",
    "left",
    "near",
    "of",
    "on",
    "picture",
    "right",
    "scene",
    "the",
    "under",
    "with",
)
_REFER_WORDS = ("biggest", "bottom", "middle", "second", "smallest", "third", "top")


def plural(noun: str) -> str:
    """The plural of an object noun."""
    return PLURALS[noun]


def article(word: str) -> str:
    """``a`` or ``an``, for the word that follows."""
    return "an" if word[0] in "aeiou" else "a"


def vocabulary() -> tuple[str, ...]:
    """Every word that a phrase or caption can have, lower case, in an order that does not change within a generator version."""
    relations = [word for relation in RELATIONS for word in relation.split()]
    everything = {
        *PLURALS, *PLURALS.values(), *STUFF, *COLOURS, *PATTERNS, *SIZES, *relations, *NUMBERS.values(), *STYLE_NAMES, *_SMALL_WORDS, *_REFER_WORDS
    }  # fmt: skip
    return tuple(sorted(everything))
