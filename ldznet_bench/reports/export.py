"""Runs in the forms of others: Hugging Face's ``.eval_results`` and COCO results."""

from __future__ import annotations

import json
from typing import Any

import yaml

from ldznet_bench.errors import BenchError, RunError
from ldznet_bench.protocols import get_protocol
from ldznet_bench.reports.rules import stamps
from ldznet_bench.reports.runs import Run
from ldznet_bench.statistics.samples import read_batches


def eval_results(run: Run, hub_dataset: str) -> str:
    """YAML for a file in ``.eval_results/`` of a model repository on the Hugging Face Hub: an entry per metric, in percent.

    Args:
        run: a finished run; its notes state rules, threshold source and fingerprint.
        hub_dataset: id of the dataset's repository on the Hub, ``owner/name``; ours have none of their own.

    Raises:
        BenchError: not an id, or a run that must not stand beside others.
    """
    owner, _, name = hub_dataset.partition("/")
    if not owner or not name or "/" in name:
        raise BenchError(f"{hub_dataset!r} is not a dataset id of the Hub.", "Write owner/name.")
    wrong = stamps(run)
    if wrong:
        raise RunError(f"{run.path} is {' and '.join(wrong)}: it does not belong on a model's page.", "Run the whole cell from a clean checkout.")
    rules = get_protocol(run.protocol)
    split = run.dataset.partition(":")[2]
    entries = []
    for metric, value in run.summary["metrics"].items():
        if value is None:
            continue
        source = (run.summary.get("thresholds", {}).get(metric) or {}).get("source")
        threshold = f"; threshold {source}" if source else ""
        rule = f"{metric}@{run.protocol} ({rules.status}: {rules.summary}){threshold}"
        entry: dict[str, Any] = {
            "dataset": {"id": hub_dataset, "task_id": f"{split}-{metric}-{run.protocol}"},
            "value": round(100 * value, 4),
            "notes": f"{rule}; data {run.summary['fingerprint'][:16]}; run {run.summary['identity']}",
        }
        finished = run.about.get("provenance", {}).get("finished")
        entries.append({**entry, "date": str(finished)} if finished else entry)
    text: str = yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=10_000)
    return text


def coco_results(run: Run) -> str:
    """The masks as a COCO results file that `score --predictions` and pycocotools read: sample_id, image_id, score 1, RLE.

    Raises:
        RunError: the run stores no masks, or masks on a square canvas, which are no masks of the images.
    """
    rules = get_protocol(run.protocol)
    if rules.canvas is not None:
        raise RunError(f"{run.path} stores masks on a {rules.canvas}x{rules.canvas} square, not on the images.", "Export a run under native@1.")
    rows = []
    for batch in read_batches(run.path, ["sample_id", "image_id", "height", "width", "pred_rle"]):
        for item in batch.to_pylist():
            if item["pred_rle"] is None:
                raise RunError(f"{run.path} stores no mask of sample {item['sample_id']!r}.", "Run the cell without --no-masks.")
            image = item["image_id"]
            segmentation = {"size": [item["height"], item["width"]], "counts": item["pred_rle"]}
            ids = {"sample_id": item["sample_id"], "image_id": int(image) if image.isdecimal() else image}
            rows.append({**ids, "category_id": 1, "segmentation": segmentation, "score": 1.0})
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":")) + "\n"
