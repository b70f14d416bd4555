"""Goldens of the official codes, see tests/goldens/masks/README.md."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

GOLDENS = Path(__file__).parents[1] / "goldens" / "masks"


@dataclass(frozen=True)
class MaskGoldens:
    expected: dict
    arrays: dict[str, np.ndarray]

    def packed(self, name: str, canvases: list[dict]) -> list[np.ndarray]:
        """Masks that lie packed one after the other, each on the canvas of its entry."""
        masks, at = [], 0
        for canvas in canvases:
            height, width = canvas["height"], canvas["width"]
            size = -(-height * width // 8)
            bits = np.unpackbits(self.arrays[name][at : at + size], count=height * width)
            masks.append(bits.astype(bool).reshape(height, width))
            at += size
        return masks


def _read(name: str) -> MaskGoldens:
    with np.load(GOLDENS / f"{name}.npz") as arrays:
        return MaskGoldens(json.loads((GOLDENS / f"{name}.json").read_text()), dict(arrays))


@pytest.fixture(scope="session")
def phrasecut_goldens() -> MaskGoldens:
    return _read("phrasecut")


@pytest.fixture(scope="session")
def refcoco_goldens() -> MaskGoldens:
    return _read("refcoco")
