"""Small releases in the real formats, drawn from a seed: PhraseCut and REFER as their authors lay them out. Sizes are the caller's.

python tests/make_releases.py OUT [images] [phrases]
"""

from __future__ import annotations

import io
import json
import math
import pickle
import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw

COLORS = ("red", "green", "blue", "yellow", "white", "black")
NAMES = ("box", "disc", "wall", "car", "tree", "person", "mattress", "cup")
RELATIONS = ("on wall", "next to car", "in front of tree")
KINDS = {(0, 0): "name", (1, 0): "attribute", (0, 1): "relation", (1, 1): "verbose"}


def photograph(path: Path, width: int, height: int, seed: int, *, quality: int = 60) -> None:
    """A JPEG of a few rectangles."""
    draws = random.Random(seed)
    image = Image.new("RGB", (width, height), tuple(draws.randrange(256) for _ in range(3)))
    canvas = ImageDraw.Draw(image)
    for _ in range(4):
        x, y = draws.randrange(width), draws.randrange(height)
        canvas.rectangle((x, y, x + width // 4, y + height // 4), fill=tuple(draws.randrange(256) for _ in range(3)))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    path.write_bytes(buffer.getvalue())


def ring(draws: random.Random, width: int, height: int, vertices: int, share: float = 0.2) -> list[list[float]]:
    """A star-shaped polygon of float vertices within the image."""
    radius = max(2.0, min(width, height) * share * draws.uniform(0.3, 1.0))
    cx, cy = draws.uniform(radius, width - radius), draws.uniform(radius, height - radius)
    angles = sorted(draws.uniform(0, 2 * math.pi) for _ in range(vertices))
    radii = [radius * draws.uniform(0.5, 1.0) for _ in angles]
    return [[round(cx + r * math.cos(a), 2), round(cy + r * math.sin(a), 2)] for a, r in zip(angles, radii, strict=True)]


def box_of(rings: list[list[list[float]]]) -> list[float]:
    xs, ys = [x for points in rings for x, _ in points], [y for points in rings for _, y in points]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def phrasecut(
    root: Path,
    *,
    images: int = 6,
    phrases: int = 20,
    split: str = "test",
    size: tuple[int, int] = (120, 90),
    vertices: tuple[int, int] = (5, 12),
    photographs: bool = True,
    seed: int = 0,
) -> Path:
    """``root/VGPhraseCut_v0`` with one split; tasks of an image are apart, as nothing in the format forbids."""
    draws = random.Random(seed)
    release = root / "VGPhraseCut_v0"
    (release / "images").mkdir(parents=True, exist_ok=True)
    width, height = size
    ids = [2300000 + 7 * number for number in range(images)]
    entries = [
        {"image_id": i, "coco_id": i if i % 2 else None, "flickr_id": None, "width": width, "height": height, "url": "", "split": split} for i in ids
    ]
    (release / "image_data_split.json").write_text(json.dumps(entries))
    ranked = {"cat": [[name, 100 - n] for n, name in enumerate(NAMES)], "att": [[c, 50 - n] for n, c in enumerate(COLORS)], "rel": []}
    (release / "name_att_rel_count.json").write_text(json.dumps(ranked))
    if photographs:
        for image_id in ids:
            photograph(release / "images" / f"{image_id}.jpg", width, height, image_id)
    with (release / f"refer_{split}.json").open("w") as file:
        for number in range(phrases):
            file.write("[" if number == 0 else ", ")
            json.dump(_task(draws, ids[number % images], number, width, height, vertices), file)
        file.write("]")
    return release


def _task(draws: random.Random, image_id: int, number: int, width: int, height: int, vertices: tuple[int, int]) -> dict:
    polygons = [
        [ring(draws, width, height, draws.randint(*vertices)) for _ in range(draws.choice((1, 1, 2)))] for _ in range(draws.choice((1, 1, 2, 5)))
    ]
    attributes, relations = draws.sample(COLORS, draws.randrange(3)), draws.sample(RELATIONS, draws.randrange(2))
    name = draws.choice(NAMES)
    ann_ids = [10 * number + k for k in range(len(polygons))]
    return {
        "task_id": f"{image_id}__{'_'.join(map(str, ann_ids))}",
        "image_id": image_id,
        "ann_ids": ann_ids,
        "instance_boxes": [box_of(rings) for rings in polygons],
        "Polygons": polygons,
        "phrase": " ".join([*attributes, name, *relations]),
        "phrase_structure": {
            "name": name,
            "attributes": attributes,
            "relation_ids": list(range(len(relations))),
            "relation_descriptions": [relation.split(" ", 1) for relation in relations],
            "type": KINDS[bool(attributes), bool(relations)],
        },
    }


def refer(root: Path, family: str = "refcoco", partition: str = "unc", *, images: int = 4, refs: int = 10, seed: int = 0, protocol: int = 2) -> Path:
    """``root/refer/<family>`` with its pickle, instances.json and photographs, splits train, val, testA and testB in turn."""
    draws = random.Random(seed)
    folder, photographs = root / "refer" / family, root / "refer" / "images" / "mscoco" / "images" / "train2014"
    folder.mkdir(parents=True, exist_ok=True)
    photographs.mkdir(parents=True, exist_ok=True)
    width, height, sentence = 96, 64, 0
    ids = [1000 + 13 * number for number in range(images)]
    entries = [{"id": i, "file_name": f"COCO_train2014_{i:012d}.jpg", "width": width, "height": height} for i in ids]
    annotations, listed = [], []
    for image_id in ids:
        photograph(photographs / f"COCO_train2014_{image_id:012d}.jpg", width, height, image_id)
    for number in range(refs):
        image_id, rings = ids[number % images], [ring(draws, width, height, 8) for _ in range(1 + number % 2)]
        flat = [[x for point in points for x in point] for points in rings]
        annotations.append(
            {"id": 500 + number, "image_id": image_id, "category_id": 1, "bbox": box_of(rings), "iscrowd": 0, "segmentation": flat, "area": 1.0}
        )
        sentences = []
        for _ in range(1 + number % 3):
            raw = f"The {draws.choice(COLORS)} {draws.choice(NAMES)}, #{sentence}"
            sentences.append({"sent_id": sentence, "raw": raw, "sent": raw.lower().replace(",", ""), "tokens": raw.lower().split()})
            sentence += 1
        listed.append(
            {
                "ref_id": number,
                "ann_id": 500 + number,
                "image_id": image_id,
                "category_id": 1,
                "split": ("train", "val", "testA", "testB")[number % 4],
                "sent_ids": [each["sent_id"] for each in sentences],
                "file_name": f"COCO_train2014_{image_id:012d}_{number}.jpg",
                "sentences": sentences,
            }
        )
    instances = {"images": entries, "annotations": annotations, "categories": [{"id": 1, "name": "thing", "supercategory": "thing"}]}
    (folder / "instances.json").write_text(json.dumps(instances))
    (folder / f"refs({partition}).p").write_bytes(pickle.dumps(listed, protocol=protocol))
    return folder


def grefcoco(root: Path, *, images: int = 4, refs: int = 24, seed: int = 0) -> Path:
    """``root/refer/grefcoco``: refs of none, one and several objects as JSON, a crowd among them, over the photographs of `refer`."""
    folder = refer(root, "refcoco", images=images, refs=refs, seed=seed)
    instances = json.loads((folder / "instances.json").read_text())
    instances["annotations"][0] |= {"iscrowd": 1, "segmentation": {"size": [64, 96], "counts": [0, 20, 6124]}}
    instances["categories"].append({"id": 2, "name": "other", "supercategory": "thing"})
    by_image: dict[int, list[int]] = {}
    for annotation in instances["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation["id"])
    listed = pickle.loads((folder / "refs(unc).p").read_bytes())
    for number, ref in enumerate(listed):
        targets = by_image[ref["image_id"]][: (number // 4) % 3]
        ref |= {"ann_id": targets or [-1], "category_id": [1] * len(targets) or [-1], "no_target": not targets, "file_name": ref["file_name"]}
        ref["ann_id"] = ref["ann_id"][0] if len(targets) == 1 and number % 2 else ref["ann_id"]  # older files have a bare number
    release = root / "refer" / "grefcoco"
    release.mkdir()
    (release / "grefs(unc).json").write_text(json.dumps(listed))
    (release / "instances.json").write_text(json.dumps(instances))
    return release


def refcoco_m(root: Path, *, images: int = 3, refs: int = 16, shards: int = 2, seed: int = 0) -> Path:
    """``root/refer/refcoco-m/data/validation-*.parquet`` made from half of the val refs of a `refer` release, with masks of their own."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pycocotools import mask as coco

    folder = refer(root, "refcoco", images=images, refs=refs, seed=seed)
    instances = json.loads((folder / "instances.json").read_text())
    boxes = {annotation["id"]: annotation["bbox"] for annotation in instances["annotations"]}
    rows: dict[int, dict] = {}
    for ref in [ref for ref in pickle.loads((folder / "refs(unc).p").read_bytes()) if ref["split"] == "val"][::2]:
        image_id, box = ref["image_id"], boxes[ref["ann_id"]]
        x, y, w, h = box
        code = coco.frPyObjects([[x, y, x + w, y, x + w, y + h, x, y + h]], 64, 96)[0]
        name = f"COCO_train2014_{image_id:012d}.jpg"
        row = rows.setdefault(image_id, {"image": {"bytes": b"jpeg", "path": name}, "image_id": image_id, "file_name": name, "samples": []})
        row["samples"].append(
            {
                "id": 9000 + ref["ref_id"],
                "image_id": image_id,
                "category": "thing",
                "supercategory": "thing",
                "label": "thing",
                "sentences": [sentence["sent"] for sentence in ref["sentences"]],
                "bbox": box,
                "mask": {"counts": code["counts"].decode(), "size": [64, 96]},
            }
        )
    release = root / "refer" / "refcoco-m"
    (release / "data").mkdir(parents=True)
    for shard in range(shards):
        table = pa.Table.from_pylist(list(rows.values())[shard::shards] or [])
        pq.write_table(table, release / "data" / f"validation-{shard:05d}-of-{shards:05d}.parquet")
    return release


def reasonseg(root: Path, *, images: int = 6, splits: tuple[str, ...] = ("val", "test"), seed: int = 0) -> Path:
    """``root/ReasonSeg/<split>``: photographs with a JSON each, short and long queries, shapes of every label, one file in code page 1252."""
    draws = random.Random(seed)
    for split in splits:
        folder = root / "ReasonSeg" / split
        folder.mkdir(parents=True)
        for number in range(images):
            width, height = 90 + 10 * number, 70
            photograph(folder / f"{number}_img.jpg", width, height, number)
            labels = ["target", *(["ignore"] if number % 2 else []), *(["flag"] if number == 2 else []), *(["target"] if number == 4 else [])]
            shapes = [
                {"label": label, "labels": [label], "shape_type": "polygon", "points": ring(draws, width, height, 7, 0.4), "flags": {}}
                for label in labels
            ]
            texts = [f"what keeps the caf\u00e9 warm, {split} {number}?", *(["the same thing"] if number % 3 == 0 else [])]
            value = {"text": texts, "is_sentence": bool(number % 2), "shapes": shapes}
            (folder / f"{number}_img.json").write_bytes(json.dumps(value, ensure_ascii=False).encode("cp1252" if number == 1 else "utf-8"))
    return root / "ReasonSeg"


if __name__ == "__main__":
    target = Path(sys.argv[1])
    numbers = [int(argument) for argument in sys.argv[2:4]] or [6, 20]
    phrasecut(target, images=numbers[0], phrases=numbers[-1])
    refer(target)
