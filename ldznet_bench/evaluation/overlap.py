"""What the loop does beside the network: the next images are decoded and resized, the last scores are counted, each in a thread of its own.

Both are bounded, so that memory does not depend on the dataset: `IMAGES_AHEAD` images beyond the block at hand, and one micro-batch that is
being counted. Threads only move work; what is computed, and in which order it reaches the journal, stays the same.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from ldznet_bench.models.segmenter import ImageInput, Segmenter

# At 352x352 a prepared image and its decoded original are about 2.5 MB.
IMAGES_AHEAD = 4

PHASES = ("wait", "preprocess", "encode_image", "encode_text", "decode", "count", "write")

Thing = TypeVar("Thing")


class Clock:
    """Seconds per phase of one micro-batch."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)

    @contextlib.contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Time the block and add it to the phase."""
        start = time.perf_counter()
        yield
        self.seconds[phase] += time.perf_counter() - start


class Lane:
    """A thread that does jobs in order, or, where nothing is to overlap, the caller itself.

    Args:
        threaded: whether there is a thread.
    """

    def __init__(self, *, threaded: bool) -> None:
        self._pool = ThreadPoolExecutor(1) if threaded else None

    def submit(self, job: Callable[[], Thing]) -> Callable[[], Thing]:
        """Begin a job; calling what is returned waits for its value, or raises what it raised."""
        if self._pool is None:
            done: Future[Thing] = Future()
            done.set_result(job())
            return done.result
        return self._pool.submit(job).result

    def __enter__(self) -> Lane:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the job at hand; those behind it are forgotten."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


class Prepared:
    """An image that is being prepared, and the seconds that took."""

    def __init__(self, image: ImageInput, segmenter: Segmenter, lane: Lane) -> None:
        self._image, self._segmenter = image, segmenter
        self._wait = lane.submit(self._prepare)

    def _prepare(self) -> float:
        start = time.perf_counter()
        self._image.prepared(self._segmenter.pixels)
        return time.perf_counter() - start

    def get(self, clock: Clock) -> ImageInput:
        """The image, once it is ready; raises what preparing it raised."""
        with clock("wait"):
            clock.seconds["preprocess"] += self._wait()
        return self._image


def look_ahead(things: Iterable[Thing], begin: Callable[[Thing], Any], count: int) -> Iterator[tuple[Thing, Any]]:
    """Each thing with what `begin` made of it, `count` things before it is its turn."""
    begun: deque[tuple[Thing, Any]] = deque()
    for thing in things:
        begun.append((thing, begin(thing)))
        if len(begun) > count:
            yield begun.popleft()
    yield from begun
