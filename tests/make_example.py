"""Draws the bundled example set, the same bytes every time for one version of Pillow.

    python tests/make_example.py datasets/example

Shapes on a plain ground, later ones over earlier ones; a mask is what is seen of them. Masks are PNG, run-length codes and polygons in turn,
so that every kind of the folder format is at work in one small set.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask as coco

SIZE = (160, 120)
COLOURS = {
    "red": (200, 45, 45),
    "green": (50, 160, 70),
    "blue": (50, 80, 200),
    "yellow": (230, 200, 50),
    "white": (240, 240, 240),
    "black": (25, 25, 25),
}
SHAPES = ("box", "disc", "triangle")
GROUNDS = ((120, 110, 100), (150, 160, 165), (90, 120, 120))


def outline(kind: str, x: int, y: int, size: int) -> list[tuple[int, int]]:
    if kind == "box":
        return [(x, y), (x + size, y), (x + size, y + size), (x, y + size)]
    if kind == "triangle":
        return [(x + size // 2, y), (x + size, y + size), (x, y + size)]
    steps = [2 * np.pi * k / 24 for k in range(24)]
    return [(round(x + size / 2 * (1 + np.cos(a))), round(y + size / 2 * (1 + np.sin(a)))) for a in steps]


def scene(draws: random.Random) -> tuple[Image.Image, list[dict]]:
    """A picture and its shapes: kind, colour, points, and the mask of what is seen."""
    image = Image.new("RGB", SIZE, draws.choice(GROUNDS))
    canvas, shapes = ImageDraw.Draw(image), []
    colours = draws.sample(sorted(COLOURS), 4)
    for number in range(draws.choice((3, 4))):
        kind, colour, size = draws.choice(SHAPES), colours[number % 3], draws.randrange(22, 56)
        points = outline(kind, draws.randrange(4, SIZE[0] - size - 4), draws.randrange(4, SIZE[1] - size - 4), size)
        canvas.polygon(points, fill=COLOURS[colour])
        drawn = Image.new("1", SIZE)
        ImageDraw.Draw(drawn).polygon(points, fill=1)
        mask = np.asarray(drawn)
        for earlier in shapes:
            earlier["mask"] = earlier["mask"] & ~mask
        shapes.append({"kind": kind, "colour": colour, "points": points, "mask": mask, "covered": False})
    for shape, earlier in ((shape, earlier) for n, shape in enumerate(shapes) for earlier in shapes[:n]):
        drawn = Image.new("1", SIZE)
        ImageDraw.Draw(drawn).polygon(earlier["points"], fill=1)
        earlier["covered"] |= bool((np.asarray(drawn) & shape["mask"]).any())
    return image, [shape for shape in shapes if shape["mask"].sum() > 60]


def phrases(shapes: list[dict]) -> list[tuple[str, str, list[dict]]]:
    """(phrase, category, shapes it means), each phrase once."""
    found: dict[str, tuple[str, str, list[dict]]] = {}
    for shape in shapes:
        same = [other for other in shapes if (other["kind"], other["colour"]) == (shape["kind"], shape["colour"])]
        name = f"{shape['colour']} {shape['kind']}"
        found.setdefault(name, (name + ("es" if len(same) > 1 and name.endswith("x") else "s" if len(same) > 1 else ""), shape["kind"], same))
    largest = max(shapes, key=lambda shape: int(shape["mask"].sum()))
    found["largest"] = (f"the largest {largest['kind']}" if len({s["kind"] for s in shapes}) > 1 else "the largest shape", largest["kind"], [largest])
    return list(found.values())


def write(folder: Path, images: int = 12, total: int = 40) -> None:
    """Write the set: ``images/``, ``masks/``, ``phrases.jsonl``."""
    draws = random.Random(20240611)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "masks").mkdir(exist_ok=True)
    rows: list[dict] = []
    for number in range(images):
        image, shapes = scene(draws)
        image.save(folder / "images" / f"{number:02}.png", optimize=True)
        left = -(-(total - len(rows)) // (images - number))
        for phrase, category, meant in phrases(shapes)[:left]:
            row = {
                "id": f"{number:02}-{phrase.replace(' ', '-')}",
                "image": f"{number:02}.png",
                "phrase": phrase,
                "split": "test",
                "category": category,
            }
            rows.append(row | truth(folder, row["id"], meant, len(rows)))
    (folder / "phrases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def truth(folder: Path, identifier: str, meant: list[dict], turn: int) -> dict:
    if turn % 3 == 0 and not any(shape["covered"] for shape in meant):
        return {"polygons": [[[list(map(int, point)) for point in shape["points"]]] for shape in meant], "width": SIZE[0], "height": SIZE[1]}
    if turn % 3 == 1:
        return {"rle": [rle(shape["mask"]) for shape in meant]}
    names = [f"{identifier}.png" if len(meant) == 1 else f"{identifier}-{n}.png" for n in range(len(meant))]
    for name, shape in zip(names, meant, strict=True):
        Image.fromarray(shape["mask"].astype(np.uint8) * 255).convert("1").save(folder / "masks" / name, optimize=True)
    return {"mask": names}


def rle(mask: np.ndarray) -> dict:
    code = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode()}


if __name__ == "__main__":
    write(Path(sys.argv[1]))
