"""Stochastic recipes, drawn several times: averaged score maps, and how far they spread by what is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ldznet_bench.errors import BenchError
from ldznet_bench.models.diffusion import DiffusionSegmenter
from ldznet_bench.models.segmenter import ImageInput, Pair, Segmenter, draws_nothing

ALL = "all"
_SEPARATOR = "\x1e"  # ASCII's own; a phrase that holds it is drawn as one prompt too many, and refused


def variants(segmenter: DiffusionSegmenter, count: int) -> dict[str, list[DiffusionSegmenter]]:
    """The models whose scores tell where the spread comes from; evaluate each, and compare within each list.

    Args:
        segmenter: with a stochastic recipe.
        count: draws, at least 2.

    Returns:
        Under ``all``, `count` models with every stream drawn anew; under each stream's name, `count` with that stream alone drawn anew. The first of
        each list is the model itself.

    Raises:
        BenchError: the recipe draws nothing, or fewer than two draws are asked for.
    """
    if count < 2:
        raise BenchError(f"--repeats is {count}.", "A spread needs at least 2.")
    found = {ALL: [segmenter.repeated(repeat) for repeat in range(count)]}
    for stream in segmenter.streams:
        found[stream] = [segmenter.repeated(repeat, (stream,)) for repeat in range(count)]
    return found


@dataclass(frozen=True)
class Spread:
    """How one sample's score map varies.

    Attributes:
        mean: float32 (h, w), over all draws of all streams.
        deviation: per stream, and under ``all``: the standard deviation over draws (n - 1), averaged over pixels as a root mean square, in
            units of score.
    """

    mean: torch.Tensor
    deviation: Mapping[str, float]


def spread(segmenter: DiffusionSegmenter, image: ImageInput, samples: Sequence[tuple[str, str, int]], count: int) -> list[Spread]:
    """Spread of some phrases' score maps on one image.

    Args:
        segmenter: with a stochastic recipe.
        image: with its seed.
        samples: sample id, phrase and seed of each.
        count: draws, at least 2.

    Raises:
        BenchError: as `variants`.
    """
    by_source = variants(segmenter, count)
    encoded = iter(segmenter.encode_draws(image, [model for models in by_source.values() for model in models]))
    stacks = {source: torch.stack([_maps(model, image, next(encoded), samples) for model in models]) for source, models in by_source.items()}
    return [
        Spread(
            stacks[ALL][:, i].mean(0),
            {source: float(stack[:, i].var(0).mean().sqrt()) for source, stack in stacks.items()},
        )
        for i in range(len(samples))
    ]


def _maps(segmenter: DiffusionSegmenter, image: ImageInput, encoded: Any, samples: Sequence[tuple[str, str, int]]) -> torch.Tensor:  # noqa: ANN401
    texts = segmenter.encode_text([segmenter.prompt(phrase, seed) for _, phrase, seed in samples])
    pairs = [
        Pair(sample, phrase, image.height, image.width, seed, encoded, text) for (sample, phrase, seed), text in zip(samples, texts, strict=True)
    ]
    step = segmenter.micro_batch
    return torch.stack([scores.cpu() for start in range(0, len(pairs), step) for scores in segmenter.predict(pairs[start : start + step])])


@dataclass(frozen=True)
class Draw:
    """One of the runs that tell a model's spread.

    Attributes:
        segmenter: whose name says what was drawn anew beside its seed, if anything: ``ldznet/full+paper-stochastic~noise1``.
        seed: the run's.
    """

    segmenter: Segmenter
    seed: int


def draws(segmenter: Segmenter, count: int, seed: int) -> list[Draw]:
    """The runs that tell where a model's spread comes from: `count` run seeds, which draw everything anew, and each stream alone drawn anew.

    Args:
        segmenter: one that draws.
        count: draws of each kind, at least 2. The model under `seed` itself is the first of every kind, and stands once, first.
        seed: the first run seed.

    Raises:
        BenchError: the model draws nothing.
    """
    if not segmenter.streams:
        raise draws_nothing(segmenter.name)
    found = [Draw(segmenter, seed + number) for number in range(count)]
    if isinstance(segmenter, DiffusionSegmenter) and len(segmenter.streams) > 1:
        found += [Draw(_redrawn(segmenter, stream, repeat), seed) for stream in segmenter.streams for repeat in range(1, count)]
    return found


def _redrawn(segmenter: DiffusionSegmenter, stream: str, repeat: int) -> DiffusionSegmenter:
    other = segmenter.repeated(repeat, (stream,))
    other.name = f"{segmenter.name}~{stream}{repeat}"
    return other


def averaged(segmenter: Segmenter, count: int) -> Averaged:
    """`count` draws of a stochastic network as one model.

    Raises:
        BenchError: the model draws nothing, or is no network whose maps would mean anything averaged.
    """
    if not segmenter.streams:
        raise draws_nothing(segmenter.name)
    if not isinstance(segmenter, DiffusionSegmenter):
        raise BenchError(f"--repeats does not average the maps of {segmenter.name}, which are nothing but drawn.", "Add --spread for its draws.")
    return Averaged(segmenter, count)


class Averaged(Segmenter):
    """`count` draws of a stochastic model as one model: its score map is the mean of theirs, and its name says so (``….mean5``).

    Args:
        segmenter: with a stochastic recipe.
        count: draws, at least 2.

    Raises:
        BenchError: the recipe draws nothing, or fewer than two draws are asked for.
    """

    output = "probabilities"

    def __init__(self, segmenter: DiffusionSegmenter, count: int) -> None:
        self._draws = variants(segmenter, count)[ALL]
        self.name, self.weights, self.streams, self.notes = f"{segmenter.name}.mean{count}", segmenter.weights, segmenter.streams, segmenter.notes
        self.device, self.precision, self.micro_batch = segmenter.device, segmenter.precision, segmenter.micro_batch
        self.recipe = {**segmenter.recipe, "repeats": count}

    def pixels(self, image: ImageInput) -> torch.Tensor:
        """What each draw is fed."""
        return self._draws[0].pixels(image)

    def networks(self) -> Sequence[torch.nn.Module]:
        """Those of one draw; all share them."""
        return self._draws[0].networks()

    def encode_image(self, images: Sequence[ImageInput]) -> list[list[Any]]:
        """One value per draw and image; the autoencoder runs once."""
        return [list(self._draws[0].encode_draws(image, self._draws)) for image in images]

    def prompt(self, phrase: str, seed: int) -> str:
        """The prompts of all draws."""
        return _SEPARATOR.join(draw.prompt(phrase, seed) for draw in self._draws)

    def encode_text(self, prompts: Sequence[str]) -> list[list[Any]]:
        """One value per draw and prompt; draws that share a prompt share it."""
        return [self._encode_text(prompt.split(_SEPARATOR)) for prompt in prompts]

    def _encode_text(self, prompts: Sequence[str]) -> list[Any]:
        if len(prompts) != len(self._draws):
            raise BenchError("a phrase holds the control character U+001E, which separates the prompts of repeated draws.", "Remove it.")
        known = {prompt: self._draws[0].encode_text([prompt])[0] for prompt in dict.fromkeys(prompts)}
        return [known[prompt] for prompt in prompts]

    def decode(self, pairs: Sequence[Pair]) -> list[torch.Tensor]:
        """The mean of the draws' score maps."""
        maps = [draw.predict([_of_draw(pair, i) for pair in pairs]) for i, draw in enumerate(self._draws)]
        return [torch.stack(list(draws)).mean(0) for draws in zip(*maps, strict=True)]


def _of_draw(pair: Pair, draw: int) -> Pair:
    return Pair(pair.sample_id, pair.phrase, pair.height, pair.width, pair.seed, pair.image[draw], pair.text[draw])
