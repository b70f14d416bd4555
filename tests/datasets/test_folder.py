import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ldznet_bench.errors import DataError
from ldznet_bench.masks.geometry import Rle
from ldznet_bench.masks.rasterise import rasterise
from ldznet_bench.masks.rle import encode

DOCS = Path(__file__).resolve().parents[2] / "docs" / "folder.md"


def mask_of(sample):
    geometry = sample.geometry
    return rasterise(geometry.parts, geometry.height, geometry.width, "coco")


def save_mask(path, rows, mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = (
        Image.fromarray(np.asarray(rows, dtype=np.uint8), "L" if mode == "1" else mode)
        if mode != "P"
        else Image.fromarray(np.asarray(rows, np.uint8))
    )
    if mode == "P":
        image = image.convert("P")
    image.convert("1").save(path) if mode == "1" else image.save(path)


@pytest.fixture
def mine(tmp_path):
    """The folder of docs/folder.md."""
    root = tmp_path / "my_data"
    (root / "images" / "street").mkdir(parents=True)
    for name in ("cat.jpg", "street/01.png"):
        Image.new("RGB", (10, 8), "gray").save(root / "images" / name)
    left = np.zeros((8, 10), np.uint8)
    left[1:6, 1:7] = 255
    cars = np.zeros((2, 8, 10), np.uint8)
    cars[0, :2], cars[1, 5:] = 1, 1
    for name, rows in (("cat-left", left), ("cars-a", cars[0]), ("cars-b", cars[1])):
        save_mask(root / "masks" / f"{name}.png", rows)
    return root


def block(name):
    return re.search(rf"<!-- {re.escape(name)} -->\n```\w+\n(.*?)```", DOCS.read_text(), re.DOTALL).group(1)


@pytest.mark.parametrize("name", ["phrases.csv", "phrases.jsonl"])
def test_the_documented_example_works(load, mine, name):
    (mine / name).write_text(block(name))
    data = load(f"folder:{mine}")
    assert (data.name, data.n_samples, data.n_images, data.partial, data.problems()) == ("folder:my_data", 2, 2, (), [])
    assert data.sample_ids() == ["cat-left", "cars"]
    image, cars = data.find("cars")
    assert (cars.phrase, len(cars.geometry.instances)) == ("cars, but not the red one", 2)
    assert (image.image_id, image.width, image.height) == ("street/01.png", 10, 8)
    assert mask_of(cars).sum() == 50
    assert mask_of(data.find("cat-left")[1]).sum() == 30


def test_every_column_is_in_the_documentation():
    from ldznet_bench.datasets.folder import COLUMNS

    assert all(f"`{column}`" in DOCS.read_text() for column in COLUMNS)


def test_made_ids_splits_categories_and_tags(load, mine):
    (mine / "phrases.csv").write_text(
        "\ufeffimage,phrase,mask,split,category,tags,notes\n"
        "cat.jpg,a,cat-left.png,train,cat,x; y,whatever\n"
        "cat.jpg,b,cat-left.png,val,,,\n"
        "street/01.png,c,cars-a.png,val,,,\n",
        encoding="utf-8",
    )
    data = load(f"folder:{mine}")
    assert data.sample_ids() == ["cat__0", "cat__1", "street_01__0"]
    assert (data.sample(0).category, data.sample(0).tags, data.sample(1).category) == ("cat", ("x", "y"), None)
    val = load(f"folder:{mine}:val")
    assert (val.name, val.split) == ("folder:my_data:val", "val")
    assert [sample.phrase for group in val.groups() for sample in group.samples] == ["b", "c"]
    with pytest.raises(DataError, match="has no samples"):
        load(f"folder:{mine}:test")


def test_the_mask_named_by_the_id_is_the_default(load, mine):
    (mine / "phrases.csv").write_text("id,image,phrase\ncat-left,cat.jpg,a\n")
    assert mask_of(load(f"folder:{mine}").sample(0)).sum() == 30


def test_polygons_and_codes(load, mine):
    mask = np.zeros((8, 10), bool)
    mask[2:4, 3:9] = True
    code = encode(mask)
    rle = {"size": [8, 10], "counts": code.counts.decode()}
    rows = [
        {"id": "flat", "image": "cat.jpg", "phrase": "p", "polygons": [[[1, 1, 7, 1, 7, 6]], [[0, 0, 2, 0, 2, 2], [[4, 4], [6, 4], [6, 6]]]]},
        {"id": "one", "image": "cat.jpg", "phrase": "p", "rle": rle},
        {"id": "list", "image": "cat.jpg", "phrase": "p", "rle": [rle, {"size": [8, 10], "counts": [0, 8, 72]}]},
        {"id": 7, "image": "absent.jpg", "phrase": "p", "polygons": [[[1, 1, 7, 1, 7, 6]]], "width": 30, "height": 20},
    ]
    (mine / "phrases.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    data = load(f"folder:{mine}")
    assert [len(instance) for instance in data.find("flat")[1].geometry.instances] == [1, 2]
    assert data.find("one")[1].geometry.parts == (Rle(8, 10, code.counts),)
    assert mask_of(data.find("list")[1]).sum() == 12 + 8
    image, _ = data.find("7")
    assert (image.width, image.height, image.problem, image.sha256) == (30, 20, "missing", None)


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_any_non_zero_value_is_foreground(load, mine, mode):
    save_mask(mine / "masks" / "m.png", [[0, 1, 255, 2]] * 8, mode)
    (mine / "phrases.csv").write_text("id,image,phrase\nm,cat.jpg,a\n")
    mask = mask_of(load(f"folder:{mine}").sample(0))
    if mode == "1":  # conversion to one bit rounds 1 and 2 down
        assert mask.tolist() == [[False, False, True, False]] * 8
    else:
        assert mask.tolist() == [[False, True, True, True]] * 8


def test_colour_and_transparency(load, mine):
    rows = np.zeros((8, 10, 4), np.uint8)
    rows[..., 3] = 255
    rows[0, 0] = (0, 0, 9, 255)
    rows[0, 1] = (9, 9, 9, 0)
    Image.fromarray(rows, "RGBA").save(mine / "masks" / "rgba.png")
    Image.fromarray(rows[..., :3], "RGB").save(mine / "masks" / "rgb.png")
    Image.fromarray(rows[..., 0].astype(np.uint16) * 300).save(mine / "masks" / "deep.png")
    (mine / "phrases.csv").write_text("id,image,phrase\nrgba,cat.jpg,a\nrgb,cat.jpg,a\ndeep,cat.jpg,a\n")
    data = load(f"folder:{mine}")
    assert [np.flatnonzero(mask_of(data.sample(n))).tolist() for n in range(3)] == [[0], [0, 1], [1]]


def test_exif_orientation_is_not_applied(load, mine):
    image = Image.new("RGB", (10, 8))
    exif = image.getexif()
    exif[0x0112] = 6  # viewers turn it by 90 degrees
    image.save(mine / "images" / "cat.jpg", exif=exif)
    (mine / "phrases.jsonl").write_text(json.dumps({"image": "cat.jpg", "phrase": "p", "polygons": [[[1, 1, 7, 1, 7, 6]]]}))
    data = load(f"folder:{mine}")
    assert (data.group(0).image.width, data.group(0).image.height, data.problems()) == (10, 8, [])


def test_a_mask_of_another_size_than_the_file_is_kept_and_told(load, mine):
    save_mask(mine / "masks" / "m.png", np.ones((4, 5)))
    (mine / "phrases.csv").write_text("id,image,phrase\nm,cat.jpg,a\n")
    data = load(f"folder:{mine}")
    assert data.problems() == [("cat.jpg", mine / "images" / "cat.jpg", "size 10x8, annotation says 5x4")]
    assert data.oddities() == {"image-size-mismatch": 1}


@pytest.mark.parametrize(
    "text, said",
    [
        ("id,image,phrase\nx,cat.jpg,\n", "line 2: 'phrase' is missing or empty"),
        ("id,image,phrase\nx,,a\n", "line 2: 'image' is missing"),
        ("id,image,prhase\nx,cat.jpg,a\n", "Did you mean 'phrase'?"),
        ("id,image,phrase,Mask\nx,cat.jpg,a,b\n", "Did you mean 'mask'?"),
        ("id,image,phrase\na/b,cat.jpg,a\n", "leave '/' out"),
        ("id,image,phrase\nx,../x.jpg,a\n", "line 2: '../x.jpg' is no file name"),
        ("id,image,phrase,mask\nx,cat.jpg,a,../m.png\n", "lies outside masks/"),
        ("id,image,phrase\nx,cat.jpg,a\n", "x.png is missing"),
        ("id,image,phrase\nx,cat.jpg,a,b\n", "more cells than the header"),
        ('id,image,phrase\nx,cat.jpg,"a\n', "not valid CSV"),
        ("id,image,phrase,rle,mask\nx,cat.jpg,a,{},m.png\n", "it has both mask and rle"),
        ("id,image,phrase,rle\nx,cat.jpg,a,{x\n", "'rle' is not valid JSON"),
        ("id,image,phrase,polygons\nx,cat.jpg,a,[1]\n", "a list of polygons per instance"),
        ('id,image,phrase,polygons\nx,cat.jpg,a,"[[[1,2,3]]]"\n', "neither a polygon"),
        ('id,image,phrase,rle\nx,cat.jpg,a,"[[1,2]]"\n', "'rle' holds a polygon"),
        ('id,image,phrase,polygons,width\nx,cat.jpg,a,"[[[1,2]]]",5\n', "one of width and height"),
        ('id,image,phrase,polygons,width,height\nx,cat.jpg,a,"[[[1,2]]]",5,0\n', "a whole number of pixels"),
        ('id,image,phrase,polygons\nx,gone.jpg,a,"[[[1,2]]]"\n', "give width and height"),
        ("id,image,phrase\ncat-left,cat.jpg,a\ncat-left,cat.jpg,b\n", "sample id 'cat-left' is given twice"),
        ("id,image,phrase,mask\na,cat.jpg,a,cat-left.png\nb,cat.jpg,b,small.png\n", "its canvas is 5x4, that of the image's other rows 10x8"),
        ("id,image,phrase,mask\nb,cat.jpg,b,cat-left.png;small.png\n", "a mask is 5x4 where 10x8 is expected"),
        ("id,image,phrase,mask\nb,cat.jpg,b,broken.png\n", "cannot be decoded"),
    ],
)
def test_mistakes_are_named_with_file_and_line(load, mine, text, said):
    save_mask(mine / "masks" / "small.png", np.ones((4, 5)))
    (mine / "masks" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (mine / "phrases.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        load(f"folder:{mine}")
    assert said in str(caught.value)


def test_broken_tables_are_told(load, mine):
    path = mine / "phrases.jsonl"
    for content, said in (
        (b'{"image": 1}\n{x\n', "line 1: 'phrase'"),
        (b"{x\n", "line 1: not valid JSON"),
        (b"[1]\n", "no JSON object"),
        (b'"\xff"', "not UTF-8"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            load(f"folder:{mine}")
        assert said in str(caught.value)


def test_missing_parts_are_told(load, mine):
    with pytest.raises(DataError, match=r"has neither phrases\.csv nor phrases\.jsonl; there is images/, masks/"):
        load(f"folder:{mine}")
    (mine / "phrases.csv").write_text("image,phrase\n")
    (mine / "phrases.jsonl").write_text("")
    with pytest.raises(DataError, match="has both"):
        load(f"folder:{mine}")
    (mine / "phrases.jsonl").unlink()
    with pytest.raises(DataError, match="has no column 'split'"):
        (mine / "phrases.csv").write_text("id,image,phrase\ncat-left,cat.jpg,a\n")
        load(f"folder:{mine}:val")
    shutil.rmtree(mine / "images")
    with pytest.raises(DataError, match="has no folder images/"):
        load(f"folder:{mine}")


def test_a_changed_mask_makes_the_set_anew(load, mine):
    (mine / "phrases.csv").write_text("id,image,phrase\ncat-left,cat.jpg,a\n")
    before = load(f"folder:{mine}")
    save_mask(mine / "masks" / "cat-left.png", np.ones((8, 10)))
    after = load(f"folder:{mine}")
    assert before.fingerprint != after.fingerprint
    assert mask_of(after.sample(0)).all()
