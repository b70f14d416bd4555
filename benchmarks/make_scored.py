"""Releases of PhraseCut's layout without photographs, and masks of them to score: the truth moved by a few pixels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from make_phrasecut import make_phrasecut
from PIL import Image, ImageDraw


def make(folder: Path, images: int, phrases: int, mode: str = "L", size: tuple[int, int] = (500, 375)) -> tuple[Path, Path]:
    """A seeded release of images of one size with ragged blobs, and its masks: 0 and 255 as most tools write them, or (mode 1) bits."""
    release = make_phrasecut(folder, images=images, phrases=phrases, size=size, files=False)
    return release, _masks(folder / "masks", json.loads((release / "refer_test.json").read_text()), lambda _: size, mode)


def repeat(folder: Path, source: Path, phrases: int, mode: str = "L") -> tuple[Path, Path]:
    """The test split of a release again and again, under other ids, until it has so many phrases; and its masks, as `make`."""
    entries = json.loads(next(source.glob("image_data_split*.json")).read_text())
    tasks = json.loads((source / "refer_test.json").read_text())
    annotated = {task["image_id"] for task in tasks}
    entries = [entry for entry in entries if entry["image_id"] in annotated]
    shift = 1 + max(annotated)
    rounds = range(-(-phrases // len(tasks)))
    many = [_again(task, shift * number) for number in rounds for task in tasks][:phrases]
    used = {task["image_id"] for task in many}
    images = [_again(entry, shift * number) for number in rounds for entry in entries]
    release = folder / "VGPhraseCut_v0"
    (release / "images").mkdir(parents=True)
    (release / "refer_test.json").write_text(json.dumps(many))
    (release / "image_data_split.json").write_text(json.dumps([image for image in images if image["image_id"] in used]))
    (release / "name_att_rel_count.json").write_bytes((source / "name_att_rel_count.json").read_bytes())
    sizes = {image["image_id"]: (image["width"], image["height"]) for image in images}
    return release, _masks(folder / "masks", many, lambda task: sizes[task["image_id"]], mode)


def _again(item: dict[str, Any], shift: int) -> dict[str, Any]:
    moved = {**item, "image_id": item["image_id"] + shift}
    return {**moved, "task_id": f"{moved['image_id']}__{item['task_id'].partition('__')[2]}"} if "task_id" in item else moved


def _masks(folder: Path, tasks: list[dict[str, Any]], size_of: Callable[[dict[str, Any]], tuple[int, int]], mode: str) -> Path:
    folder.mkdir(parents=True)
    for task in tasks:
        picture = Image.new(mode, size_of(task))
        draw = ImageDraw.Draw(picture)
        for polygon in (polygon for instance in task["Polygons"] for polygon in instance if len(polygon) > 1):
            draw.polygon([(x + 4, y + 3) for x, y in polygon], fill=255)
        picture.save(folder / f"{task['task_id']}.png")
    return folder
