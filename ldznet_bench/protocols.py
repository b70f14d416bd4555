"""Protocols: named, versioned sets of rules that turn score maps and geometry into a number.

A protocol is data. Everything that reads it (rasterising, resizing, counting, scoring) is told what to do by these fields alone, so that
a table can print the rules of each of its columns and a run can be repeated from its digest. A rule that changes makes a new version.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ldznet_bench.errors import unknown_name

Status = Literal["official", "inferred", "ours"]
Rasteriser = Literal["skimage", "pil", "coco", "coco-sum-equals-one"]
TruthResize = Literal["none", "nearest-floor", "nearest-pil"]
ScoreResize = Literal["bilinear", "bilinear-aligned"]
ThresholdSource = Literal["fixed", "tuned-on-val", "oracle-test"]

# The images whose annotated size is not the file's; CLIPSeg and LD-ZNet drop them (CLIPSeg datasets/phrasecut.py).
CLIPSEG_EXCLUDED_IMAGES = (
    *("61530", "61564", "150333", "150344", "150417", "150516", "285665", "285743", "285761", "285814", "286065", "286093"),
    *("498010", "498042", "498187", "498246", "498269"),
)


@dataclass(frozen=True, slots=True)
class Grid:
    """Thresholds at which pixels are counted.

    Attributes:
        kind: ``linear`` over scores (CLIPSeg's 49) or ``logit``: uniform in the logit of the score.
        low: first threshold, in score (linear) or logit units.
        high: last threshold, inclusive, in the same units.
        count: how many before duplicates in float32 are dropped.
    """

    kind: Literal["linear", "logit"]
    low: float
    high: float
    count: int

    def thresholds(self) -> npt.NDArray[np.float32]:
        """Strictly ascending float32 thresholds in (0, 1). A pixel is positive where its float32 score is > the threshold."""
        return _thresholds(self)


@functools.cache
def _thresholds(grid: Grid) -> npt.NDArray[np.float32]:
    if grid.kind == "linear":
        # linspace over the closed unit interval, ends dropped: bit-equal to CLIPSeg's np.linspace(0, 1, 51)[1:-1].
        values = np.linspace(0, 1, grid.count + 2)[1:-1]
    else:
        values = 1 / (1 + np.exp(-np.linspace(grid.low, grid.high, grid.count)))
    thresholds = np.unique(values.astype(np.float32))
    thresholds = thresholds[(thresholds > 0) & (thresholds < 1)]
    thresholds.flags.writeable = False
    return thresholds


CLIPSEG_GRID = Grid("linear", 0.02, 0.98, 49)
# 64 per unit of logit, 6,431 distinct in float32. The step of 1/64 just separates every two levels of an 8-bit map, and keeps
# pixel AP within 2e-3 of scikit-learn's for logits of scale 1 and up (1/32: off by up to 3.6e-3 at scale 1). The range is float32's own:
# saturated logits of scale 10-30 lose up to 9.8e-2 with a lower end of -20, 3.4e-2 with -40, 2e-4 with -87; above 17 there is only 1.0.
# Errors by family of maps: tests/metrics/test_average_precision.py. Empty bins compress: 1-5 KB a record, 1.5 ms to count at 640x480.
LOGIT_GRID = Grid("logit", -87.0, 17.0, 6657)


@dataclass(frozen=True, slots=True)
class Protocol:
    """The rules of one evaluation.

    Attributes:
        name: short name; the full one is ``name@version``.
        version: grows when any rule below changes.
        status: ``official`` (a published evaluator, reproduced), ``inferred`` (no evaluator was published), ``ours``.
        source: where the rules come from.
        summary: the rules in one sentence, for footnotes of tables.
        rasteriser: how polygons become pixels; RLE and bitmaps bypass it.
        canvas: side of the square on which is counted; None is the annotation canvas.
        truth_resize: how the truth gets to a square canvas.
        score_resize: how score maps get to the canvas; maps of the canvas' own size are left untouched, bit for bit.
        threshold: a pixel is predicted where score > threshold (strict, in float32), unless a tuned one is given.
        grid: thresholds to count at, or None.
        smoothing: added to every denominator (CLIPSeg: 1).
        empty_iou: the IoU of an empty prediction on an empty truth.
        excluded_images: PhraseCut image ids that are left out.
        drop_empty_boxes: leave out samples whose boxes have no area (CLIPSeg's min_size=0), where the source states boxes.
        strict_precision: Pr@X / acc@X counts IoU > X (True) or IoU >= X (False).
        metrics: what is reported, in order; the first is the headline.
    """

    name: str
    version: int
    status: Status
    source: str
    summary: str
    rasteriser: Rasteriser
    canvas: int | None
    truth_resize: TruthResize
    score_resize: ScoreResize
    threshold: float
    grid: Grid | None
    smoothing: int
    empty_iou: int
    excluded_images: tuple[str, ...]
    drop_empty_boxes: bool
    strict_precision: bool
    metrics: tuple[str, ...]

    @property
    def full_name(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @property
    def scores_no_target(self) -> bool:
        """Whether a sample that is annotated as having no target has a rule: evaluators that score empty on empty 0 would call every answer wrong."""
        return self.empty_iou == 1

    @property
    def headline(self) -> str:
        """The metric that a table shows when none is asked for."""
        return self.metrics[0]

    @property
    def thresholds(self) -> npt.NDArray[np.float32] | None:
        """Float32 thresholds of `grid`, or None."""
        return None if self.grid is None else self.grid.thresholds()

    def digest(self) -> str:
        """Sha256 (hex) over every rule: part of a cell's identity."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def threshold_source(self, metric: str, tuned: bool) -> ThresholdSource | None:
        """Where the threshold behind a metric comes from; None for AP, which has no single one."""
        if metric.endswith("_best"):
            return "oracle-test"
        if metric == "ap":
            return None
        return "tuned-on-val" if tuned else "fixed"


def _at(prefix: str) -> tuple[str, ...]:
    return tuple(f"{prefix}{level}" for level in (50, 60, 70, 80, 90))


_CLIPSEG = Protocol(
    name="clipseg",
    version=1,
    status="official",
    source="CLIPSeg metrics.py FixedIntervalMetrics, score.py and datasets/phrasecut.py (timojl/clipseg 77c4e2d)",
    summary="352x352 squash, skimage masks, 49 thresholds (strict >), +1 in denominators, t = 0.3, Simpson AP, 17 images dropped",
    rasteriser="skimage",
    canvas=352,
    truth_resize="nearest-floor",
    score_resize="bilinear-aligned",
    threshold=0.3,
    grid=CLIPSEG_GRID,
    smoothing=1,
    empty_iou=0,
    excluded_images=CLIPSEG_EXCLUDED_IMAGES,
    drop_empty_boxes=True,
    strict_precision=True,
    metrics=("miou", "miou_best", "iou_fg", "iou_fg_best", "ap"),
)

_REFER = Protocol(
    name="refer",
    version=1,
    status="official",
    source="REFER refer.py getMask with the sentence-level loop of LAVT test.py, at native size",
    summary="native size, pycocotools union, p > 0.5, mean and overall IoU per sentence, Pr@X with >=, empty on empty scores 0",
    rasteriser="coco",
    canvas=None,
    truth_resize="none",
    score_resize="bilinear",
    threshold=0.5,
    grid=None,
    smoothing=0,
    empty_iou=0,
    excluded_images=(),
    drop_empty_boxes=False,
    strict_precision=False,
    metrics=("miou", "oiou", *_at("pr")),
)

PROTOCOLS: dict[str, Protocol] = {
    protocol.full_name: protocol
    for protocol in (
        _CLIPSEG,
        dataclasses.replace(
            _CLIPSEG,
            name="ldznet",
            status="inferred",
            source="LD-ZNet section 5 and configs/ldznet/phrasecut_testdata_config.yaml; the authors shipped no scorer",
            summary="384x384 squash, skimage masks, 49 thresholds (strict >), +1 in denominators, best threshold on the test set, "
            "Simpson AP, 17 images dropped",
            canvas=384,
            metrics=("miou_best", "iou_fg_best", "ap", "miou", "iou_fg"),
        ),
        Protocol(
            name="phrasecut",
            version=1,
            status="official",
            source="PhraseCut evaluate.py and utils/ (ChenyunWu/PhraseCutDataset 276470b)",
            summary="the prediction's size, PIL masks, p > 0.5, mean and cumulative IoU over tasks, acc@X with >, empty on empty scores 0",
            rasteriser="pil",
            canvas=None,
            truth_resize="none",
            score_resize="bilinear",
            threshold=0.5,
            grid=None,
            smoothing=0,
            empty_iou=0,
            excluded_images=(),
            drop_empty_boxes=False,
            strict_precision=True,
            # PhraseCut calls the overall IoU cumulative; both names are written so that either column can be asked for.
            metrics=("miou", "ciou", "oiou", *_at("acc")),
        ),
        _REFER,
        dataclasses.replace(
            _REFER,
            name="lavt",
            source="LAVT test.py and data/dataset_refer_bert.py",
            summary="480x480, masks by pycocotools where exactly one part covers a pixel (overlaps become background), PIL nearest truth, "
            "mean and overall IoU per sentence, Pr@X with >=, empty on empty scores 0",
            rasteriser="coco-sum-equals-one",
            canvas=480,
            truth_resize="nearest-pil",
        ),
        Protocol(
            name="native",
            version=1,
            status="ours",
            source="ldznet_bench docs/protocols.md",
            summary="annotation canvas, pycocotools union, p > 0.5 or a threshold tuned on val, empty on empty scores 1, "
            "pixel AP over thresholds uniform in logit",
            rasteriser="coco",
            canvas=None,
            truth_resize="none",
            score_resize="bilinear",
            threshold=0.5,
            grid=LOGIT_GRID,
            smoothing=0,
            empty_iou=1,
            excluded_images=(),
            drop_empty_boxes=False,
            strict_precision=False,
            metrics=("miou", "oiou", "dice", *_at("pr"), "ap"),
        ),
        dataclasses.replace(
            _REFER,
            name="lisa",
            source="LISA train_ds.py validate (dvlab-research/LISA 2261509)",
            summary="native size, pycocotools union, p > 0.5, gIoU (mean) and cIoU (summed) over samples, empty on empty scores 1",
            empty_iou=1,
            metrics=("giou", "ciou"),
        ),
        dataclasses.replace(
            _REFER,
            name="gres",
            source="ReLA gres_model/evaluation/refer_evaluation.py (henghuiding/ReLA), the evaluator of gRefCOCO",
            summary="native size, pycocotools union, p > 0.5, gIoU (a right no-target scores 1, a false alarm 0), cIoU (a false alarm's area "
            "joins the union), N-acc and T-acc; a prediction is empty where no pixel is positive",
            empty_iou=1,
            metrics=("giou", "ciou", "n_acc", "t_acc"),
        ),
    )
}

DEFAULT_PROTOCOL = "native@1"


def get_protocol(name: str) -> Protocol:
    """The protocol of a full or bare name (the newest version of it).

    Args:
        name: ``clipseg@1`` or ``clipseg``.

    Raises:
        BenchError: nothing answers to the name; the nearest one is named.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    versions = [protocol for protocol in PROTOCOLS.values() if protocol.name == name]
    if not versions:
        raise unknown_name("protocol", name, PROTOCOLS)
    return max(versions, key=lambda protocol: protocol.version)
