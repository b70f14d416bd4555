"""A segmenter that reads the phrase and no pixel: where things of that noun lie in the train split, on average.

It shows how much of a score is worth nothing: whatever a network has beyond it, it has from looking. It is made as strong as such a rule can be.
Of a mean mask hardly anything passes p > 0.5, so each noun has a cut, the one with the best mean IoU on its train samples, and a pixel's score is
``(p + [p > cut]) / 2``: p > 0.5 is that cut, and pixels on the same side of it keep the order of their probabilities, whatever their nouns, which is
the best that AP over all samples can be then. (On minicut-photo:val the mean masks themselves have mIoU 7.9 and AP 49.5.)
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ldznet_bench.atomic import replacing
from ldznet_bench.datasets.card import DatasetCard
from ldznet_bench.errors import BenchError, DataError
from ldznet_bench.evaluation.controls import head_noun
from ldznet_bench.evaluation.targets import make_target, mask_versions
from ldznet_bench.metrics.resize import resize
from ldznet_bench.models.segmenter import ImageInput, Pair, Segmenter
from ldznet_bench.protocols import get_protocol

if TYPE_CHECKING:
    from ldznet_bench.datasets.sample import Sample
    from ldznet_bench.datasets.store import PreparedDataset
    from ldznet_bench.models.load import LoadRequest

Map = npt.NDArray[np.float32]

GRID = 48  # cells on a side: two pixels of minicut each; a mean mask has nothing finer
FEWEST = 5  # samples of a noun below which its mean says more about those images than about the noun
MOST = 30_000  # samples that are read, at even steps: 276 MB of them; minicut-photo:train has 8,238
_KEPT = 100  # maps of scores: 123 MB at 640x480
_RULE = 1  # grows when what is below changes a score


@dataclass(frozen=True)
class Prior:
    """What was learned from a train split.

    Attributes:
        nouns: lower case, sorted; each has at least `FEWEST` samples.
        means: float32 (len(nouns) + 1, GRID, GRID) in [0, 1], in the order of `nouns`; the last one is of all samples.
        cuts: float32 (len(nouns) + 1,), of each of them.
        samples: how many were read.
    """

    nouns: tuple[str, ...]
    means: Map
    cuts: Map
    samples: int

    def row_of(self, phrase: str) -> int:
        """Where a phrase's noun is, or the last row where it was not seen often enough."""
        noun = noun_of(phrase)
        place = bisect.bisect_left(self.nouns, noun)
        return place if self.nouns[place : place + 1] == (noun,) else len(self.nouns)

    def score(self, row: int, height: int, width: int) -> Map:
        """The scores of a row on a canvas, float32 (height, width) in [0, 1]."""
        chance = resize(self.means[row], (height, width), "bilinear")
        scores: Map = (chance + (chance > self.cuts[row])) / np.float32(2)
        return scores


class NounPrior(Segmenter):
    """`Prior` as a segmenter. It belongs to a dataset: evaluation has it fitted to the family's train split before a run.

    Args:
        prior: None before it is fitted.
        fitted_on: full name of the train split and its fingerprint; part of a run's identity.
    """

    name = "noun-prior"

    def __init__(self, prior: Prior | None = None, fitted_on: tuple[str, str] | None = None) -> None:
        self._prior = prior
        self._drawn: dict[tuple[int, int, int], Map] = {}
        self.recipe: dict[str, Any] = {"rule": _RULE, "grid": GRID}
        if prior is not None and fitted_on is not None:
            self.recipe |= {"fitted_on": fitted_on[0], "fingerprint": fitted_on[1], "samples": prior.samples}

    def fitted_for(self, dataset: PreparedDataset, *, home: Path, data_root: Path | None = None) -> NounPrior:
        """The same, fitted to the train split that goes with a dataset.

        Raises:
            DataError: the family has no train split, or its release is not at hand.
        """
        if self._prior is not None:
            return self
        train = _train_split(dataset, home, data_root)
        return NounPrior(kept_prior(train, home), (train.name, train.fingerprint))

    def encode_image(self, images: Sequence[ImageInput]) -> list[None]:
        """Nothing: no image file is opened."""
        return [None] * len(images)

    def encode_text(self, prompts: Sequence[str]) -> list[None]:
        """Nothing; the phrase is read by `decode`."""
        return [None] * len(prompts)

    def decode(self, pairs: Sequence[Pair]) -> list[Map]:
        """One float32 (height, width) map per pair, in [0, 1], on the annotation canvas.

        Raises:
            BenchError: it was not fitted.
        """
        if self._prior is None:
            raise BenchError("noun-prior knows a dataset's nouns, not a picture's.", "Use it in `run`, on a dataset with a train split.")
        return [self._score(self._prior, (self._prior.row_of(pair.phrase), pair.height, pair.width)) for pair in pairs]

    def _score(self, prior: Prior, key: tuple[int, int, int]) -> Map:
        """Kept for a while: the same few nouns and sizes come again and again."""
        if key not in self._drawn:
            if len(self._drawn) >= _KEPT:
                self._drawn.clear()
            self._drawn[key] = prior.score(*key)
        return self._drawn[key]


def load(_request: LoadRequest) -> NounPrior:
    """The factory of the card; it is fitted when its dataset is known."""
    return NounPrior()


