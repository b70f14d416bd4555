"""`counts` for maps that live on a torch device: the same integers, and the map is never moved."""

from __future__ import annotations

import numpy as np
import torch

from ldznet_bench.metrics.counts import BoolArray, Float32Array, Int32Array


def histograms(scores: torch.Tensor, truth: torch.Tensor | BoolArray, thresholds: Float32Array) -> tuple[Int32Array, Int32Array]:
    """`counts.histograms` of a tensor: one look-up and one count on its own device; only 2 (K + 1) integers leave it.

    Args:
        scores: (h, w) score map on any device, compared in float32.
        truth: bool (h, w); an array is sent to the map's device.
        thresholds: float32 (K,), strictly ascending.

    Returns:
        Two int32 (K + 1,) arrays: of pixels in the truth, and of the others.

    Raises:
        ValueError: the shapes differ.
    """
    if tuple(scores.shape) != tuple(truth.shape):
        raise ValueError(f"a score map of shape {tuple(scores.shape)} on a truth of shape {tuple(truth.shape)}")
    bins = thresholds.size + 1
    edges = torch.tensor(thresholds, dtype=torch.float32, device=scores.device)
    # right=False: boundaries[i - 1] < value <= boundaries[i], so a score that equals a threshold does not exceed it.
    index = torch.bucketize(scores.detach().float().reshape(-1).contiguous(), edges, right=False)
    index += bins * _mask(truth, scores.device).reshape(-1)
    both = torch.bincount(index, minlength=2 * bins).to(torch.int32).cpu().numpy()
    return both[bins:], both[:bins]


def binarise(scores: torch.Tensor, threshold: float) -> torch.Tensor:
    """The predicted mask on the map's device: score > threshold, strictly and in float32."""
    return scores.detach().float() > float(np.float32(threshold))


def _mask(mask: torch.Tensor | BoolArray, device: torch.device) -> torch.Tensor:
    tensor = mask if isinstance(mask, torch.Tensor) else torch.from_numpy(np.require(mask, requirements=["C", "W"]))
    return tensor.to(device=device, dtype=torch.bool)
