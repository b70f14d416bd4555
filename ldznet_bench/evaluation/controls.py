"""Phrase controls: the same images and truths, other words. What a model loses by them is how much it listens.

A control changes what a model is told and nothing else: images, truths, draws and sample ids stay, so a controlled run is paired with the plain one
sample by sample. Its name joins the model's behind ``~`` (``clipseg/full+hf~shuffled``) and its recipe, and so its identity.

Every draw hangs on names alone (`ldznet_bench.evaluation.seeds`), never on order, batch or ``--limit``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ldznet_bench.datasets.sample import ImageGroup, Sample
from ldznet_bench.errors import DataError, unknown_name
from ldznet_bench.evaluation.seeds import seed_of

PLAIN = "none"
N_TEMPLATES = 9
TEMPLATE = "template"
CONTROLS: dict[str, str] = {
    "blank": "no words at all",
    "shuffled": "phrases permuted across images: each sample gets one from another image",
    "shuffled-within": "phrases exchanged within their image: each sample gets one of another object on it",
    "noun": "the noun alone: the source's own where it stands in the phrase, else the last word before the first preposition",
    "word-order": "the phrase's words in a drawn order",
    "upper": "in upper case",
    "misspelt": "two neighbouring inner letters of every word of three letters or more exchanged",
    **{f"{TEMPLATE}{number}": f"in the {number}. of LD-ZNet's nine templates" for number in range(1, N_TEMPLATES + 1)},
}
_GROUPS = {"all": (PLAIN, *CONTROLS), "templates": tuple(name for name in CONTROLS if name.startswith(TEMPLATE))}

Draw = Callable[..., int]
"""From names to a 64-bit number that hangs on them alone."""


@dataclass(frozen=True)
class Controlled:
    """A control worked out for a dataset.

    Attributes:
        phrases: what the model is told, by sample id.
        changed: how many samples that is other words for. Not all: a phrase of one word has one order, an image with one object has nothing to
            exchange, and two images may share a phrase.
    """

    phrases: dict[str, str]
    changed: int


def parse_controls(names: Sequence[str]) -> list[str | None]:
    """Names of controls, ``none`` for a run without one, ``all`` and ``templates`` for several; each once, in the order given.

    Raises:
        BenchError: there is no such control; the nearest is named.
    """
    found: dict[str, None] = {}
    for name in names:
        for each in _GROUPS.get(name, (name,)):
            if each != PLAIN and each not in CONTROLS:
                raise unknown_name("control", each, [PLAIN, *_GROUPS, *CONTROLS])
            found[each] = None
    return [None if name == PLAIN else name for name in found] or [None]


def control_phrases(name: str, groups: Iterable[ImageGroup], *, dataset: str, seed: int) -> Controlled:
    """What a model is told under a control.

    Args:
        name: of `CONTROLS`.
        groups: every image group of the dataset, in its order.
        dataset: expanded name, which enters every draw.
        seed: run seed.

    Raises:
        BenchError: no such control.
        DataError: ``shuffled`` where one image holds more than half of the samples, so that some would keep a phrase of their own image.
    """
    if name not in CONTROLS:
        raise unknown_name("control", name, CONTROLS)

    def draw(*names: object) -> int:
        return seed_of(seed, dataset, "\0".join(("control", name, *map(str, names))))

    images = [list(group.samples) for group in groups]
    if name == "shuffled":
        phrases = _across(images, draw)
    elif name == "shuffled-within":
        phrases = {ident: phrase for samples in images for ident, phrase in _within(samples, draw).items()}
    else:
        change = _changer(name)
        phrases = {sample.sample_id: change(sample, draw) for samples in images for sample in samples}
    return Controlled(phrases, sum(phrases[sample.sample_id] != sample.phrase for samples in images for sample in samples))


def _changer(name: str) -> Callable[[Sample, Draw], str]:
    if name.startswith(TEMPLATE):
        from ldznet_bench.models.diffusion import TEMPLATES

        template = TEMPLATES[int(name.removeprefix(TEMPLATE)) - 1]
        return lambda sample, _: template.format(sample.phrase)
    return _CHANGERS[name]


def _across(images: list[list[Sample]], draw: Draw) -> dict[str, str]:
    """Samples in a drawn order, image by image; each takes the phrase that stands as far on as the fullest image is long."""
    images = sorted(images, key=lambda samples: draw(samples[0].image_id))
    order = [sample for samples in images for sample in sorted(samples, key=lambda sample: draw(sample.sample_id))]
    step = max((len(samples) for samples in images), default=0)
    if len(order) < 2 * step:
        fullest = max(images, key=len)[0].image_id
        what = f"phrases cannot be shuffled across images: image {fullest!r} holds {step} of the {len(order)} samples, more than half."
        raise DataError(what, "Take a larger split, or the control shuffled-within.")
    return {sample.sample_id: order[(position + step) % len(order)].phrase for position, sample in enumerate(order)}


def _within(samples: list[Sample], draw: Draw) -> dict[str, str]:
    """The same step among the objects of one image; sentences of one referent are one object. Where one object has most of the phrases, some stay."""
    objects: dict[str, list[Sample]] = {}
    for sample in samples:
        objects.setdefault(sample.sample_id if sample.ref_id is None else sample.ref_id, []).append(sample)
    members = [objects[key] for key in sorted(objects, key=lambda key: draw(samples[0].image_id, key))]
    order = [sample for each in members for sample in sorted(each, key=lambda sample: draw(sample.sample_id))]
    step = max(map(len, members)) % len(order)
    return {sample.sample_id: order[(position + step) % len(order)].phrase for position, sample in enumerate(order)}


# Words that end the part of a phrase which names the thing: "the red car | on the left", "man | wearing a hat".
_words = re.compile(r"\S+").findall
_ENDS = frozenset(
    _words(
        """in on at of with without to from by for near behind beside besides between under over above below inside outside around against along
        across into onto off next closest nearest farthest furthest that which who whose where wearing holding sitting standing eating riding
        playing looking facing carrying walking touching leaning using is are has having and"""
    )
)
_NO_NOUNS = frozenset(
    _words(
        """the a an this that these those his her their its left right top bottom middle center centre front back far first second third fourth
        last only"""
    )
)


def head_noun(phrase: str) -> str:
    """The word that names the thing, as it is written: the last one before what says where it is or what it does.

    "small brown boxes on grass" gives ``boxes``. A phrase without such a word gives its last word, an empty one itself.
    """
    head: list[str] = []
    nouns: list[str] = []
    for word in (word.strip(".,;:!?\"'()#") for word in phrase.split()):
        if word.lower() in _ENDS and nouns:
            break
        if word and word.lower() not in _ENDS:
            head.append(word)
            nouns += [word] if word.lower() not in _NO_NOUNS else []
    return (nouns or head or [phrase])[-1]


def _noun(sample: Sample, draw: Draw) -> str:
    category = sample.category
    if category and re.search(rf"(?<!\w){re.escape(category)}(?!\w)", sample.phrase, re.IGNORECASE):
        return category
    return head_noun(sample.phrase)


def _word_order(sample: Sample, draw: Draw) -> str:
    words = sample.phrase.split()
    drawn = [words[index] for index in sorted(range(len(words)), key=lambda index: draw(sample.sample_id, index))]
    if drawn == words:
        drawn = words[1:] + words[:1]
    return " ".join(drawn) if drawn != words else sample.phrase


def _misspelt(sample: Sample, draw: Draw) -> str:
    def exchange(match: re.Match[str]) -> str:
        word = match[0]
        places = [index for index in range(1, len(word) - 1) if word[index] != word[index + 1]]
        if not places:
            return word
        at = places[draw(sample.sample_id, match.start()) % len(places)]
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]

    return re.sub(r"[^\W\d_]{3,}", exchange, sample.phrase)


_CHANGERS: dict[str, Callable[[Sample, Draw], str]] = {
    "blank": lambda sample, draw: "",
    "noun": _noun,
    "word-order": _word_order,
    "upper": lambda sample, draw: sample.phrase.upper(),
    "misspelt": _misspelt,
}
