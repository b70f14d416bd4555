"""ReasonSeg: an image and a JSON of shapes and texts each. Format and rules: LISA utils/data_processing.py and utils/dataset.py."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ldznet_bench.datasets.adapter import Adapter, Request
from ldznet_bench.datasets.fields import MAX_SIDE, Fields, flatten, numbers
from ldznet_bench.datasets.places import check_root, find_folder, not_found
from ldznet_bench.datasets.sample import ImageFile, Sample
from ldznet_bench.errors import DataError
from ldznet_bench.masks import rle
from ldznet_bench.masks.geometry import Geometry, Instance
from ldznet_bench.masks.opencv import fill_polygon

_PLACES = ("", "ReasonSeg", "reason_seg/ReasonSeg", "data/ReasonSeg", "dataset/reason_seg/ReasonSeg", "LISA/dataset/reason_seg/ReasonSeg")
_IGNORED = 255


class ReasonSeg(Adapter):
    """One split; an image is one sample, asked by the first of its texts.

    The truth is what the authors' script paints: shapes in descending order of area, each over those before it, ``ignore`` in any label for pixels
    that count in nothing, ``flag`` for shapes that are passed over. So it is a bitmap here, and no rasteriser of a protocol touches it.
    """

    version = 1

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        check_root(request.root)
        split = str(request.name.split)
        found = find_folder(request.root, _PLACES, lambda folder: any((folder / split).glob("*.json")))
        if found is None:
            expected = f"ReasonSeg holds a folder {split}/ with an image and a .json of the same name each."
            raise not_found(request.name.full, request.root, _PLACES, expected)
        self.folder = found / split

    def files(self) -> Sequence[Path]:
        """See `Adapter.files`."""
        return sorted(self.folder.glob("*.json"))

    def rows(self) -> Iterator[tuple[ImageFile, Sample]]:
        """See `Adapter.rows`."""
        for path in self.files():
            fields = Fields(_read(path), str(path))
            image = _image(path, fields)
            yield image, _sample(fields, image)


def _read(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """UTF-8, else Windows' code page 1252, as the authors read it."""
    content = path.read_bytes()
    try:
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            text = content.decode("cp1252")
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON ({error}).", "Fetch the release again.") from error


def _image(path: Path, fields: Fields) -> ImageFile:
    """The image beside the JSON. Its size is the canvas; where the file is absent, the size that the JSON states."""
    file = next((found for suffix in (".jpg", ".jpeg", ".png") if (found := path.with_suffix(suffix)).is_file()), path.with_suffix(".jpg"))
    try:
        with Image.open(file) as image:
            width, height = image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        if "imageHeight" not in fields.value:
            fields.fail(f"its image {file.name} cannot be read, and nothing else states its size")
        width, height = fields.size("imageWidth"), fields.size("imageHeight")
    if max(width, height) > MAX_SIDE:
        fields.fail(f"its image is {width}x{height}")
    return ImageFile(path.stem, file, height, width)


def _sample(fields: Fields, image: ImageFile) -> Sample:
    texts = fields.texts("text")
    if not texts:
        fields.fail("'text' holds no query")
    sentence = fields.value.get("is_sentence")
    if type(sentence) is not bool:
        fields.fail("'is_sentence' should be true or false")
    painted = _paint(fields, image)
    target, ignored = painted == 1, painted == _IGNORED
    instances: tuple[Instance, ...] = ((rle.encode(target),),) if target.any() else ()
    return Sample(
        sample_id=image.image_id,
        image_id=image.image_id,
        phrase=texts[0],
        geometry=Geometry(image.height, image.width, instances, (rle.encode(ignored),) if ignored.any() else ()),
        tags=("long-query" if sentence else "short-query", f"first-of-{len(texts)}", *(() if instances else ("no-target",))),
    )


def _paint(fields: Fields, image: ImageFile) -> npt.NDArray[np.uint8]:
    """0, 1 for the target, 255 for pixels to ignore."""
    shapes: list[tuple[int, npt.NDArray[np.bool_]]] = []
    for number, element in enumerate(fields.items("shapes")):
        shape = Fields(element, f"{fields.place}, shape {number}")
        label = shape.text("label").lower()
        if label != "flag":
            shapes.append((_IGNORED if "ignore" in label else 1, _drawn(shape, image)))
    painted = np.zeros((image.height, image.width), np.uint8)
    # Ties go to the earlier shape, which is painted last: a stable ascending order, backwards, as the authors have it.
    for at in np.argsort([mask.sum() for _, mask in shapes], kind="stable")[::-1].tolist():
        value, mask = shapes[at]
        painted[mask] = value
    return painted


def _drawn(shape: Fields, image: ImageFile) -> npt.NDArray[np.bool_]:
    points = shape.items("points")
    flat = numbers(flatten(points)) if all(isinstance(point, list) and len(point) == 2 for point in points) else None
    if flat is None:
        shape.fail("'points' should hold [x, y] pairs of finite numbers")
    xy = flat.reshape(-1, 2)
    if (len(xy) and (xy.max(axis=0) < 0).any()) or (len(xy) and (xy.min(axis=0) >= (image.width, image.height)).any()):
        shape.fail(f"its polygon lies outside its image of {image.width}x{image.height}")
    try:
        return fill_polygon(xy, image.height, image.width)
    except ValueError as error:
        shape.fail(f"its polygon has {error}, far outside its image of {image.width}x{image.height}")
