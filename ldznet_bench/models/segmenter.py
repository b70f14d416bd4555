"""The sealed interface of every model: an image and its phrases in, score maps in [0, 1] out.

A segmenter has three parts so that the evaluation loop does each as rarely as it must: `encode_image` once per image, `encode_text`
once per distinct prompt, `decode` once per (image, phrase). `predict` is final: it pads to the fixed micro-batch, applies the sigmoid, and
refuses what is not a score map. Importing this module does not import torch.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
import numpy.typing as npt

from ldznet_bench.errors import BenchError, BenchWarning
from ldznet_bench.masks.spans import StoredMask

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

ScoreMap = "npt.NDArray[np.float32] | torch.Tensor"


@dataclass(frozen=True)
class ImageInput:
    """An image as a segmenter sees it.

    Attributes:
        image_id: the dataset's id.
        height: rows of the annotation canvas (the file may differ; a network goes by its pixels).
        width: columns of the annotation canvas.
        seed: 64-bit seed of every image-level draw (VAE sample, diffusion noise).
        open: decodes the file to an RGB PIL image, without applying any EXIF rotation: annotations are for the unrotated pixels.
    """

    image_id: str
    height: int
    width: int
    seed: int
    open: Callable[[], PILImage]

    @cached_property
    def rgb(self) -> PILImage:
        """The decoded RGB image; decoded once."""
        return self.open()

    def prepared(self, make: Callable[[ImageInput], Any]) -> Any:  # noqa: ANN401 - whatever `Segmenter.pixels` makes
        """What `Segmenter.pixels` makes of it; made once, by whoever asks first (the loop asks ahead, in another thread)."""
        if "_prepared" not in self.__dict__:
            self.__dict__["_prepared"] = make(self)
        return self.__dict__["_prepared"]


@dataclass(frozen=True, slots=True)
class Pair:
    """One (image, phrase) to segment.

    Attributes:
        sample_id: the dataset's id.
        phrase: the phrase, byte for byte.
        height: rows of the annotation canvas.
        width: columns of the annotation canvas.
        seed: 64-bit seed of every sample-level draw (template, timestep, random box).
        image: what `encode_image` returned for its image.
        text: what `encode_text` returned for its prompt.
    """

    sample_id: str
    phrase: str
    height: int
    width: int
    seed: int
    image: Any
    text: Any


class Segmenter(ABC):
    """A model that turns an image and its phrases into score maps.

    Attributes:
        name: full name, ``name/variant+recipe`` (``clipseg/full+hf``), or the bare name of a weight-free segmenter (``oracle``).
        weights: sha256 (hex) of the weights, or of whatever else decides the scores; None for weight-free segmenters.
        recipe: options that change scores, as JSON-able values; part of the cell's identity.
        binary: True where maps hold only 0 and 1, so that threshold-free metrics (AP) do not apply.
        stored: True where all maps are `StoredMask`, which are small.
        output: what `decode` returns: ``logits`` (the sealed `predict` applies the sigmoid) or ``probabilities``.
        micro_batch: pairs per `decode` call, always exactly this many (the last call is padded); None where batching cannot change a bit.
        device: device class, ``cpu`` or ``cuda``.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        streams: what is drawn from the seeds ("noise", "template"); empty for a model that draws nothing.
        notes: what should be said once per run ("phrases cut at 77 tokens"), with how often it happened; kept in ``run.json``.
    """

    name: str
    weights: str | None = None
    recipe: dict[str, Any]
    binary: bool = False
    stored: bool = False
    output: Literal["logits", "probabilities"] = "probabilities"
    micro_batch: int | None = None
    device: str = "cpu"
    precision: str = "fp32"
    streams: tuple[str, ...] = ()
    notes: Mapping[str, int] = MappingProxyType({})

    def begin_run(self) -> None:
        """Called before each run: notes are a run's own, though one segmenter may serve several."""
        if isinstance(self.notes, dict):
            self.notes.clear()

    def note(self, what: str) -> None:
        """Count in `notes` that something happened, and warn of the first time."""
        if not isinstance(self.notes, dict):
            self.notes = {}
        self.notes[what] = self.notes.get(what, 0) + 1
        if self.notes[what] == 1:
            warnings.warn(f"{self.name}: {what}; this is said once.", BenchWarning, stacklevel=2)

    def pixels(self, image: ImageInput) -> Any:  # noqa: ANN401
        """What the network is fed of an image: decoded and resized, by the processor alone. None where there is nothing to prepare.

        The loop calls it ahead, in another thread, while the network works; `encode_image` takes it by ``image.prepared(self.pixels)``.
        """
        return None

    def networks(self) -> Sequence[Any]:
        """The torch modules that are called, which `--channels-last` and `--compile` change; none where those do not apply."""
        return ()

    @abstractmethod
    def encode_image(self, images: Sequence[ImageInput]) -> Sequence[Any]:
        """Everything that does not depend on the phrase, one value per image. Its bits depend on that image alone."""

    def prompt(self, phrase: str, seed: int) -> str:
        """The text that is really encoded for a sample; a drawn template, say. `seed` is the sample's."""
        return phrase

    @abstractmethod
    def encode_text(self, prompts: Sequence[str]) -> Sequence[Any]:
        """Everything that does not depend on the image, one value per prompt. Its bits depend on that prompt alone."""

    @abstractmethod
    def decode(self, pairs: Sequence[Pair]) -> Sequence[Any]:
        """One (h, w) float array or tensor per pair, on the model's own grid, in the unit that `output` names."""

    @final
    def predict(self, pairs: Sequence[Pair]) -> list[Any]:
        """Score maps of up to `micro_batch` pairs: float32 (h, w) in [0, 1], NumPy arrays or tensors on the model's device, never resized.

        Masks that were read rather than computed stay masks: bool arrays, or `StoredMask`.

        Raises:
            BenchError: a map is not two-dimensional, is empty, or holds NaN or values outside [0, 1]; the sample is named.
        """
        return [self._score_map(value, pair) for value, pair in zip(self.raw(pairs), pairs, strict=True)]

    @final
    def raw(self, pairs: Sequence[Pair]) -> list[Any]:
        """What `decode` gives for up to `micro_batch` pairs, padded to that many: logits or probabilities, as `output` says."""
        padded = list(pairs)
        if self.micro_batch is not None and padded:
            if len(padded) > self.micro_batch:
                raise ValueError(f"{len(padded)} pairs for a micro-batch of {self.micro_batch}")
            padded += [padded[-1]] * (self.micro_batch - len(padded))
        maps = self.decode(padded)
        if len(maps) != len(padded):
            raise ValueError(f"{self.name} decoded {len(padded)} pairs into {len(maps)} maps")
        return list(maps[: len(pairs)])

    def _score_map(self, value: Any, pair: Pair) -> Any:  # noqa: ANN401 - an array or a tensor
        scores: Any
        if isinstance(value, StoredMask):
            return value
        if isinstance(value, np.ndarray) and value.dtype == np.bool_ and self.output == "probabilities":
            scores, ok = value, value.ndim == 2 and value.size > 0
        elif isinstance(value, np.ndarray):
            scores = _sigmoid(value) if self.output == "logits" else np.asarray(value, dtype=np.float32)
            ok = scores.ndim == 2 and scores.size > 0 and bool(scores.min() >= 0) and bool(scores.max() <= 1)
        else:
            scores = value.float().sigmoid() if self.output == "logits" else value.float()
            ok = scores.ndim == 2 and scores.numel() > 0 and bool(((scores >= 0) & (scores <= 1)).all())
        if not ok:
            raise BenchError(
                f"{self.name} gave no score map for sample {pair.sample_id!r}: expected a non-empty (h, w) map of values in [0, 1], "
                f"got shape {tuple(value.shape)} with NaN, infinite or out-of-range values, or the wrong number of dimensions.",
                "Check the weights for NaN and the precision (try --precision fp32).",
            )
        return scores


def draws_nothing(model: str) -> BenchError:
    """What is wrong with repeats of a model that is no stochastic network."""
    return BenchError(f"{model} is no network that draws anything to repeat.", "Ask for a stochastic recipe, as ldznet+paper-stochastic.")


def _sigmoid(logits: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    import torch

    result: npt.NDArray[np.float32] = torch.from_numpy(np.ascontiguousarray(logits)).float().sigmoid().numpy()
    return result