def noun_of(phrase: str) -> str:
    """The key of a phrase: its head noun in lower case. Plurals stay apart, since several things lie elsewhere than one."""
    return head_noun(phrase).lower()


def kept_prior(train: PreparedDataset, home: Path) -> Prior:
    """`fit`, from ``HOME/noun-prior`` where it was done before."""
    key = [_RULE, GRID, FEWEST, MOST, train.fingerprint, mask_versions(), np.__version__]
    path = home / "noun-prior" / f"{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]}.npz"
    try:
        with np.load(path, allow_pickle=False) as kept:
            return Prior(tuple(kept["nouns"].tolist()), kept["means"], kept["cuts"], int(kept["samples"]))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged: {error}.", "Delete it; it will be made again.") from error
    prior = fit(train)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, nouns=np.array(prior.nouns, dtype=str), means=prior.means, cuts=prior.cuts, samples=prior.samples)
    return prior


def fit(train: PreparedDataset) -> Prior:
    """Mean masks of a train split by noun, each with the cut that has the best mean IoU on its samples.

    Raises:
        DataError: no sample has a mask.
    """
    phrases, masks = _read(train)
    if not phrases:
        raise DataError(f"{train.name} has no sample with a mask, so noun-prior has nothing to learn from.", "Give a labelled train split.")
    members: dict[str, list[int]] = {}
    for row, phrase in enumerate(phrases):
        members.setdefault(noun_of(phrase), []).append(row)
    nouns = sorted(noun for noun, rows in members.items() if len(rows) >= FEWEST)
    each = [masks[members[noun]] for noun in nouns] + [masks]
    means = [rows.mean(0, dtype=np.float64) for rows in each]
    cuts = [best_cut(mean, rows) for mean, rows in zip(means, each, strict=True)]
    return Prior(tuple(nouns), np.array(means, dtype=np.float32).reshape(-1, GRID, GRID), np.array(cuts, dtype=np.float32), len(phrases))


def _read(train: PreparedDataset) -> tuple[list[str], Map]:
    """Phrases, and masks (n, GRID * GRID) as shares of each cell."""
    step = -(-train.n_samples // MOST)
    phrases, masks = [], []
    for sample in _with_target(train, step):
        phrases.append(sample.phrase)
        masks.append(shares(make_target(sample.geometry, _RULES).mask))
    return phrases, np.array(masks, dtype=np.float32).reshape(len(masks), GRID * GRID)


_RULES = get_protocol("native@1")


def _with_target(train: PreparedDataset, step: int) -> Iterator[Sample]:
    return (sample for position in range(0, train.n_samples, step) if not (sample := train.sample(position)).no_target)


def shares(mask: npt.NDArray[np.bool_]) -> Map:
    """How much of each cell of the grid a mask covers, float32 (GRID, GRID) in [0, 1]."""
    height, width = mask.shape
    return (_overlaps(height) @ mask.astype(np.float32) @ _overlaps(width).T).clip(0, 1)


@functools.lru_cache(maxsize=64)
def _overlaps(size: int) -> Map:
    """Share of each cell's length that each of `size` pixels takes, float32 (GRID, size)."""
    edges, pixels = np.arange(GRID + 1)[:, None] * size / GRID, np.arange(size)
    covered = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    return (covered.clip(0) * GRID / size).astype(np.float32)


def best_cut(mean: npt.NDArray[np.float64], masks: Map) -> float:
    """The value for which ``mean > value`` has the highest mean IoU with the masks; halfway between the values that it parts.

    All cuts at once: with the cells in falling order, the best k cells meet each mask in a running sum.

    Args:
        mean: (cells,) in [0, 1].
        masks: (n, cells), shares of each cell.
    """
    order = np.argsort(-mean, kind="stable")
    values = np.append(mean[order], 0)
    counts = np.arange(1, len(order) + 1)
    total = np.zeros(len(order))
    for mask in masks:
        inside = np.cumsum(mask[order], dtype=np.float64)
        total += inside / (counts + inside[-1] - inside)
    total[values[:-1] <= values[1:]] = -1  # equal cells cannot be parted
    best = int(np.argmax(total))
    return float((values[best] + values[best + 1]) / 2)


def _train_split(dataset: PreparedDataset, home: Path, data_root: Path | None) -> PreparedDataset:
    from ldznet_bench.datasets.load import load_dataset

    name = train_name(dataset.card, dataset.partition)
    if name is None:
        raise DataError(
            f"noun-prior learns from a train split, and {dataset.family} has none.",
            "Leave noun-prior out there, or run it on a dataset with a train split, such as minicut-photo:test or phrasecut:test.",
        )
    try:
        return load_dataset(name, data_root=data_root, home=home)
    except DataError as error:
        raise DataError(f"noun-prior learns from {name}, which cannot be opened: {error.what}", error.remedy) from error


def train_name(card: DatasetCard, partition: str | None) -> str | None:
    """The train split that goes with a partition: its own, or that of the family's first partition that has one."""
    heads = [name for name, _ in card.names() if name.endswith(":train")]
    own = f"{card.family}:train" if partition is None else f"{card.family}-{partition}:train"
    return own if own in heads else next(iter(heads), None)
