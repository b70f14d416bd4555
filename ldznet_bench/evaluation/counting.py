"""From a score map and a target to a record: resize once, threshold, count. NumPy on the processor, torch where the map lives elsewhere."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ldznet_bench.datasets.sample import ImageFile, Sample
from ldznet_bench.evaluation.targets import Target
from ldznet_bench.masks import rle
from ldznet_bench.masks.spans import Spans, StoredMask, shared, spans_of
from ldznet_bench.metrics import counts
from ldznet_bench.metrics.resize import resize
from ldznet_bench.protocols import Protocol
from ldznet_bench.records import Record


@dataclass(slots=True)
class Counted:
    """One sample on the protocol's canvas, before what it shares with the truth is counted.

    Attributes:
        sample: whose record it will be.
        image: its image.
        target: the truth, (H, W).
        spans: of the predicted mask, on the same canvas.
        histograms: of the scores, in the truth and outside it; None each where nobody asked.
        seed: of the sample's draws.
        flags: what was odd about the sample.
        score_map: the stored score map, if it is stored.
    """

    sample: Sample
    image: ImageFile
    target: Target
    spans: Spans
    histograms: tuple[Any, Any]
    seed: int
    flags: tuple[str, ...]
    score_map: bytes | None


def count(
    sample: Sample,
    image: ImageFile,
    target: Target,
    scores: Any,  # noqa: ANN401 - an array, a tensor, or a mask by its spans
    protocol: Protocol,
    threshold: float,
    *,
    seed: int,
    flags: tuple[str, ...] = (),
    histograms: bool = True,
    keep_map: bool = False,
) -> Counted:
    """Bring one score map to the canvas, threshold it, and count what needs its pixels.

    Args:
        sample: whose record it is.
        image: its image.
        target: the truth on the protocol's canvas, (H, W).
        scores: float32 (h, w) in [0, 1], or a mask, on any grid; resized to (H, W) by the protocol's rule unless it has that size.
        protocol: the rules.
        threshold: a pixel is predicted where its float32 score is > float32(threshold).
        seed: of the sample's draws.
        flags: what was odd about the sample.
        histograms: count at every threshold of the protocol's grid too.
        keep_map: store the score map on its own grid, quantised to 8 bits, as PNG.
    """
    if isinstance(scores, StoredMask):
        fits = scores.shape == target.shape and target.valid is None and 0 <= threshold < 1
        if scores.spans is not None and fits and not histograms and not keep_map:  # nothing asks for its pixels
            return Counted(sample, image, target, scores.spans, (None, None), seed, flags, None)
        scores = scores.pixels
    on_canvas = resize(scores, target.shape, protocol.score_resize)
    predicted, found = _count(on_canvas, target, threshold, protocol.thresholds if histograms else None)
    if target.valid is not None:
        predicted = predicted & target.valid
    return Counted(sample, image, target, spans_of(predicted), found, seed, flags, _quantised_png(scores) if keep_map else None)


def make_records(counted: Sequence[Counted], *, keep_masks: bool = True) -> list[Record]:
    """The records of some samples; what masks share is counted at once.

    Args:
        counted: the samples, at least one.
        keep_masks: store the predicted masks as RLE.
    """
    spans = [its.spans for its in counted]
    pairs = shared([its.target.spans for its in counted], spans)
    pixels = [its.target.shape[0] * its.target.shape[1] for its in counted]
    codes = [code.decode("ascii") for code in rle.strings(spans, pixels)] if keep_masks else [None] * len(spans)
    return [_record(its, *pair, code) for its, pair, code in zip(counted, pairs, codes, strict=True)]


def _record(its: Counted, areas: list[int], intersections: list[int], pred_area: int, code: str | None) -> Record:
    sample, (height, width), first = its.sample, its.target.shape, its.target.first
    return {
        "sample_id": sample.sample_id,
        "image_id": sample.image_id,
        "phrase": sample.phrase,
        "width": width,
        "height": height,
        "n_instances": len(sample.geometry.instances),
        "category": sample.category,
        "coco_id": its.image.coco_id,
        "tags": list(sample.tags),
        "gt_area": areas[0],
        "pred_area": pred_area,
        "intersection": intersections[0],
        "union": areas[0] + pred_area - intersections[0],
        "instance_areas": areas[first:],
        "instance_intersections": intersections[first:],
        "hist_fg": its.histograms[0],
        "hist_bg": its.histograms[1],
        "seed": its.seed,
        "flags": list(its.flags),
        "pred_rle": code,
        "score_map": its.score_map,
    }


def _count(
    scores: Any,  # noqa: ANN401 - an array or a tensor
    target: Target,
    threshold: float,
    grid: npt.NDArray[np.float32] | None,
) -> tuple[npt.NDArray[np.bool_], tuple[Any, Any]]:
    if isinstance(scores, np.ndarray) or scores.device.type == "cpu":
        array = np.asarray(scores)
        return counts.binarise(array, threshold), (None, None) if grid is None else counts.histograms(*_counted(array, target), grid)
    from ldznet_bench.metrics import torch_counts

    found = (None, None) if grid is None else torch_counts.histograms(*_counted(scores, target), grid)
    return torch_counts.binarise(scores, threshold).cpu().numpy(), found


def _counted(scores: Any, target: Target) -> tuple[Any, npt.NDArray[np.bool_]]:  # noqa: ANN401 - an array or a tensor
    """Scores and truth of the pixels that count: as they are, or (n,) each where some are ignored."""
    return (scores, target.mask) if target.valid is None else (scores[target.valid], target.mask[target.valid])


def _quantised_png(scores: Any) -> bytes:  # noqa: ANN401 - an array or a tensor
    from PIL import Image

    array = scores if isinstance(scores, np.ndarray) else scores.cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(np.rint(array * np.float32(255)).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
