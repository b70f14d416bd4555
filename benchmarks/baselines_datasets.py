"""How the field opens these datasets: everything parsed into dicts of lists, each time a process starts. Written anew here to compare with."""

from __future__ import annotations

import json
import pickle
from collections import defaultdict
from pathlib import Path

import datasets


def parse_and_index(release: Path) -> dict[int, list[dict]]:
    """PhraseCut, CLIPSeg, LD-ZNet: the task file and the image list through json.load, tasks by image."""
    images = {entry["image_id"]: entry for entry in json.loads((release / "image_data_split.json").read_bytes())}
    tasks: dict[int, list[dict]] = defaultdict(list)
    for task in json.loads((release / "refer_test.json").read_bytes()):
        tasks[images[task["image_id"]]["image_id"]].append(task)
    return tasks


def standard_unpickler(path: Path) -> list[dict]:
    """REFER: the C unpickler, which runs whatever the file says."""
    return pickle.loads(path.read_bytes(), encoding="latin1")


def hugging_face_rows(folder: Path) -> int:
    """Every row of the Arrow form through Hugging Face `datasets`, coordinates as Python lists."""
    opened = datasets.load_from_disk(str(folder))
    return sum(len(row["xy"]) for row in opened)
