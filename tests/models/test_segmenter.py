"""The sealed interface: padding, the sigmoid, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from ldznet_bench.errors import BenchError, BenchWarning
from ldznet_bench.models.segmenter import ImageInput, Pair, Segmenter


class Fixed(Segmenter):
    """Hands out what it was given."""

    name = "fixed"

    def __init__(self, maps: Sequence[Any], *, output: Any = "probabilities", micro_batch: int | None = None) -> None:
        self.recipe: dict[str, Any] = {}
        self.output = output
        self.micro_batch = micro_batch
        self.maps = maps
        self.seen: list[str] = []

    def encode_image(self, images: Sequence[ImageInput]) -> list[None]:
        return [None] * len(images)

    def encode_text(self, prompts: Sequence[str]) -> list[None]:
        return [None] * len(prompts)

    def decode(self, pairs: Sequence[Pair]) -> list[Any]:
        self.seen = [pair.sample_id for pair in pairs]
        return list(self.maps[: len(pairs)])


def pairs(count: int) -> list[Pair]:
    return [Pair(str(index), "phrase", 2, 2, index, None, None) for index in range(count)]


def test_the_last_pair_fills_the_micro_batch() -> None:
    segmenter = Fixed([np.zeros((2, 2))] * 4, micro_batch=4)
    segmenter.predict(pairs(2))
    assert segmenter.seen == ["0", "1", "1", "1"]


def test_padding_gives_no_maps() -> None:
    assert len(Fixed([np.zeros((2, 2))] * 4, micro_batch=4).predict(pairs(2))) == 2


def test_too_many_pairs() -> None:
    with pytest.raises(ValueError, match="3 pairs for a micro-batch of 2"):
        Fixed([], micro_batch=2).predict(pairs(3))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_map_per_pair_or_nothing(count: int) -> None:
    segmenter = Fixed([np.zeros((2, 2))] * count)
    segmenter.decode = lambda _: segmenter.maps  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=f"fixed decoded 2 pairs into {count} maps"):
        segmenter.predict(pairs(2))


def test_no_pairs() -> None:
    assert Fixed([], micro_batch=4).predict([]) == []


@pytest.mark.parametrize("logits", [np.array([[-100.0, 0.0, 100.0]]), torch.tensor([[-100.0, 0.0, 100.0]], dtype=torch.float16)])
def test_logits_become_probabilities(logits: Any) -> None:
    (scores,) = Fixed([logits], output="logits").predict(pairs(1))
    assert (str(scores.dtype).removeprefix("torch."), scores.tolist()) == ("float32", [[pytest.approx(0), 0.5, 1.0]])


@pytest.mark.parametrize("make", [np.asarray, torch.tensor])
@pytest.mark.parametrize("bad", [[[0.0, 1.01]], [[-0.01, 0.0]], [[float("nan"), 0.0]], [[float("inf"), 0.0]], [0.0, 1.0], [[]], [[[0.0]]]])
def test_what_is_no_score_map(make: Any, bad: Any) -> None:
    with pytest.raises(BenchError, match="fixed gave no score map for sample '0'"):
        Fixed([make(bad)]).predict(pairs(1))


def test_nan_logits_name_their_sample() -> None:
    maps = [torch.zeros(1, 1), torch.tensor([[float("nan")]])]
    with pytest.raises(BenchError, match="sample '1'"):
        Fixed(maps, output="logits").predict(pairs(2))


def test_an_image_is_decoded_once() -> None:
    opened = []
    image = ImageInput("i", 1, 1, 0, lambda: opened.append(1))  # type: ignore[arg-type,func-returns-value]
    assert (image.rgb, image.rgb, opened) == (None, None, [1])


def test_a_note_is_counted_and_said_once() -> None:
    segmenter, other = Fixed([]), Fixed([])
    with pytest.warns(BenchWarning, match="fixed: a phrase was cut; this is said once") as said:
        segmenter.note("a phrase was cut")
        segmenter.note("a phrase was cut")
    assert (len(said), dict(segmenter.notes), dict(other.notes)) == (1, {"a phrase was cut": 2}, {})
    segmenter.begin_run()
    assert dict(segmenter.notes) == {}
