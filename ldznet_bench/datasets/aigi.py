"""AIGI, LD-ZNet's 100 AI-generated images with 214 objects. Nobody documents how the release is laid out, so four layouts are recognised.

| layout | recognised by |
|---|---|
| COCO | a JSON object with ``images`` and ``annotations``; the caption is the annotation's own, or its category's name |
| labelme | a JSON file per image with ``shapes``; the caption is the label |
| table | ``.csv`` or ``.jsonl`` with an image, a caption and a mask per row |
| named masks | ``<image>_<caption>.png``, or ``masks/<image>/<caption>.png``; underscores are read as spaces |

Annotations of one image under one caption become one sample of several instances. Sample ids are made: image name, two underscores, caption.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ldznet_bench.datasets.adapter import Adapter, Request
from ldznet_bench.datasets.bitmap import read_bitmap
from ldznet_bench.datasets.coco_geometry import instance_of
from ldznet_bench.datasets.fields import Fields, flatten, numbers
from ldznet_bench.datasets.jsonstream import load_json
from ldznet_bench.datasets.places import check_root
from ldznet_bench.datasets.sample import ImageFile, Sample
from ldznet_bench.datasets.table import Row, read_table
from ldznet_bench.errors import DataError
from ldznet_bench.masks import rle
from ldznet_bench.masks.geometry import Geometry, Instance, polygon

_PLACES = ("AIGI", "aigi", "AIGI_dataset", "AIGI-dataset", "AIGI Dataset", "")
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_CAPTIONS = ("caption", "phrase", "prompt", "text", "label", "category", "name")
_IMAGE_COLUMNS = ("image", "image_name", "file_name", "filename", "file", "image_path")
_MASK_COLUMNS = ("mask", "mask_name", "mask_file", "mask_path", "segmentation")
_MASK_FOLDER = re.compile(r"mask|annot|label|segm|(^|[^a-z])gt([^a-z]|$)", re.IGNORECASE)
_OTHER_RELEASES = ("refs(*).p", "refer_*.json", "VGPhraseCut_v0", "refcoco*")
_MAX_FILES = 20_000  # a folder with more is no release of 100 images
_HELP = (
    "Describe the data with the format 'folder' instead: put the pictures in DIR/images, write DIR/phrases.csv with the columns image, phrase and "
    "mask, and name it folder:DIR (docs/folder.md has an example)."
)


@dataclass(frozen=True, slots=True)
class Object:
    """One annotated object, whatever the layout.

    Attributes:
        image: path of the image.
        caption: as the source has it.
        instance: its geometry.
        height: of the canvas.
        width: of the canvas.
    """

    image: Path
    caption: str
    instance: Instance
    height: int
    width: int


class Aigi(Adapter):
    """The release, in whichever layout it came."""

    version = 1

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.layout, self.tree, self.objects = _find(request.root)

    def files(self) -> Sequence[Path]:
        """See `Adapter.files`: masks and tables cannot be told from images before they are read, so it is every file."""
        return self.tree.files

    def rows(self) -> Iterator[tuple[ImageFile, Sample]]:
        """See `Adapter.rows`."""
        images: dict[Path, ImageFile] = {}
        grouped: dict[tuple[Path, str], list[Object]] = {}
        for found in self.objects():
            grouped.setdefault((found.image, found.caption), []).append(found)
        taken: set[str] = set()
        for (path, caption), objects in grouped.items():
            first = objects[0]
            name = path.relative_to(self.tree.root).as_posix()
            image = images.setdefault(path, ImageFile(name, path, first.height, first.width))
            for found in objects:
                if (found.height, found.width) != (image.height, image.width):
                    sizes = f"{found.width}x{found.height} and {image.width}x{image.height}"
                    raise DataError(f"{path}: the annotation of {caption!r} and another one state different sizes, {sizes}.", _HELP)
            geometry = Geometry(image.height, image.width, tuple(found.instance for found in objects))
            yield image, Sample(_made_id(path.stem, caption, taken), name, caption, geometry)


def _made_id(stem: str, caption: str, taken: set[str]) -> str:
    wanted = f"{stem}__{re.sub(r'[^0-9A-Za-z-]+', '_', caption).strip('_').lower()}"
    made = next(name for name in itertools.chain([wanted], (f"{wanted}_{n}" for n in itertools.count(2))) if name not in taken)
    taken.add(made)
    return made


class _Tree:
    """Every file below a root, sorted, with images found by path, name or stem."""

    def __init__(self, root: Path) -> None:
        self.root = root
        found: list[Path] = []
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            found += [Path(folder, name) for name in names if not name.startswith(".")]
            if len(found) > _MAX_FILES:
                break
        self.files = sorted(found)
        self.too_many = len(found) > _MAX_FILES
        pictures = [path for path in self.files if path.suffix.lower() in _IMAGE_SUFFIXES]
        self.masks = [path for path in pictures if any(_MASK_FOLDER.search(part) for part in path.relative_to(root).parts[:-1])]
        apart = set(self.masks)
        self.images = [path for path in pictures if path not in apart]

    def of(self, *suffixes: str) -> list[Path]:
        return [path for path in self.files if path.suffix.lower() in suffixes]

    def image(self, name: str, place: str) -> Path:
        """The image that a source file names: by its path, its file name, or its name without the ending.

        Raises:
            DataError: there is none, or the name fits several.
        """
        wanted = PurePosixPath(name.replace("\\", "/"))
        rules: tuple[Callable[[Path], bool], ...] = (
            lambda path: path.relative_to(self.root) == Path(wanted),
            lambda path: path.name == wanted.name,
            lambda path: path.stem == wanted.stem,
            lambda path: path.stem == wanted.name,
        )
        for rule in rules:
            fits = [path for path in self.images if rule(path)]
            if len(fits) == 1:
                return fits[0]
            if fits:
                raise DataError(f"{place}: the image {name!r} could be {fits[0]} or {fits[1]}.", _HELP)
        raise DataError(f"{place}: there is no image {name!r} under {self.root}.", _HELP)

    def mask(self, name: str, place: str) -> Path:
        """The mask that a table names, by path or file name."""
        wanted = name.replace("\\", "/")
        paths = [path for path in [*self.masks, *self.images] if path.as_posix().endswith(f"/{wanted}")]
        if len(paths) != 1:
            raise DataError(f"{place}: {'no mask' if not paths else 'more than one mask'} {name!r} under {self.root}.", _HELP)
        return paths[0]


def _find(root: Path) -> tuple[str, _Tree, Callable[[], Iterator[Object]]]:
    """The layout's name, the files, and what yields the objects."""
    check_root(root)
    looked = []
    for place in _PLACES:
        folder = root / place if place else root
        if not folder.is_dir():
            continue
        other = next((pattern for pattern in _OTHER_RELEASES if any(folder.glob(pattern))), None)
        if other is not None:
            looked.append(f"{folder}: another dataset's release ({other})")
            continue
        tree = _Tree(folder)
        for name, recognise, read in () if tree.too_many else _LAYOUTS:
            if signs := recognise(tree):
                return name, tree, functools.partial(read, tree, signs)
        looked.append(f"{folder}: {_summary(tree)}")
    raise DataError(
        f"no AIGI release was recognised under {root}. Found: {'; '.join(looked)}. Known layouts: {', '.join(name for name, _, _ in _LAYOUTS)}.",
        _HELP,
    )


