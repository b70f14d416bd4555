"""The labelled splits: which there are, and picture, phrases and masks of each of their images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ldznet_bench.minicut.captions import caption_of
from ldznet_bench.minicut.draw import Layout, Mask, lay_out
from ldznet_bench.minicut.draws import Draws
from ldznet_bench.minicut.phrases import Phrase, chosen_phrases, chosen_sentences
from ldznet_bench.minicut.scene import SIDE, draw_scene
from ldznet_bench.minicut.styles import ART, Picture, render
from ldznet_bench.minicut.words import CAPTION_ONLY, STUFF

DOMAINS = ("photo", "art", "refer", "gen")
SIZES = {"train": 1500, "val": 250, "test": 300}  # images; only photo has a train split
RARE = 30  # percent of a test split's images that have a caption-only noun
_SMALL, _LARGE = 2, 20  # PhraseCut's bounds, percent of the picture
_KINDS = {"name": "p_name", "attribute": "p_att+", "relation": "p_rel+", "location": "p_loc"}


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """One image of a labelled split.

    Attributes:
        image_id: ``photo-test-0007``.
        layout: who is where; `Layout.visible` makes the masks.
        style: of the picture.
        picture: uint8 (96, 96, 3).
        caption: as the caption stream would have it.
        phrases: five or six, three or four in the refer domain; no two mean the same entities.
        attempt: how many scenes before this one had too little to say.
    """

    image_id: str
    layout: Layout
    style: str
    picture: Picture
    caption: str
    phrases: tuple[Phrase, ...]
    attempt: int


def split_names() -> list[tuple[str, str]]:
    """(domain, split) of every labelled split: ``("photo", "train")`` first."""
    return [(domain, split) for domain in DOMAINS for split in SIZES if split != "train" or domain == "photo"]


def labelled(domain: str, split: str, index: int) -> Labelled:
    """Image `index` of a split; it depends on these three alone. A scene that has too little to say gives way to the next attempt.

    Pictures of ``gen`` are what goes into the diffusion model; see `redrawn`.
    """
    herd, least = domain == "refer", 3 if domain == "refer" else 5
    style = ART[index % len(ART)] if domain == "art" else "photo"
    for attempt in range(1000):
        draws = Draws("split", domain, split, index, attempt)
        layout = lay_out(draw_scene(draws, RARE if split == "test" else 0, herd))
        phrases = chosen_sentences(layout, draws) if herd else chosen_phrases(layout, draws)
        if len(phrases) >= least:
            picture, caption = render(layout, style, draws), caption_of(layout, style, draws)
            return Labelled(f"{domain}-{split}-{index:04}", layout, style, picture, caption, tuple(phrases), attempt)
    raise AssertionError(f"no scene in a thousand had {least} phrases")


def tags_of(phrase: Phrase, layout: Layout, style: str) -> tuple[str, ...]:
    """The slices that a phrase belongs to; names and bounds are PhraseCut's where it has such a slice."""
    count, share = len(phrase.truth), 100 * int(np.count_nonzero(mask_of(phrase, layout)))
    tags = [_KINDS[phrase.kind]]
    tags += ["p_att"] * (phrase.attributes >= 1) + ["p_attm"] * (phrase.attributes >= 2) + ["p_rel"] * (phrase.kind == "relation")
    tags += ["p_att_rel"] * (phrase.kind == "relation" and phrase.attributes >= 1)
    tags.append("i_single" if count == 1 else "i_multi" if count <= 4 else "i_many")
    tags.append("s_small" if share < _SMALL * SIDE * SIDE else "s_large" if share > _LARGE * SIDE * SIDE else "s_mid")
    tags.append("t_stuff" if phrase.noun in STUFF else "t_obj")
    tags += ["distractor"] * phrase.distractor + ["caption-only"] * (phrase.noun in CAPTION_ONLY)
    return (*tags, f"style-{style}", "indoor" if layout.scene.indoor else "outdoor")


def mask_of(phrase: Phrase, layout: Layout) -> Mask:
    """The visible pixels of everything that the phrase means, bool (96, 96)."""
    return np.isin(layout.owners, sorted(phrase.truth))
