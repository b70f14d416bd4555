"""Which sample a training sees when, and every random draw, as functions of the seed and the sample's place in the training alone.

So a training resumed at any step, or shared by several processes, sees what an uninterrupted one sees, and nothing random has to be saved.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import numpy.typing as npt
import torch


def draw_seed(seed: int, what: str, position: int = 0) -> int:
    """63-bit seed of one kind of draw at one place: from sha256 of seed, kind and place joined by NUL."""
    text = "\0".join((str(seed), what, str(position)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(seed: int, what: str, position: int = 0) -> torch.Generator:
    """A CPU generator for one kind of draw at one place."""
    return torch.Generator().manual_seed(draw_seed(seed, what, position))


def numpy_generator(seed: int, what: str, position: int = 0) -> np.random.Generator:
    """The same, NumPy's."""
    return np.random.Generator(np.random.PCG64(draw_seed(seed, what, position)))


@functools.lru_cache(maxsize=4)
def epoch_order(seed: int, size: int, epoch: int) -> npt.NDArray[np.int64]:
    """A permutation of `size` samples, another one for every epoch."""
    return numpy_generator(seed, "order", epoch).permutation(size)


def sample_at(seed: int, size: int | None, position: int) -> int:
    """The sample at a place of the training; without a size every place has a sample of its own.

    Args:
        seed: of the training.
        size: number of different samples.
        position: step times batch size, plus the place in the batch.
    """
    if size is None:
        return position
    return int(epoch_order(seed, size, position // size)[position % size])


def positions(step: int, batch: int, rank: int, world: int, part: int, parts: int) -> range:
    """The places in the training of one process's micro-batch: its share of the step's batch, and of that the part.

    Raises:
        ValueError: the batch does not divide evenly, which would make the mean of gradients depend on the number of processes.
    """
    if batch % (world * parts):
        raise ValueError(f"a batch of {batch} does not divide among {world} processes and {parts} micro-batches")
    share = batch // world
    size = share // parts
    first = step * batch + rank * share + part * size
    return range(first, first + size)
