"""The part of `fixed_interval` that has to be torch's own: sigmoid and interpolation in the input's dtype, and sums of soft truths."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from ldznet_bench.errors import BenchError

AnyArray = npt.NDArray[Any]


def prepare(
    pred: AnyArray | torch.Tensor,
    gt: AnyArray | torch.Tensor,
    thresholds: npt.NDArray[np.float64],
    sigmoid: bool,
    resize_to: tuple[int, int] | None,
    resize_pred: bool,
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Predictions, truths and thresholds that compare in NumPy as the official evaluator compares them in torch.

    Args:
        pred: (n, 1, h, w).
        gt: (n, 1, H, W).
        thresholds: float64 (K,).
        sigmoid: apply it in the dtype of the prediction, before anything else.
        resize_to: see `fixed_interval.fixed_interval_counts`.
        resize_pred: see there.

    Returns:
        The prediction, the truth, and the thresholds rounded to the prediction's dtype.

    Raises:
        BenchError: something is to be resized that is not four-dimensional, or the truth is bfloat16.
    """
    scores, truth = torch.as_tensor(pred).detach().cpu(), torch.as_tensor(gt).detach().cpu()
    if (resize_to is not None or resize_pred) and not scores.ndim == truth.ndim == 4:
        raise BenchError(f"a prediction of {scores.ndim} and a truth of {truth.ndim} dimensions cannot be resized.", "Both have to be (n, 1, h, w).")
    if sigmoid:
        scores = scores.sigmoid()
    if resize_to is not None:
        truth = F.interpolate(truth, resize_to, mode="nearest")
        scores = F.interpolate(scores, resize_to, mode="bilinear", align_corners=False)
    if resize_pred:
        size = tuple(truth.shape[-2:])
        scores = torch.cat([F.interpolate(one[None].float(), size, mode="bilinear", align_corners=True) for one in scores])
    if truth.dtype == torch.bfloat16:
        raise BenchError("a bfloat16 truth cannot be counted: NumPy has no such type.", "Give it as float32 or uint8.")
    if not scores.is_floating_point():
        scores = scores.float()
    rounded = torch.from_numpy(thresholds).to(scores.dtype)
    return _array(scores), truth.numpy(), _array(rounded)


def truncated_sums(truth: AnyArray, starts: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Sums of ``truth[start:]`` and ``truth[:start]`` as torch adds them in the truth's dtype, each cut to an integer.

    Raises:
        BenchError: a half-precision sum is infinite.
    """
    values = torch.from_numpy(truth)
    try:
        sums = [(int(values[start:].sum()), int(values[:start].sum())) for start in starts.tolist()]
    except OverflowError as error:
        raise BenchError(f"the sum of a {truth.dtype} truth is infinite.", "Give the truth as float32 or uint8.") from error
    above, below = np.array(sums, dtype=np.int64).reshape(-1, 2).T
    return above, below


def _array(values: torch.Tensor) -> AnyArray:
    # NumPy has no bfloat16; widening keeps every value, and so every comparison.
    array: AnyArray = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return array