def _summary(tree: _Tree) -> str:
    if tree.too_many:
        return f"more than {_MAX_FILES:,} files"
    kinds = Counter(path.suffix.lower() or "no ending" for path in tree.files)
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(8)) or "no files"
    examples = ", ".join(path.relative_to(tree.root).as_posix() for path in tree.files[:3])
    return f"{counted} ({len(tree.images)} images, {len(tree.masks)} in mask folders{f'; such as {examples}' if examples else ''})"


def _mentions(path: Path, *keys: str) -> bool:
    """Whether a JSON file's text holds all keys: a cheap sign of its layout, since labelme files carry their images inside."""
    text = path.read_bytes()
    return all(f'"{key}"'.encode() in text for key in keys)


def _coco_file(tree: _Tree) -> Path | None:
    files = tree.of(".json")
    return next((path for path in files if _mentions(path, "images", "annotations", "image_id")), None) if len(files) <= 8 else None


def _labelme_files(tree: _Tree) -> list[Path]:
    files = tree.of(".json")
    return files if files and _mentions(files[0], "shapes", "points") else []


def _table_file(tree: _Tree) -> Path | None:
    for path in tree.of(".csv", ".jsonl"):
        row = next(read_table(path, ()), None)
        if row is not None and all(_first(row, columns) for columns in (_IMAGE_COLUMNS, _CAPTIONS, _MASK_COLUMNS)):
            return path
    return None


