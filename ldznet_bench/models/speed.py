"""How a network is run, where that may change bits: memory format, compilation, and a micro-batch that is found by trying."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import torch

from ldznet_bench.atomic import write_json
from ldznet_bench.errors import BenchError
from ldznet_bench.models.memory import PeakMemory, available_bytes
from ldznet_bench.models.segmenter import ImageInput, Pair, Segmenter

MEMORY_SHARE = 0.7  # of what is free when the search begins
_LARGEST = 256
_WORTH = 1.1  # a larger micro-batch must give that much more pairs per second: timings of a shared machine differ by some percent
_ROUNDS = 5
_TOGETHER = 44  # phrases of 8 images, from which a run cuts micro-batches and pads the last: 44 in the miniature, 45 in PhraseCut's test split
_PHRASES = ("a red car", "the man on the left", "grass", "white plate on the wooden table")


def sharpen(segmenter: Segmenter, *, channels_last: bool, compiled: bool, backend: str = "inductor") -> None:
    """Change a segmenter's networks in place, and its recipe with them, so that such runs are runs of their own. Weight-free models are left alone.

    Args:
        segmenter: as it was loaded.
        channels_last: keep the weights of convolutions channels last, which their inputs then follow.
        compiled: `torch.compile` every network, for the sizes it meets.
        backend: of `torch.compile`.

    Raises:
        BenchError: the model has networks, but says of none that it is called as a whole.
    """
    if segmenter.weights is None or not (channels_last or compiled):
        return
    networks = segmenter.networks()
    if not networks:
        raise BenchError(f"{segmenter.name} cannot be compiled or kept channels last.", "Leave --compile and --channels-last out for it.")
    for network in networks:
        if channels_last:
            network.to(memory_format=torch.channels_last)
        if compiled:
            network.compile(backend=backend)
    segmenter.recipe = {**segmenter.recipe, **({"channels_last": True} if channels_last else {}), **({"compiled": True} if compiled else {})}


def fast_micro_batch(segmenter: Segmenter, image: Any, home: Path, budget: int | None = None) -> int:  # noqa: ANN401 - PIL's image
    """The micro-batch with the most pairs per second that fits in memory; found once per model, device and options, and remembered.

    Remembering makes the same command continue its run, and processes that share `home` agree.

    Args:
        segmenter: a network.
        image: RGB, of the size that is met in earnest.
        home: remembers in ``fast.json``.
        budget: bytes that a micro-batch may take; `MEMORY_SHARE` of what is free by default.
    """
    path, key = home / "fast.json", _circumstances(segmenter)
    home.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{path}.lock"):
        known = _remembered(path)
        if key not in known:
            known[key] = _search(_trial(segmenter, image), budget or int(MEMORY_SHARE * available_bytes(segmenter.device)))
            write_json(path, known)
        return known[key]


def _remembered(path: Path) -> dict[str, int]:
    try:
        known = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        known = None
    if not isinstance(known, dict) or not all(isinstance(size, int) and size > 0 for size in known.values()):
        raise BenchError(f"{path} is damaged: it should hold the micro-batches that --fast has found.", "Remove it; they are looked for again.")
    return known


def _circumstances(segmenter: Segmenter) -> str:
    chip = torch.cuda.get_device_name() if segmenter.device == "cuda" else platform.processor() or platform.machine()
    what = [segmenter.name, segmenter.weights, segmenter.recipe, segmenter.precision, chip, torch.get_num_threads(), torch.__version__, _TOGETHER]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def _trial(segmenter: Segmenter, image: Any) -> Callable[[int], tuple[float, int]]:  # noqa: ANN401
    """From a micro-batch to its seconds and peak bytes."""
    encoded = segmenter.encode_image([ImageInput("trial", image.height, image.width, 0, lambda: image)])[0]
    texts = segmenter.encode_text([segmenter.prompt(phrase, 0) for phrase in _PHRASES])

    def run(size: int) -> tuple[float, int]:
        pairs = [Pair(str(i), _PHRASES[i % 4], image.height, image.width, i, encoded, texts[i % 4]) for i in range(size)]
        before, segmenter.micro_batch = segmenter.micro_batch, size
        try:
            seconds = []
            for _ in range(1 + _ROUNDS):  # the first one warms up
                start = time.perf_counter()
                with PeakMemory(segmenter.device) as peak:
                    segmenter.predict(pairs)
                seconds.append(time.perf_counter() - start)
            return min(seconds[1:]), peak.grown
        finally:
            segmenter.micro_batch = before

    return run


def _search(trial: Callable[[int], tuple[float, int]], budget: int, fill: int = _TOGETHER) -> int:
    """Double until memory or patience ends: what the next size takes is foreseen as twice this one's. Padding counts: it is computed too."""
    best, rate, size = 1, 0.0, 1
    while size <= min(_LARGEST, 2 * fill - 1):
        try:
            seconds, peak = trial(size)
        except BenchError as error:
            if size == 1 or not isinstance(error.__cause__, MemoryError | RuntimeError):  # torch's out-of-memory is a RuntimeError
                raise
            break
        if peak > budget:
            break
        useful = fill / math.ceil(fill / size)
        if useful / seconds > _WORTH * rate:
            best, rate = size, useful / seconds
        elif size >= 4 * best:
            break
        if 2 * peak > budget:
            break
        size *= 2
    return best
