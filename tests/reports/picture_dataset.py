"""Drawn images with rectangles as truth, phrases that try to break out of HTML, and runs with stored masks over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from synthetic_runs import write_run

from ldznet_bench.datasets.sample import ImageFile, Sample
from ldznet_bench.masks import rle
from ldznet_bench.masks.geometry import Geometry, polygon
from ldznet_bench.masks.rasterise import rasterise

HOSTILE = ("<script>document.title='hacked'</script>", '"><img src=x onerror=alert(1)>', "</dialog><b>bold</b>", "&amp; \\u003c", "plain words")


class PictureDataset:
    """One sample per image, ids as `synthetic_runs` makes them with per_image=1."""

    def __init__(self, folder: Path, n: int = 8) -> None:
        self.fingerprint = "f" * 64
        self.name = "folder:shapes"
        self.samples: dict[str, tuple[ImageFile, Sample]] = {}
        rng = np.random.default_rng(0)
        for k in range(n):
            path = folder / f"{k}.png"
            Image.fromarray(rng.integers(0, 255, (200, 200, 3), dtype=np.uint8)).save(path)
            x, y = 20 + 5 * k, 30 + 3 * k
            geometry = Geometry(200, 200, ((polygon([x, y, x + 80, y, x + 80, y + 60, x, y + 60]),),))
            ident = f"{100 + k}__{k}"
            self.samples[ident] = (ImageFile(str(100 + k), path, 200, 200), Sample(ident, str(100 + k), HOSTILE[k % len(HOSTILE)], geometry))

    def find(self, sample_id: str) -> tuple[ImageFile, Sample]:
        return self.samples[sample_id]


def write_pictured_run(root: Path, data: PictureDataset, model: str, shift: int) -> Path:
    masks = []
    for _, sample in data.samples.values():
        truth = rasterise(sample.geometry.parts, 200, 200, "coco")
        masks.append((truth, np.roll(truth, shift, axis=1)))
    counts = {
        "gt_area": [int(truth.sum()) for truth, _ in masks],
        "pred_area": [int(pred.sum()) for _, pred in masks],
        "intersection": [int((truth & pred).sum()) for truth, pred in masks],
        "union": [int((truth | pred).sum()) for truth, pred in masks],
        "instance_areas": [[int(truth.sum())] for truth, _ in masks],
        "instance_intersections": [[int((truth & pred).sum())] for truth, pred in masks],
        "n_instances": [1] * len(masks),
        "phrase": [sample.phrase for _, sample in data.samples.values()],
        "pred_rle": [rle.encode(pred).counts.decode() for _, pred in masks],
    }
    return write_run(root, model, data.name, "native@1", n_images=len(masks), per_image=1, binary=True, overrides=counts)
