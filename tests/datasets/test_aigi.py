"""The same four objects on two images in every layout that is recognised."""

import json

import make_releases
import numpy as np
import pytest
from PIL import Image

from ldznet_bench.errors import DataError
from ldznet_bench.masks.rasterise import rasterise

SIZE = (24, 16)
OBJECTS = [
    ("001", "Teddy Bear", (2, 2, 8, 8)),
    ("001", "Cars", (10, 1, 14, 5)),
    ("001", "Cars", (16, 9, 20, 14)),
    ("002", "Tsunami Giant Wave Water", (1, 6, 22, 15)),
]
EXPECTED = {
    "001__teddy_bear": ("Teddy Bear", 1),
    "001__cars": ("Cars", 2),
    "002__tsunami_giant_wave_water": ("Tsunami Giant Wave Water", 1),
}


def rows_of(box):
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = 255
    return mask


def corners(x0, y0, x1, y1):
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def images(folder, suffix=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("001", "002"):
        Image.new("RGB", SIZE, "gray").save(folder / f"{name}{suffix}")


def coco(root, caption_in="categories"):
    images(root / "images", ".jpg")
    names = sorted({name for _, name, _ in OBJECTS})
    annotations = [{"id": n, "image_id": int(i), "category_id": names.index(c), "segmentation": [corners(*b)]} for n, (i, c, b) in enumerate(OBJECTS)]
    if caption_in == "annotations":
        annotations = [{**each, "caption": OBJECTS[n][1], "category_id": 0} for n, each in enumerate(annotations)]
    listed = [{"id": n, "file_name": f"00{n}.jpg", "width": SIZE[0], "height": SIZE[1]} for n in (1, 2)]
    categories = [{"id": n, "name": name if caption_in == "categories" else "object"} for n, name in enumerate(names)]
    (root / "annotations.json").write_text(json.dumps({"images": listed, "annotations": annotations, "categories": categories}))


def labelme(root):
    images(root)
    for name in ("001", "002"):
        shapes = [{"label": c, "points": np.reshape(corners(*b), (4, 2)).tolist(), "shape_type": "polygon"} for i, c, b in OBJECTS if i == name]
        if name == "002":
            shapes = [{"label": OBJECTS[3][1], "points": [[1, 6], [22, 15]], "shape_type": "rectangle"}]
        value = {"shapes": shapes, "imagePath": f"C:\\\\somewhere\\\\{name}.png", "imageData": "AAAA", "imageWidth": SIZE[0], "imageHeight": SIZE[1]}
        (root / f"{name}.json").write_text(json.dumps(value))


def mask_files(folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    for number, (image, caption, box) in enumerate(OBJECTS):
        path = folder / name(number, image, caption)
        path.parent.mkdir(parents=True, exist_ok=True)
        before = np.asarray(Image.open(path)) if path.exists() else 0
        Image.fromarray(rows_of(box) | before).save(path)


def table(root):
    images(root / "pictures")
    mask_files(root / "masks", lambda number, image, caption: f"m{number}.png")
    lines = [f"{i}.png,{c},m{n}.png" for n, (i, c, _) in enumerate(OBJECTS)]
    (root / "captions.csv").write_text("file_name,caption,mask\n" + "\n".join(lines) + "\n")


def named(root):
    images(root / "images")
    mask_files(root / "masks", lambda number, image, caption: f"{image}_{caption.replace(' ', '_')}.png")


def beside(root):
    images(root, ".jpg")
    mask_files(root, lambda number, image, caption: f"{image}_{caption}.png")


def nested(root):
    images(root / "images")
    mask_files(root / "gt", lambda number, image, caption: f"{image}/{caption}.png")


LAYOUTS = {
    "coco": coco,
    "coco-captions": lambda root: coco(root, "annotations"),
    "labelme": labelme,
    "table": table,
    "named": named,
    "beside": beside,
    "nested": nested,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_samples(load, tmp_path, layout):
    LAYOUTS[layout](tmp_path / "data" / "AIGI")
    data = load("aigi:test", tmp_path / "data")
    merged = layout in ("named", "beside", "nested")  # one file per caption holds both cars
    found = {s.sample_id: (s.phrase, len(s.geometry.instances)) for g in data.groups() for s in g.samples}
    assert found == {key: (caption, 1 if merged else count) for key, (caption, count) in EXPECTED.items()}
    for group in data.groups():
        assert (group.image.width, group.image.height) == SIZE
        for sample in group.samples:
            boxes = [box for image, caption, box in OBJECTS if image == group.image.path.stem and caption == sample.phrase]
            area = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes)
            assert np.count_nonzero(rasterise(sample.geometry.parts, *SIZE[::-1], "coco")) == area
    assert data.problems() == []
    assert data.partial[0] == "images: 100 expected, 2 found"
    assert data.partial[1].startswith("instances: 214 expected")


def test_the_root_itself_may_be_the_release(load, tmp_path):
    named(tmp_path / "somewhere")
    assert len(load("aigi", tmp_path / "somewhere")) == 3


def test_nothing_that_fits_is_told_with_what_was_found_and_what_to_do(load, tmp_path):
    images(tmp_path / "AIGI")
    (tmp_path / "AIGI" / "notes.txt").write_text("x")
    with pytest.raises(DataError) as caught:
        load("aigi:test", tmp_path)
    for said in ("2 .png", "1 .txt", "2 images", "such as 001.png", "phrases.csv", "folder:DIR", "docs/folder.md"):
        assert said in str(caught.value)


def test_other_releases_are_not_taken_for_aigi(load, tmp_path):
    make_releases.refer(tmp_path / "a")
    make_releases.phrasecut(tmp_path / "b")
    for root in (tmp_path / "a" / "refer", tmp_path / "a" / "refer" / "refcoco", tmp_path / "b", tmp_path / "b" / "VGPhraseCut_v0"):
        with pytest.raises(DataError, match="another dataset's release"):
            load("aigi:test", root)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda v: v["annotations"][0].update(image_id=9), "its image is not listed"),
        (lambda v: v["annotations"][0].update(category_id=99), "no caption and no known category"),
        (lambda v: v["images"][0].update(file_name="gone.jpg"), "there is no image 'gone.jpg'"),
        (lambda v: v["annotations"][0].update(segmentation=5), "neither a polygon"),
    ],
)
def test_damaged_coco_is_told(load, tmp_path, change, said):
    coco(tmp_path / "AIGI")
    path = tmp_path / "AIGI" / "annotations.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    with pytest.raises(DataError, match=said):
        load("aigi:test", tmp_path)


def test_colliding_captions_keep_their_own_ids(load, tmp_path):
    images(tmp_path / "AIGI" / "images")
    for caption in ("car!", "car?"):
        path = tmp_path / "AIGI" / "masks" / "001" / f"{caption}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rows_of((1, 1, 5, 5))).save(path)
    assert load("aigi", tmp_path).sample_ids() == ["001__car", "001__car_2"]
