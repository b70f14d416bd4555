"""Seeds of every draw, a function of names alone: never of batch, order, resume point, process or device count."""

from __future__ import annotations

import functools
import hashlib


@functools.lru_cache(maxsize=1024)  # asked for to predict and to count
def seed_of(run_seed: int, dataset: str, ident: str) -> int:
    """The 64-bit seed of a sample's (or an image's) draws.

    Args:
        run_seed: ``--seed``.
        dataset: expanded dataset name, ``phrasecut:test``.
        ident: sample id for sample-level draws, image id for image-level draws.

    Returns:
        The first 8 bytes, big-endian, of sha256 over the three joined by NUL, UTF-8.
    """
    text = "\0".join((str(run_seed), dataset, ident))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
