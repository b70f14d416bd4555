"""One photograph and some phrases, outside any dataset: what ``predict`` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ldznet_bench.datasets.sample import ImageFile
from ldznet_bench.errors import BenchError
from ldznet_bench.evaluation.images import open_rgb
from ldznet_bench.evaluation.seeds import seed_of
from ldznet_bench.models.segmenter import ImageInput, Pair, Segmenter, draws_nothing
from ldznet_bench.models.trivial import Oracle

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

_BATCH = 16  # phrases at once for models that batching cannot change
_DATASET = "predict"  # in the seeds, where a dataset's name stands


@dataclass(frozen=True, eq=False)
class Prediction:
    """A model's answer to one phrase.

    Attributes:
        phrase: as given.
        scores: float32 (h, w) in [0, 1], on the model's own grid; the mean over draws where there are several.
        spread: over draws, by what was drawn anew: standard deviation in units of score, a root mean square over pixels. Empty for one draw.
    """

    phrase: str
    scores: npt.NDArray[np.float32]
    spread: Mapping[str, float] = field(default_factory=dict)


def open_photograph(path: Path) -> Image:
    """A photograph as RGB, unrotated.

    Raises:
        DataError: the file is missing or no image.
    """
    return open_rgb(ImageFile(path.name, path, 0, 0))


def predict_photograph(
    segmenter: Segmenter, picture: Image, name: str, phrases: Sequence[str], *, seed: int = 0, repeats: int = 1
) -> list[Prediction]:
    """Score maps of some phrases on one photograph; the image is encoded once, phrases go in the model's micro-batches.

    Args:
        segmenter: any but the oracle.
        picture: RGB.
        name: stands for the image in the seeds.
        phrases: any text.
        seed: run seed of every draw.
        repeats: draws of a stochastic network that are averaged.

    Raises:
        BenchError: the oracle, or repeats of a model that draws nothing.
    """
    if isinstance(segmenter, Oracle):
        raise BenchError("oracle needs a truth, and a lone image has none.", "Use `run`, or another model.")
    image = ImageInput(name, picture.height, picture.width, seed_of(seed, _DATASET, name), partial(_same, picture))
    samples = [(str(number), phrase, seed_of(seed, _DATASET, f"{name}:{phrase}")) for number, phrase in enumerate(phrases)]
    return _once(segmenter, image, samples) if repeats == 1 else _repeatedly(segmenter, image, samples, repeats)


def _same(picture: Image) -> Image:
    return picture


def _once(segmenter: Segmenter, image: ImageInput, samples: Sequence[tuple[str, str, int]]) -> list[Prediction]:
    encoded = segmenter.encode_image([image])[0]
    texts = segmenter.encode_text([segmenter.prompt(phrase, seed) for _, phrase, seed in samples])
    pairs = [Pair(ident, phrase, image.height, image.width, seed, encoded, text) for (ident, phrase, seed), text in zip(samples, texts, strict=True)]
    step = segmenter.micro_batch or _BATCH
    maps = [scores for start in range(0, len(pairs), step) for scores in segmenter.predict(pairs[start : start + step])]
    return [Prediction(phrase, _array(scores)) for (_, phrase, _), scores in zip(samples, maps, strict=True)]


def _repeatedly(segmenter: Segmenter, image: ImageInput, samples: Sequence[tuple[str, str, int]], repeats: int) -> list[Prediction]:
    from ldznet_bench.models.diffusion import DiffusionSegmenter
    from ldznet_bench.models.repeats import spread

    if not segmenter.streams or not isinstance(segmenter, DiffusionSegmenter):
        raise draws_nothing(segmenter.name)
    found = spread(segmenter, image, samples, repeats)
    return [Prediction(phrase, _array(one.mean), one.deviation) for (_, phrase, _), one in zip(samples, found, strict=True)]


def _array(scores: Any) -> npt.NDArray[np.float32]:  # noqa: ANN401 - an array or a tensor
    return np.asarray(scores if isinstance(scores, np.ndarray) else scores.cpu(), dtype=np.float32)
