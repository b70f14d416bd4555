"""Labelled pairs for segmentation networks: a square crop that keeps the object, the phrase in a template, and the mask.

Source: LD-ZNet, section 4 and supplement (384 px, square random crop with the object at least partly visible, random prompt prefix, no negative
phrases), as restated in docs/training.md; where the crop's rule is not published it is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ldznet_bench.errors import DataError
from ldznet_bench.evaluation.images import open_rgb
from ldznet_bench.evaluation.targets import make_target
from ldznet_bench.models.diffusion import TEMPLATES
from ldznet_bench.protocols import get_protocol
from ldznet_bench.training.draws import numpy_generator, sample_at

if TYPE_CHECKING:
    from ldznet_bench.datasets.store import PreparedDataset

_TRIES = 10  # crops drawn before one is laid around a pixel of the object


@dataclass(frozen=True)
class Example:
    """One training example.

    Attributes:
        pixels: float32 (3, S, S) in [-1, 1].
        mask: float32 (1, S, S) of 0 and 1.
        prompt: the phrase in its template.
    """

    pixels: Tensor
    mask: Tensor
    prompt: str


class LabelledPairs:
    """A labelled split, drawn from in a fixed order.

    Args:
        dataset: open; its truth is drawn as `native@1` draws it.
        size: side of the network's square, S.
        seed: of the training.
        crop: lowest and highest share of the shorter side.
        templates: draw one of nine templates, or always take the first.
        blank: phrases are empty (the text-blind control).
    """

    def __init__(
        self, dataset: PreparedDataset, size: int, seed: int, *, crop: Sequence[float] = (1, 1), templates: bool = True, blank: bool = False
    ) -> None:
        if dataset.split not in (None, "train"):
            raise DataError(f"{dataset.name} is not a train split.", f"Train on {dataset.family}:train; val and test are for measuring.")
        self._dataset, self._size, self._seed = dataset, size, seed
        self._crop, self._templates, self._blank = tuple(crop), templates, blank
        self._rules = get_protocol("native@1")
        self._usable = [position for position, entry in enumerate(dataset.entries()) if not entry.no_target]
        if not self._usable:
            raise DataError(f"{dataset.name} has no sample with a mask.", "Train on a labelled split.")
        self._images: dict[str, npt.NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return len(self._usable)

    def example(self, position: int) -> Example:
        """The example at a place of the training."""
        sample = self._dataset.sample(self._usable[sample_at(self._seed, len(self._usable), position)])
        draws = numpy_generator(self._seed, "example", position)
        template = TEMPLATES[int(draws.integers(len(TEMPLATES)))] if self._templates else TEMPLATES[0]
        mask = make_target(sample.geometry, self._rules).mask
        image = self._image(sample.sample_id, mask.shape)
        top, left, side = square_around(mask, self._crop, draws)
        window = np.s_[top : top + side, left : left + side]
        prompt = template.replace("{}", "" if self._blank else sample.phrase)
        return Example(_resized_image(image[window], self._size), _resized_mask(mask[window], self._size), prompt)

    def batch(self, positions: Sequence[int]) -> tuple[Tensor, Tensor, list[str]]:
        """Pixels (B, 3, S, S), masks (B, 1, S, S) and prompts."""
        examples = [self.example(position) for position in positions]
        return torch.stack([e.pixels for e in examples]), torch.stack([e.mask for e in examples]), [e.prompt for e in examples]

    def _image(self, sample_id: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        file, _ = self._dataset.find(sample_id)
        known = self._images.get(file.image_id)
        if known is not None:
            return known
        image = np.asarray(open_rgb(file))
        if image.shape[:2] != shape:
            raise DataError(f"{file.path} is {image.shape[1]}x{image.shape[0]}, its annotation says {shape[1]}x{shape[0]}.", "Leave it out.")
        if self._dataset.mini:  # a few dozen MB in all; photographs are read again each time
            self._images[file.image_id] = image
        return image


def square_around(mask: npt.NDArray[np.bool_], crop: Sequence[float], draws: np.random.Generator) -> tuple[int, int, int]:
    """(top, left, side) of a random square that shows at least a quarter of the object, or failing that one of its pixels.

    Args:
        mask: bool (H, W) of the object.
        crop: lowest and highest share of the shorter side.
        draws: of this example.
    """
    height, width = mask.shape
    side = max(1, round(min(height, width) * float(draws.uniform(crop[0], crop[1]))))
    total = int(mask.sum())
    for _ in range(_TRIES):
        top, left = int(draws.integers(height - side + 1)), int(draws.integers(width - side + 1))
        if total == 0 or 4 * int(mask[top : top + side, left : left + side].sum()) >= total:
            return top, left, side
    rows, columns = np.nonzero(mask)
    chosen = int(draws.integers(len(rows)))
    top = int(np.clip(rows[chosen] - side // 2, 0, height - side))
    left = int(np.clip(columns[chosen] - side // 2, 0, width - side))
    return top, left, side


def _resized_image(image: npt.NDArray[np.uint8], size: int) -> Tensor:
    pixels = torch.from_numpy(image.astype(np.float32).transpose(2, 0, 1).copy())[None] / 255 * 2 - 1
    return (pixels if image.shape[:2] == (size, size) else F.interpolate(pixels, (size, size), mode="bilinear", align_corners=True))[0]


def _resized_mask(mask: npt.NDArray[np.bool_], size: int) -> Tensor:
    plane = torch.from_numpy(mask.astype(np.float32))[None, None]
    return (plane if mask.shape == (size, size) else F.interpolate(plane, (size, size), mode="nearest"))[0]
