"""Records: one sample's sufficient statistics under one protocol. Scores are re-made from them without masks or models."""

from __future__ import annotations

from typing import TypedDict

import pyarrow as pa

RECORD_SCHEMA_VERSION = 1


class Record(TypedDict):
    """One row of ``records.parquet``.

    Attributes:
        sample_id: the source's own id.
        image_id: of its image.
        phrase: the prompt.
        width: columns of the protocol's canvas.
        height: rows of the protocol's canvas.
        n_instances: annotated instances.
        category: class name, where the source has one.
        coco_id: COCO image id, where the source knows it.
        tags: slices the sample belongs to.
        gt_area: true pixels on the canvas.
        pred_area: predicted pixels at the run's threshold.
        intersection: pixels in both.
        union: pixels in either.
        instance_areas: true pixels per instance, on the canvas.
        instance_intersections: predicted pixels within each instance.
        hist_fg: pixels of the truth per score bin; bin b holds scores above exactly b of the grid's thresholds. None without a grid.
        hist_bg: the same for pixels outside the truth.
        seed: of the sample's draws, see `ldznet_bench.evaluation.seeds`.
        flags: what was odd about the sample ("image-size-mismatch", "missing-prediction", …).
        pred_rle: the predicted mask on the canvas, COCO compressed RLE; None with --no-masks.
        score_map: a quantised score map, see --keep-maps; None otherwise.
    """

    sample_id: str
    image_id: str
    phrase: str
    width: int
    height: int
    n_instances: int
    category: str | None
    coco_id: int | None
    tags: list[str]
    gt_area: int
    pred_area: int
    intersection: int
    union: int
    instance_areas: list[int]
    instance_intersections: list[int]
    hist_fg: object  # NDArray[int32] (K + 1,) or None
    hist_bg: object  # NDArray[int32] (K + 1,) or None
    seed: int
    flags: list[str]
    pred_rle: str | None
    score_map: bytes | None


SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("phrase", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("n_instances", pa.int32(), nullable=False),
        pa.field("category", pa.string()),
        pa.field("coco_id", pa.int64()),
        pa.field("tags", pa.list_(pa.string()), nullable=False),
        pa.field("gt_area", pa.int64(), nullable=False),
        pa.field("pred_area", pa.int64(), nullable=False),
        pa.field("intersection", pa.int64(), nullable=False),
        pa.field("union", pa.int64(), nullable=False),
        pa.field("instance_areas", pa.list_(pa.int64()), nullable=False),
        pa.field("instance_intersections", pa.list_(pa.int64()), nullable=False),
        pa.field("hist_fg", pa.list_(pa.int32())),
        pa.field("hist_bg", pa.list_(pa.int32())),
        pa.field("seed", pa.uint64(), nullable=False),
        pa.field("flags", pa.list_(pa.string()), nullable=False),
        pa.field("pred_rle", pa.string()),
        pa.field("score_map", pa.binary()),
    ],
    metadata={"ldznet_bench.records": str(RECORD_SCHEMA_VERSION)},
)
