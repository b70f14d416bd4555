"""Which part of a cell this process works on. By image, without collectives: processes meet only in the run folder."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from ldznet_bench.errors import BenchError

# A network's micro-batches are formed within this many consecutive images, so what is in one never depends on who else is working.
BLOCK_IMAGES = 8


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` equal parts; this process has the blocks whose number modulo `count` is `index`."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``i/n``. Both ways of counting work: 0/2 with 1/2, and 1/2 with 2/2.

        Raises:
            BenchError: it is not of that form.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if match is None or int(match[2]) < 1 or int(match[1]) > int(match[2]):
            raise BenchError(f"--shard {text!r} is not i/n with 0 <= i <= n.", "Write --shard 0/4 … 3/4 (or 1/4 … 4/4).")
        return cls(int(match[1]) % int(match[2]), int(match[2]))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """From RANK and WORLD_SIZE, as torchrun, accelerate and most launchers set them; one part where they are absent."""
        try:
            rank, size = int(environment.get("RANK", "0")), int(environment.get("WORLD_SIZE", "1"))
        except ValueError as error:
            raise BenchError(f"RANK and WORLD_SIZE are not numbers ({error}).", "Unset them or start with torchrun.") from error
        if not 0 <= rank < size:
            raise BenchError(f"RANK is {rank} where WORLD_SIZE is {size}.", "Unset both, or give each of WORLD_SIZE processes a RANK from 0 on.")
        return cls(rank, size)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def has(self, place: int) -> bool:
        """Whether the image at that place among the cell's images belongs to this process."""
        return Shard.of(place, self.count) == self

    @classmethod
    def of(cls, place: int, count: int) -> Self:
        """Which of `count` parts the image at that place belongs to."""
        return cls((place // BLOCK_IMAGES) % count, count)
