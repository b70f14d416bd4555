"""Finished run folders from random counts: no data, no model. Every column is consistent with every other, as the loop would have written it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ldznet_bench.evaluation.summary import COLUMNS, summarise
from ldznet_bench.protocols import Protocol, get_protocol
from ldznet_bench.records import SCHEMA

WORDS = ("black", "shirt", "man", "left", "tree", "two", "parked", "cars")


def write_run(
    root: Path,
    model: str = "alpha/full",
    dataset: str = "phrasecut:test",
    protocol: str = "clipseg@1",
    *,
    n_images: int = 60,
    per_image: int = 4,
    skill: float = 1.0,
    data_seed: int = 0,
    model_seed: int = 0,
    run_seed: int = 0,
    binary: bool = False,
    partial: list[str] | None = None,
    limit: int | None = None,
    dirty: bool = False,
    mini: bool = False,
    fingerprint: str = "f" * 64,
    drop: int = 0,
    overrides: dict[str, Any] | None = None,
    coco_ids: bool = False,
    weights: str | None = None,
    threshold: float | None = None,
    top: float = 1.0,
) -> Path:
    """Write one finished run; equal `data_seed` and sizes give the same samples, `skill` moves every score, all of which are below `top`."""
    rules = get_protocol(protocol)
    seeds = {"data_seed": data_seed, "model_seed": model_seed, "run_seed": run_seed}
    table = make_table(rules, n_images, per_image, skill=skill, binary=binary, coco_ids=coco_ids, top=top, **seeds)
    for name, values in (overrides or {}).items():
        table = table.set_column(table.schema.get_field_index(name), SCHEMA.field(name), pa.array(values, SCHEMA.field(name).type))
    table = table.slice(drop)
    identity = {"dataset": dataset, "protocol": protocol, "model": model, "seed": run_seed, "fingerprint": fingerprint, "weights": weights}
    identity["threshold"] = threshold
    hidden = {"skill": skill, "drop": drop, "model_seed": model_seed}
    digest = hashlib.sha256(json.dumps({**identity, **hidden}, sort_keys=True).encode()).hexdigest()[:12]
    name = model.replace("/", "--")
    path = root / dataset.replace("/", "--") / protocol / name / (digest if limit is None else f"{digest}-limit{limit}")
    path.mkdir(parents=True)
    pq.write_table(table, path / "records.parquet", row_group_size=1024, compression="zstd")
    stamps = [*(["partial"] if partial else []), *(["limited"] if limit is not None else [])]
    scores = summarise(table.select(COLUMNS).to_batches(), rules, dense=not binary, threshold=rules.threshold, tuned=False)
    summary = {
        "dataset": dataset,
        "protocol": protocol,
        "model": model,
        **scores,
        "status": rules.status,
        "threshold": {"value": rules.threshold, "source": "fixed", "file": None},
        "binary": binary,
        "limit": limit,
        "partial": partial or [],
        "absent_slices": [],
        "missing": None,
        "fingerprint": fingerprint,
        "identity": digest,
    }
    about = {
        "status": "complete",
        "content": "no-masks",
        "dataset": dataset,
        "protocol": protocol,
        "model": model,
        "identity_digest": digest,
        "identity": identity,
        "rules": dataclasses.asdict(rules),
        "stamps": stamps,
        "data": {"n_samples": table.num_rows, "n_images": n_images, "partial": partial or [], "mini": mini},
        "provenance": {"dirty": dirty, "limit": limit, "finished": "2026-01-01T00:00:00+00:00"},
    }
    (path / "summary.json").write_text(json.dumps(summary))
    (path / "run.json").write_text(json.dumps(about))
    return path


def make_table(
    rules: Protocol,
    n_images: int,
    per_image: int,
    *,
    skill: float,
    data_seed: int,
    model_seed: int,
    run_seed: int,
    binary: bool,
    coco_ids: bool,
    top: float = 1.0,
) -> pa.Table:
    """Records of n_images x (1 to 2 per_image - 1) samples."""
    data, draw = np.random.default_rng(data_seed), np.random.default_rng([model_seed, 7])
    sizes = data.integers(1, 2 * per_image, n_images)
    image = np.repeat(np.arange(n_images), sizes)
    n, side = len(image), rules.canvas or 200
    gt = np.maximum(20, (side * side * data.beta(0.6, 4, n)).astype(np.int64))
    n_instances = data.integers(1, 7, n)
    ease = data.normal(0, 1, n_images)[image] + data.normal(0, 1, n)
    logits = skill + ease + draw.normal(0, 0.8, n)
    hist_fg, hist_bg, inter, pred = _counts(rules, gt, side * side - gt, logits, binary, top)
    areas = [_split(int(area), int(count)) for area, count in zip(gt, n_instances, strict=True)]
    hits = [_share_out(int(hit), parts) for hit, parts in zip(inter, areas, strict=True)]
    columns: dict[str, Any] = {
        "sample_id": [f"{100 + i}__{k}" for k, i in enumerate(image)],
        "image_id": [str(100 + i) for i in image],
        "phrase": [" ".join(data.choice(WORDS, data.integers(1, 6))) for _ in range(n)],
        "width": np.full(n, side),
        "height": np.full(n, side),
        "n_instances": n_instances,
        "category": [("man", "tree", None)[i % 3] for i in range(n)],
        "coco_id": [(int(i) if coco_ids and i % 3 else None) for i in image],
        "tags": [["all", "p_att" if k % 2 else "p_name"] for k in range(n)],
        "gt_area": gt,
        "pred_area": pred,
        "intersection": inter,
        "union": gt + pred - inter,
        "instance_areas": areas,
        "instance_intersections": hits,
        "hist_fg": None if hist_fg is None else list(hist_fg),
        "hist_bg": None if hist_bg is None else list(hist_bg),
        "seed": np.full(n, run_seed, dtype=np.uint64),
        "flags": [[] for _ in range(n)],
        "pred_rle": [None] * n,
        "score_map": [None] * n,
    }
    columns = {name: [None] * n if value is None else value for name, value in columns.items()}
    return pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)


def _counts(
    rules: Protocol, gt: np.ndarray, rest: np.ndarray, logits: np.ndarray, binary: bool, top: float
) -> tuple[Any, Any, np.ndarray, np.ndarray]:
    hit, spill = 1 / (1 + np.exp(-logits)), 0.3 / (1 + np.exp(logits))
    thresholds = rules.thresholds
    if thresholds is None or binary:
        inter = (gt * hit).astype(np.int64)
        return None, None, inter, inter + np.minimum(rest, (gt * spill).astype(np.int64))
    # Cumulated shares of pixels that exceed no more than b thresholds: a smooth curve through (threshold, share).
    t = np.minimum(1.0, thresholds.astype(float) / top)
    below_fg = t[None, :] ** (2.5 * hit[:, None] + 0.05)
    below_bg = 1 - (spill * gt / np.maximum(rest, 1))[:, None] * (1 - t[None, :]) ** 1.5 * 4
    hist_fg, hist_bg = (_histogram(share.clip(0, 1), total) for share, total in ((below_fg, gt), (below_bg, rest)))
    above = np.searchsorted(thresholds, np.float32(rules.threshold)) + 1
    inter = hist_fg[:, above:].sum(axis=1, dtype=np.int64)
    return hist_fg, hist_bg, inter, inter + hist_bg[:, above:].sum(axis=1, dtype=np.int64)


def _histogram(share: np.ndarray, total: np.ndarray) -> np.ndarray:
    edges = np.floor(np.maximum.accumulate(share, axis=1) * total[:, None]).astype(np.int64)
    return np.diff(edges, prepend=0, append=total[:, None]).astype(np.int32)


def _split(area: int, parts: int) -> list[int]:
    return [area // parts] * (parts - 1) + [area - area // parts * (parts - 1)]


def _share_out(hits: int, areas: list[int]) -> list[int]:
    found = []
    for area in areas:
        found.append(min(area, hits))
        hits -= found[-1]
    return found
