"""A user's own data: ``images/``, ``masks/`` and ``phrases.csv`` or ``phrases.jsonl``. docs/folder.md shows it by an example."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from PIL import Image

from ldznet_bench.datasets.adapter import Adapter, Request
from ldznet_bench.datasets.bitmap import read_bitmap
from ldznet_bench.datasets.coco_geometry import part_of
from ldznet_bench.datasets.places import ImageFinder, check_root, describe
from ldznet_bench.datasets.sample import ImageFile, Sample
from ldznet_bench.datasets.table import Row, read_table
from ldznet_bench.errors import DataError
from ldznet_bench.masks import rle
from ldznet_bench.masks.geometry import Geometry, Instance, Polygon

TABLES = ("phrases.csv", "phrases.jsonl")
COLUMNS = ("image", "phrase", "id", "mask", "polygons", "rle", "width", "height", "split", "category", "tags")
Made = TypeVar("Made")

_HELP = "docs/folder.md shows the format by an example."


class Folder(Adapter):
    """A folder in this package's own format."""

    version = 1

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        root = request.root
        check_root(root)
        tables = [root / name for name in TABLES if (root / name).is_file()]
        if len(tables) != 1:
            has = f"has both {' and '.join(TABLES)}" if tables else f"has neither {' nor '.join(TABLES)}; there is {describe(root)}"
            raise DataError(f"{root} {has}.", _HELP)
        self.table = tables[0]
        self.masks = root / "masks"
        if not (root / "images").is_dir():
            raise DataError(f"{root} has no folder images/; there is {describe(root)}.", _HELP)
        self.find = ImageFinder([root / "images"])
        self.images: dict[str, ImageFile] = {}
        self.made: Counter[str] = Counter()

    def files(self) -> Sequence[Path]:
        """See `Adapter.files`; every mask is a source file."""
        found = [Path(folder, name) for folder, _, names in os.walk(self.masks) for name in names]
        return [self.table, *sorted(found)]

    def rows(self) -> Iterator[tuple[ImageFile, Sample]]:
        """See `Adapter.rows`."""
        self.images, self.made = {}, Counter()
        split, named = self.request.name.split, False
        for row in read_table(self.table, COLUMNS):
            named = named or row.optional("split") is not None
            if split is None or row.optional("split") == split:
                yield self._row(row)
        if split is not None and not named:
            raise DataError(f"{self.table} has no column 'split', so {split!r} cannot be taken.", f"Add it, or leave :{split} out.")

    def _row(self, row: Row) -> tuple[ImageFile, Sample]:
        name, phrase = row.text("image"), row.text("phrase")
        path = _located(row, lambda: self.find(name))
        sample_id = row.optional("id") or self._made_id(name)
        if "/" in sample_id or sample_id in (".", ".."):
            raise row.error(f"the id {sample_id!r} is no file name", "Predictions are files named by it; leave '/' out.")
        instances, size = self._geometry(row, sample_id)
        image = self.images.get(name)
        if image is None:
            height, width = size or _image_size(row, path)
            image = self.images[name] = ImageFile(name, path, height, width)
        height, width = size or (image.height, image.width)
        if (height, width) != (image.height, image.width):
            raise row.error(f"its canvas is {width}x{height}, that of the image's other rows {image.width}x{image.height}", "Make them one size.")
        geometry = Geometry(height, width, instances)
        return image, Sample(sample_id, name, phrase, geometry, category=row.optional("category"), tags=row.texts("tags"))

    def _made_id(self, image: str) -> str:
        """The image's name without its ending, and the phrase's number on it: ``cat__0``."""
        number = self.made[image]
        self.made[image] += 1
        return f"{PurePosixPath(image).with_suffix('')}__{number}".replace("/", "_")

    def _geometry(self, row: Row, sample_id: str) -> tuple[tuple[Instance, ...], tuple[int, int] | None]:
        """The instances, and the canvas (height, width) that masks or columns state."""
        stated = [key for key in ("mask", "polygons", "rle") if key in row.values]
        if len(stated) > 1:
            raise row.error(f"it has both {' and '.join(stated)}", "Give one of mask, polygons and rle.")
        size = _size(row)
        if stated == ["polygons"]:
            return _polygons(row), size
        if stated == ["rle"]:
            value = row.json("rle")
            parts = [_located(row, functools.partial(part_of, each)) for each in (value if isinstance(value, list) else [value])]
        else:
            names = row.texts("mask") or (f"{sample_id}.png",)
            paths = [self._mask_path(row, name) for name in names]
            parts = [rle.encode(_located(row, functools.partial(read_bitmap, path))) for path in paths]
        for part in parts:
            if isinstance(part, Polygon):
                raise row.error("'rle' holds a polygon", "Put it in the column 'polygons'.")
            size = size or (part.height, part.width)
            if (part.height, part.width) != size:
                raise row.error(f"a mask is {part.width}x{part.height} where {size[1]}x{size[0]} is expected", "Make them one size.")
        return tuple((part,) for part in parts), size

    def _mask_path(self, row: Row, name: str) -> Path:
        if name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise row.error(f"the mask {name!r} lies outside masks/", "Names are relative to masks/.")
        return self.masks / name


def _located(row: Row, make: Callable[[], Made]) -> Made:
    """What `make` gives; its errors with the row's place."""
    try:
        return make()
    except DataError as error:
        raise row.error(error.what.rstrip("."), error.remedy) from error


def _size(row: Row) -> tuple[int, int] | None:
    height, width = row.number("height"), row.number("width")
    if (height is None) != (width is None):
        raise row.error("it has one of width and height", "Give both or neither.")
    return None if height is None or width is None else (height, width)


def _image_size(row: Row, path: Path) -> tuple[int, int]:
    """(height, width) of the stored pixels: EXIF rotation is not applied."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise row.error(
            f"the size of its image is unknown: {path} cannot be opened ({error})", "Put the image there, or give width and height."
        ) from error


def _polygons(row: Row) -> tuple[Instance, ...]:
    """Instances of polygons; a polygon is ``[x0, y0, x1, y1, …]`` or ``[[x0, y0], …]``."""
    value = row.json("polygons")
    if not isinstance(value, list) or not all(isinstance(instance, list) for instance in value):
        raise row.error("'polygons' should hold a list of polygons per instance", "For one triangle: [[[0, 0, 9, 0, 9, 9]]].")
    return tuple(tuple(_located(row, functools.partial(part_of, _flat(polygon))) for polygon in instance) for instance in value)


def _flat(polygon: Any) -> Any:  # noqa: ANN401
    if isinstance(polygon, list) and polygon and all(isinstance(point, list) and len(point) == 2 for point in polygon):
        return [number for point in polygon for number in point]
    return polygon
