"""From a score map and a target to a record: resize once, threshold, count. NumPy on the processor, torch where the map lives elsewhere."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from ldznet_bench.datasets.sample import ImageFile, Sample
from ldznet_bench.evaluation.targets import Target
from ldznet_bench.masks import rle
from ldznet_bench.masks.spans import area, spans_of
from ldznet_bench.metrics import counts
from ldznet_bench.metrics.resize import resize
from ldznet_bench.protocols import Protocol
from ldznet_bench.records import Record


def make_record(
    sample: Sample,
    image: ImageFile,
    target: Target,
    scores: Any,  # noqa: ANN401 - an array or a tensor
    protocol: Protocol,
    threshold: float,
    *,
    seed: int,
    flags: tuple[str, ...] = (),
    histograms: bool = True,
    keep_mask: bool = True,
    keep_map: bool = False,
) -> Record:
    """Count one sample.

    Args:
        sample: whose record it is.
        image: its image.
        target: the truth on the protocol's canvas, (H, W).
        scores: float32 (h, w) in [0, 1], or a bool mask, on any grid; resized to (H, W) by the protocol's rule unless it has that size.
        protocol: the rules.
        threshold: a pixel is predicted where its float32 score is > float32(threshold).
        seed: of the sample's draws.
        flags: what was odd about the sample.
        histograms: count at every threshold of the protocol's grid too.
        keep_mask: store the predicted mask as RLE.
        keep_map: store the score map on its own grid, quantised to 8 bits, as PNG.
    """
    height, width = target.shape
    on_canvas = resize(scores, (height, width), protocol.score_resize)
    predicted, (hist_fg, hist_bg) = _count(on_canvas, target, threshold, protocol.thresholds if histograms else None)
    if target.valid is not None:
        predicted = predicted & target.valid
    spans = spans_of(predicted)
    pred_area = area(spans)
    (gt_area, intersection), instance_areas, instance_intersections = target.shared(spans)
    return Record(
        sample_id=sample.sample_id,
        image_id=sample.image_id,
        phrase=sample.phrase,
        width=width,
        height=height,
        n_instances=len(sample.geometry.instances),
        category=sample.category,
        coco_id=image.coco_id,
        tags=list(sample.tags),
        gt_area=gt_area,
        pred_area=pred_area,
        intersection=intersection,
        union=gt_area + pred_area - intersection,
        instance_areas=instance_areas,
        instance_intersections=instance_intersections,
        hist_fg=hist_fg,
        hist_bg=hist_bg,
        seed=seed,
        flags=list(flags),
        pred_rle=rle.from_spans(spans, height, width).counts.decode("ascii") if keep_mask else None,
        score_map=_quantised_png(scores) if keep_map else None,
    )


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
