"""What tests of fetching share: little patience, a watcher that remembers, short ways to write a file of a card."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

from make_mirror import Hosts
from PIL import Image

from ldznet_bench.acquisition.network import Policy
from ldznet_bench.acquisition.specs import FileSpec
from ldznet_bench.acquisition.specs import Mirror as MirrorSpec

IMPATIENT = Policy(connect_timeout=2, read_timeout=2, retries=3, backoff=0.01, max_wait=3, slow_seconds=0.5, slow_bytes=1000)


class Notes:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.files: list[str] = []

    def moved(self, name: str, done: int, total: int | None) -> None:
        pass

    def arrived(self, name: str, size: int, mirror: str) -> None:
        self.files.append(name)

    def said(self, text: str) -> None:
        self.texts.append(text)


def spec_of(path: str, *urls: str, **options: object) -> FileSpec:
    return FileSpec(path, tuple(MirrorSpec(https=url) for url in urls), **options)  # type: ignore[arg-type]


def document(size: int = 300_000, seed: int = 0) -> bytes:
    """A JSON file of about a size, different in every place."""
    numbers = random.Random(seed)
    return json.dumps([numbers.randrange(10**9) for _ in range(size // 11)]).encode()


DATA = document()
SHA = hashlib.sha256(DATA).hexdigest()


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 12), (number % 256, number // 256, 7)).save(buffer, "JPEG")
    return buffer.getvalue()


def parquet(rows: list[dict]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def ref(number: int, split: str) -> dict:
    image = {"id": 7 + number, "file_name": f"COCO_train2014_{7 + number:012d}.jpg", "height": 64, "width": 96}
    polygons = [[1.5, 1, 9, 1, 9, 9], [20, 20, 30, 20, 30, 30]]
    annotation = {"id": 500 + number, "image_id": image["id"], "category_id": 1, "bbox": [1, 1, 8, 8], "iscrowd": 0, "segmentation": polygons}
    sentences = [{"raw": f"The Box, #{number}", "sent": f"the box {number}", "sent_id": 10 * number, "tokens": ["the", "box"]}]
    return {
        "sent_ids": [10 * number],
        "file_name": f"COCO_train2014_{7 + number:012d}_{number}.jpg",
        "ann_id": 500 + number,
        "ref_id": number,
        "image_id": image["id"],
        "split": split,
        "sentences": sentences,
        "category_id": 1,
        "raw_anns": json.dumps(annotation),
        "raw_image_info": json.dumps(image),
        "raw_sentences": json.dumps(sentences),
        "image_path": f"coco/train2014/{image['file_name']}",
    }


def flip(path: Path) -> None:
    """Other bytes, same size, same time: what a failing disk leaves."""
    state = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


Bench = Callable[..., tuple[int, str, str]]
"""Calls the command line; gives its exit code and what it said."""


def download(bench: Bench, *arguments: object) -> dict:
    code, out, err = bench("download", *arguments, "--json", "--quiet")
    assert code == 0, err
    return json.loads(out)


def make(hosts: Hosts, family: str) -> tuple[str, Path]:
    if family == "phrasecut":
        return "phrasecut:test", hosts.phrasecut()
    if family in ("grefcoco", "refcoco-m", "refcoco-m-old", "reasonseg"):
        makers = {"grefcoco": hosts.grefcoco, "reasonseg": hosts.reasonseg}
        names = {"grefcoco": "grefcoco-unc:val", "refcoco-m": "refcoco-m-new:val", "refcoco-m-old": "refcoco-m-old:val", "reasonseg": "reasonseg:val"}
        return names[family], makers.get(family, hosts.refcoco_m)()
    if family == "aigi":
        return "aigi:test", hosts.aigi()
    split, partition = {"refcoco": ("testA", "unc"), "refcoco+": ("testB", "unc"), "refcocog": ("test", "umd")}[family]
    return f"{family}-{partition}:{split}", hosts.refer(family, partition)