def _read_coco(tree: _Tree, path: Path) -> Iterator[Object]:
    whole = Fields(load_json(path), str(path))
    images: dict[int, tuple[Path, int, int]] = {}
    for number, element in enumerate(whole.items("images")):
        entry = Fields(element, f"{path}, images element {number}")
        image = tree.image(entry.text("file_name"), entry.place)
        images[entry.integer("id")] = (image, entry.size("height"), entry.size("width"))
    names = {}
    for number, element in enumerate(whole.value.get("categories") or []):
        entry = Fields(element, f"{path}, categories element {number}")
        names[entry.integer("id")] = entry.text("name")
    for number, element in enumerate(whole.items("annotations")):
        entry = Fields(element, f"{path}, annotations element {number}")
        caption = next((entry.text(key) for key in _CAPTIONS if isinstance(entry.value.get(key), str)), None)
        if caption is None:
            caption = names.get(entry.integer("category_id"))
        if caption is None or entry.integer("image_id") not in images:
            entry.fail("it has no caption and no known category" if caption is None else "its image is not listed")
        image, height, width = images[entry.integer("image_id")]
        yield Object(image, caption, instance_of(entry), height, width)


def _read_labelme(tree: _Tree, files: list[Path]) -> Iterator[Object]:
    for path in files:
        whole = Fields(load_json(path), str(path))
        stated = whole.value.get("imagePath")
        image = _labelme_image(tree, path, stated)
        height, width = whole.size("imageHeight"), whole.size("imageWidth")
        for number, element in enumerate(whole.items("shapes")):
            shape = Fields(element, f"{path}, shape {number}")
            yield Object(image, shape.text("label"), _shape(shape), height, width)


def _labelme_image(tree: _Tree, path: Path, stated: Any) -> Path:  # noqa: ANN401
    if isinstance(stated, str):
        try:
            return tree.image(stated, str(path))
        except DataError:
            pass  # labelme keeps the path of the annotator's machine; the file's own name counts too, and its error is told
    return tree.image(path.stem, str(path))


def _shape(shape: Fields) -> Instance:
    kind = shape.value.get("shape_type") or "polygon"
    points = shape.items("points")
    flat = numbers(flatten(points)) if all(isinstance(point, list) and len(point) == 2 for point in points) else None
    if flat is None or kind not in ("polygon", "rectangle") or (kind == "rectangle" and len(points) != 2):
        shape.fail(f"a labelme polygon or rectangle of finite points was expected, found {kind!r}")
    if kind == "rectangle":
        (x0, y0), (x1, y1) = flat.reshape(2, 2).tolist()
        return (polygon([x0, y0, x1, y0, x1, y1, x0, y1]),)
    return (polygon(flat),)


def _read_table(tree: _Tree, path: Path) -> Iterator[Object]:
    for row in read_table(path, ()):
        image = tree.image(row.text(_first(row, _IMAGE_COLUMNS) or _IMAGE_COLUMNS[0]), row.place)
        mask = tree.mask(row.text(_first(row, _MASK_COLUMNS) or _MASK_COLUMNS[0]), row.place)
        yield _bitmap(image, row.text(_first(row, _CAPTIONS) or _CAPTIONS[0]), mask)


def _first(row: Row, columns: Sequence[str]) -> str | None:
    return next((column for column in columns if column in row.values), None)


def _named_masks(tree: _Tree) -> list[tuple[Path, str, Path]]:
    """(image, caption, mask) by file names; empty where any mask in a mask folder has no image."""
    if tree.masks:
        found = [(_owner(mask, tree.images), mask) for mask in tree.masks]
        if any(owner is None for owner, _ in found):
            return []
    else:
        found = [(owner, path) for path in tree.images if path.suffix.lower() == ".png" and (owner := _owner(path, tree.images))]
    return [(image, caption.replace("_", " ").strip(), mask) for owner, mask in found if owner is not None for image, caption in [owner]]


def _owner(mask: Path, images: Sequence[Path]) -> tuple[Path, str] | None:
    """The image that a mask's name or folder begins with, the longest where several do, and the rest of the name."""
    inside = [(image, mask.stem) for image in images if mask.parent.name == image.stem]
    begins = [(image, mask.stem[len(image.stem) + 1 :]) for image in images if mask.stem.startswith(f"{image.stem}_")]
    fits = inside or sorted(begins, key=lambda pair: -len(pair[0].stem))
    return fits[0] if fits and fits[0][1].strip("_ ") else None


def _read_named_masks(_: _Tree, named: list[tuple[Path, str, Path]]) -> Iterator[Object]:
    for image, caption, mask in named:
        yield _bitmap(image, caption, mask)


def _bitmap(image: Path, caption: str, mask: Path) -> Object:
    code = rle.encode(read_bitmap(mask))
    return Object(image, caption, (code,), code.height, code.width)


# Name, what recognises it (its signs, or nothing), and what reads it from them.
_LAYOUTS: tuple[tuple[str, Callable[[_Tree], Any], Callable[[_Tree, Any], Iterator[Object]]], ...] = (
    ("COCO json", _coco_file, _read_coco),
    ("labelme json per image", _labelme_files, _read_labelme),
    ("mask table", _table_file, _read_table),
    ("<image>_<caption>.png masks", _named_masks, _read_named_masks),
)
