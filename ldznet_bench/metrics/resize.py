"""Score maps to a protocol's canvas, by torch's own interpolation, which is what the field's evaluators call. Imports torch only to resize."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from ldznet_bench.protocols import ScoreResize

if TYPE_CHECKING:
    import torch

    ScoreMap = TypeVar("ScoreMap", npt.NDArray[Any], torch.Tensor)


def resize(scores: ScoreMap, size: tuple[int, int], rule: ScoreResize) -> ScoreMap:
    """One score map at the size of the canvas; a map that has it already is returned as it is, bit for bit.

    Args:
        scores: (h, w) array or tensor of floats.
        size: (rows, columns) of the canvas.
        rule: ``bilinear`` samples at pixel centres, ``bilinear-aligned`` maps corner pixels onto corner pixels (align_corners). Neither
            smooths when shrinking, as CLIPSeg's `torch.nn.functional.interpolate` calls do not.

    Returns:
        Float32 (rows, columns) of the same kind, on the same device.

    Raises:
        ValueError: the map is not two-dimensional.
    """
    if scores.ndim != 2:
        raise ValueError(f"a score map has two dimensions, this one {scores.ndim}")
    if tuple(scores.shape) == size:
        return scores
    if isinstance(scores, np.ndarray):
        import torch

        with _one_thread():
            return _interpolate(torch.tensor(scores, dtype=torch.float32), size, rule).numpy()
    return _interpolate(scores.detach().float(), size, rule)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """One map is too small to share, and processes that each start a thread per core for it wait for one another: five times as long with two."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _interpolate(scores: torch.Tensor, size: tuple[int, int], rule: ScoreResize) -> torch.Tensor:
    from torch.nn import functional as F

    return F.interpolate(scores[None, None], size, mode="bilinear", align_corners=rule == "bilinear-aligned")[0, 0]
