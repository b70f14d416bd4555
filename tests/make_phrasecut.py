"""Makes a PhraseCut-like release of any size, seeded: for kill loops and benchmarks.

python tests/make_phrasecut.py DIR --images 2545 --phrases 14354
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image


def blob(draw: np.random.Generator, width: int, height: int) -> list[list[float]]:
    """A star-shaped polygon of 30 to 100 vertices with two decimals, as PhraseCut's annotators drew them."""
    count = int(draw.integers(30, 100))
    centre = draw.uniform(0.1, 0.9, 2) * (width, height)
    radius = draw.uniform(0.03, 0.3) * height * (1 + 0.15 * draw.standard_normal(count))
    angle = np.sort(draw.uniform(0, 2 * np.pi, count))
    points = centre[:, None] + radius * np.stack([np.cos(angle), np.sin(angle)])
    return np.round(np.clip(points.T, 0, (width - 1, height - 1)), 2).tolist()


def make_phrasecut(folder: Path, *, images: int, phrases: int, size: tuple[int, int] = (500, 375), split: str = "test", files: bool = True) -> Path:
    """Write ``VGPhraseCut_v0`` with one split.

    Args:
        folder: where to.
        images: how many; ids from 1 on.
        phrases: how many in all, spread over the images evenly; each has 1 to 5 instances of one polygon.
        size: width and height.
        split: its name.
        files: write (all alike, tiny) JPEG files too.
    """
    draw = np.random.default_rng(0)
    release = folder / "VGPhraseCut_v0"
    (release / "images").mkdir(parents=True)
    width, height = size
    tasks, entries, annotation = [], [], 0
    picture = draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
    for image in range(1, images + 1):
        entries.append({"image_id": image, "coco_id": None, "flickr_id": None, "width": width, "height": height, "url": "", "split": split})
        if files:
            Image.fromarray(np.roll(picture, image, axis=0)).save(release / "images" / f"{image}.jpg", quality=20)
        for _ in range(phrases * image // images - phrases * (image - 1) // images):
            polygons = [[blob(draw, width, height)] for _ in range(int(draw.choice([1, 1, 1, 2, 3, 5])))]
            annotation += 1
            structure = {"name": "thing", "attributes": [], "relation_ids": [], "relation_descriptions": [], "type": "name"}
            boxes = [[*np.min(part[0], 0), *np.ptp(part[0], 0)] for part in polygons]
            task = {"task_id": f"{image}__{annotation}", "image_id": image, "ann_ids": [annotation], "phrase": f"thing {annotation % 50}"}
            tasks.append({**task, "instance_boxes": boxes, "Polygons": polygons, "phrase_structure": structure})
    (release / f"refer_{split}.json").write_text(json.dumps(tasks))
    (release / "image_data_split.json").write_text(json.dumps(entries))
    (release / "name_att_rel_count.json").write_text(json.dumps({"cat": [["thing", 9]], "att": [], "rel": []}))
    return release


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=2545)
    parser.add_argument("--phrases", type=int, default=14354)
    parser.add_argument("--no-files", action="store_true")
    given = parser.parse_args()
    make_phrasecut(given.folder, images=given.images, phrases=given.phrases, files=not given.no_files)
