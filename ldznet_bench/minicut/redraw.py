"""The ``gen`` domain: scenes that a diffusion model has painted over, with an audit of what it moved.

The masks are those of the scene, so a picture counts only as far as its edges still lie where the scene's are and its things still have their
colours. Pictures and phrases that fail are left out and counted; the next scene takes their place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ldznet_bench.errors import BenchError
from ldznet_bench.minicut.draw import Layout, Mask
from ldznet_bench.minicut.pack import packed, row_of
from ldznet_bench.minicut.phrases import Phrase
from ldznet_bench.minicut.scene import SIDE
from ldznet_bench.minicut.splits import SIZES, Labelled, labelled
from ldznet_bench.minicut.styles import Picture

Redraw = Callable[[npt.NDArray[np.uint8], Sequence[str]], npt.NDArray[np.uint8]]
"""From pictures uint8 (B, 96, 96, 3) and their captions to others of the same shape and geometry."""

LEAST_EDGES = 0.6  # a redrawn picture keeps this much of the original's correlation of edges with borders
MOST_SHIFT = 45.0  # of a thing's mean colour, root mean square over channels, 0 to 255
LEAST_PHRASES = 3  # of an image that stays
_BATCH = 50
_MOST_TRIES = 6  # scenes tried for one that stays


@dataclass(frozen=True, slots=True)
class Drift:
    """What became of a split on its way through the model.

    Attributes:
        tried_images: scenes that were redrawn.
        kept_images: those that stayed.
        tried_phrases: phrases of the tried scenes.
        kept_phrases: those that stayed.
        edges_before: mean correlation of edges with borders, of the kept scenes' own pictures.
        edges_after: the same of the redrawn ones.
        colour_shift: mean shift of the mean colour of what the kept phrases mean.
    """

    tried_images: int
    kept_images: int
    tried_phrases: int
    kept_phrases: int
    edges_before: float
    edges_after: float
    colour_shift: float


def redrawn_split(split: str, redraw: Redraw) -> tuple[bytes, Drift]:
    """A split of ``gen`` as its file's bytes, and its audit.

    Args:
        split: ``val`` or ``test``.
        redraw: the model. Called with scenes in order, always 50 of them.

    Raises:
        BenchError: the model returns another shape, or so few scenes stay that the split cannot be filled.
    """
    rows: list[dict[str, Any]] = []
    tried = tried_phrases = kept_phrases = 0
    edges: list[tuple[float, float]] = []
    shifts: list[float] = []
    for item, picture in _redrawn(split, redraw):
        if len(rows) == SIZES[split]:
            break
        tried, tried_phrases = tried + 1, tried_phrases + len(item.phrases)
        before, after = edge_agreement(item.picture, item.layout), edge_agreement(picture, item.layout)
        kept = [(phrase, shift) for phrase in item.phrases if (shift := colour_shift(phrase, item, picture)) <= MOST_SHIFT]
        if after < LEAST_EDGES * before or len(kept) < LEAST_PHRASES:
            continue
        rows.append(row_of(replace(item, phrases=tuple(phrase for phrase, _ in kept)), picture))
        kept_phrases += len(kept)
        edges.append((before, after))
        shifts += [shift for _, shift in kept]
    if len(rows) < SIZES[split]:
        raise BenchError(
            f"gen:{split} needs {SIZES[split]} images, and of {tried} redrawn scenes only {len(rows)} kept their geometry and colours.",
            "Let the model change less: fewer steps or less noise.",
        )
    before_after = np.asarray(edges).mean(axis=0)
    drift = Drift(tried, len(rows), tried_phrases, kept_phrases, *(round(float(x), 4) for x in (*before_after, np.mean(shifts))))
    return packed(rows), drift


def _redrawn(split: str, redraw: Redraw) -> Iterator[tuple[Labelled, Picture]]:
    for start in range(0, _MOST_TRIES * SIZES[split], _BATCH):
        items = [labelled("gen", split, index) for index in range(start, start + _BATCH)]
        originals = np.stack([item.picture for item in items])
        pictures = redraw(originals, [item.caption for item in items])
        if pictures.shape != originals.shape or pictures.dtype != np.uint8:
            raise BenchError(
                f"the model made {pictures.dtype} {pictures.shape} of uint8 {originals.shape}.",
                "It must return a picture for each, of the same size.",
            )
        yield from zip(items, pictures, strict=True)


def edge_agreement(picture: Picture, layout: Layout) -> float:
    """How well a picture's edges lie on the scene's borders: the correlation, over pixels, of colour steps with being within a pixel of a border."""
    steps = np.zeros((SIDE, SIDE))
    colours = picture.astype(np.float64)
    steps[:, 1:] += np.abs(np.diff(colours, axis=1)).sum(axis=2)
    steps[1:] += np.abs(np.diff(colours, axis=0)).sum(axis=2)
    border = _borders(layout)
    if steps.std() == 0 or border.all() or not border.any():
        return 0.0
    return float(np.corrcoef(steps.ravel(), border.ravel())[0, 1])


def _borders(layout: Layout) -> Mask:
    owners, near = np.pad(layout.owners, 1, mode="edge"), np.zeros((SIDE, SIDE), dtype=np.bool_)
    for down in range(3):
        for across in range(3):
            near |= owners[down : down + SIDE, across : across + SIDE] != layout.owners
    return near


def colour_shift(phrase: Phrase, item: Labelled, picture: Picture) -> float:
    """How far the mean colour of what a phrase means has moved, at worst over its instances: root mean square over channels."""
    worst = 0.0
    for number in phrase.truth:
        mask = item.layout.visible(number)
        moved = picture[mask].mean(axis=0) - item.picture[mask].mean(axis=0)
        worst = max(worst, float(np.sqrt((moved**2).mean())))
    return worst
