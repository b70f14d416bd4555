"""What a network costs before any clock runs: parameters, and floating-point operations as torch counts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ldznet_bench.models.segmenter import ImageInput, Pair, Segmenter


def parameters(segmenter: Segmenter) -> int:
    """Parameters of every network that the segmenter holds, each once."""
    return sum(parameter.numel() for parameter in {id(p): p for module in _modules(segmenter, set()) for p in module.parameters()}.values())


def _modules(thing: Any, seen: set[int]) -> Iterator[torch.nn.Module]:  # noqa: ANN401
    """Modules in an object's attributes, and in those of what it holds."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, torch.nn.Module):
        yield thing
        return
    held: Sequence[Any] = ()
    if isinstance(thing, list | tuple):
        held = thing
    elif isinstance(thing, dict):
        held = list(thing.values())
    elif hasattr(thing, "__dict__") and not isinstance(thing, type) and not type(thing).__module__.startswith(("transformers", "tokenizers")):
        held = list(vars(thing).values())
    for one in held:
        yield from _modules(one, seen)


def flops(segmenter: Segmenter, image: ImageInput, phrase: str) -> dict[str, float]:
    """Floating-point operations per image, per distinct prompt and per pair: matrix products, convolutions and attention.

    Must be called before a network is compiled: what is fused is not seen.
    """
    encoded: list[Any] = []
    texts: list[Any] = []
    prompt = segmenter.prompt(phrase, 0)
    found = {
        "image": _count(lambda: encoded.extend(segmenter.encode_image([image]))),
        "prompt": _count(lambda: texts.extend(segmenter.encode_text([prompt]))),
    }
    pair = Pair("0", phrase, image.height, image.width, 0, encoded[0], texts[0])
    size = segmenter.micro_batch or 1
    found["pair"] = _count(lambda: segmenter.predict([pair] * size)) / size
    return found


def _count(work: Callable[[], object]) -> float:
    # Fused attention on a processor is an operation that torch does not count; in its plain form it is two matrix products that it does.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        work()
    return float(counter.get_total_flops())
