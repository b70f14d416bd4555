"""What a packed split is like, in figures for the card: ``python -m ldznet_bench.minicut.figures FILE…`` prints them as YAML."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from ldznet_bench.masks import rle
from ldznet_bench.masks.geometry import Rle
from ldznet_bench.minicut.draw import Mask
from ldznet_bench.minicut.scene import SIDE

LATENT = 24  # cells along a side of the miniature's latent grid
_CELL = SIDE // LATENT


def figures_of(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Figures of a split; shares and scores in percent, one decimal.

    Args:
        rows: of `pack.SCHEMA`.

    Returns:
        phrases_per_image, words_per_phrase; shares of phrases: multi_instance, stuff, caption_only, names, attributes, relations, locations;
        attributes_with_distractor, of those; small, mid and large as PhraseCut parts them (2 and 20 % of the picture), mean_area;
        ceiling_smooth and ceiling_cells, the mIoU that a perfect latent grid allows: see `through_latents`.
    """
    phrases = [phrase for row in rows for phrase in row["phrases"]]
    tags = [set(phrase["tags"]) for phrase in phrases]
    masks = [mask for row in rows for mask in _masks(row)]
    plain = [each for each in tags if "p_att+" in each]

    def share(tag: str) -> float:
        return _percent(sum(tag in each for each in tags), len(tags))

    return {
        "phrases_per_image": round(len(phrases) / len(rows), 2),
        "words_per_phrase": round(sum(len(phrase["phrase"].split()) for phrase in phrases) / len(phrases), 2),
        "multi_instance": _percent(sum(len(phrase["instances"]) > 1 for phrase in phrases), len(phrases)),
        "stuff": share("t_stuff"),
        "caption_only": share("caption-only"),
        "names": share("p_name"),
        "attributes": share("p_att+"),
        "relations": share("p_rel+"),
        "locations": share("p_loc"),
        "attributes_with_distractor": _percent(sum("distractor" in each for each in plain), len(plain)),
        "small": share("s_small"),
        "mid": share("s_mid"),
        "large": share("s_large"),
        "mean_area": _percent(sum(int(mask.sum()) for mask in masks), SIDE * SIDE * len(masks)),
        "ceiling_smooth": _ceiling(masks, smooth=True),
        "ceiling_cells": _ceiling(masks, smooth=False),
    }


def through_latents(mask: Mask, smooth: bool) -> Mask:
    """A mask after a stay on the 24x24 latent grid.

    Args:
        mask: bool (96, 96).
        smooth: shares of cells enlarged bilinearly and cut at a half, as a decoder could; otherwise whole cells, at least half full.
    """
    cells = mask.reshape(LATENT, _CELL, LATENT, _CELL).mean(axis=(1, 3))
    if not smooth:
        return np.repeat(np.repeat(cells >= 0.5, _CELL, axis=0), _CELL, axis=1)
    weights = _bilinear()
    return np.asarray(weights @ cells @ weights.T >= 0.5)


def _bilinear() -> npt.NDArray[np.float64]:
    """(96, 24): how each pixel's centre lies between two cells' centres, borders repeated. All weights are eighths, so sums are exact."""
    weights = np.zeros((SIDE, LATENT))
    for pixel in range(SIDE):
        place = (pixel + 0.5) / _CELL - 0.5
        low = int(np.floor(place))
        for cell, weight in ((low, 1 - (place - low)), (low + 1, place - low)):
            weights[pixel, min(max(cell, 0), LATENT - 1)] += weight
    return weights


def _masks(row: dict[str, Any]) -> list[Mask]:
    instances = [rle.decode(Rle(row["height"], row["width"], counts)) for counts in row["masks"]]
    return [np.any([instances[place] for place in phrase["instances"]], axis=0) for phrase in row["phrases"]]


def _ceiling(masks: Sequence[Mask], smooth: bool) -> float:
    scores = []
    for mask in masks:
        made = through_latents(mask, smooth)
        scores.append(int((mask & made).sum()) / max(1, int((mask | made).sum())))
    return round(100 * sum(scores) / len(scores), 1)


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1) if whole else 0.0


def main(files: Sequence[str]) -> int:
    """Print the figures of packed files."""
    for file in files:
        sys.stdout.write(f"{Path(file).stem.replace('-', ':')}:\n")
        for name, value in figures_of(pq.read_table(file).to_pylist()).items():
            sys.stdout.write(f"  {name}: {value}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
