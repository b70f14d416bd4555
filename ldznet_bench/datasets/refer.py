"""RefCOCO, RefCOCO+ and RefCOCOg as the REFER toolbox lays them out. Format and split rules: refer.py (lichengunc/refer e3bbaa3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ldznet_bench.datasets.adapter import Adapter, Request
from ldznet_bench.datasets.coco_geometry import instance_of
from ldznet_bench.datasets.fields import Fields, shorten
from ldznet_bench.datasets.jsonstream import read_arrays
from ldznet_bench.datasets.places import ImageFinder, check_root, find_folder, not_found
from ldznet_bench.datasets.safe_pickle import load_plain_pickle
from ldznet_bench.datasets.sample import ImageFile, Sample
from ldznet_bench.errors import DataError
from ldznet_bench.masks.geometry import Geometry, Instance

FAMILIES = ("refcoco", "refcoco+", "refcocog", "grefcoco")
ALL = "all"  # this package's name for REFER's empty split
INSTANCES = "instances.json"
_PLACES = ("{}", "refer/{}", "refer/data/{}", "data/{}", "data/refer/{}")
_IMAGES = (
    *("images/mscoco/images/train2014", "images/train2014", "mscoco/images/train2014", "mscoco/train2014"),
    *("coco/images/train2014", "coco/train2014", "coco2014/train2014", "train2014", "images"),
)

Box = tuple[float, float, float, float]


def in_split(ref_split: str, split: str) -> bool:
    """Whether getRefIds(split=…) takes a ref that is marked `ref_split`.

    ``testA``, ``testB`` and ``testC`` take every ref in whose mark that letter occurs (so ``testAB`` is in both); ``test`` takes every mark
    that contains "test"; the others are exact; `ALL` takes all, as REFER's empty split does.
    """
    if split == ALL:
        return True
    if split in ("testA", "testB", "testC"):
        return split[-1] in ref_split
    if split == "test":
        return "test" in ref_split
    return split == ref_split


class Refer(Adapter):
    """One split of one partition; every sentence of every ref is a sample, in file order.

    Attributes:
        refs_names: names that the file of refs may have, with ``{}`` for the partition.
    """

    version = 1
    refs_names: ClassVar[tuple[str, ...]] = ("refs({}).p",)

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        names = [name.format(request.name.partition) for name in self.refs_names]
        self.folder = find_release(request, names)
        self.refs = next(self.folder / name for name in names if (self.folder / name).is_file())
        self.instances = self.folder / INSTANCES

    def files(self) -> Sequence[Path]:
        """See `Adapter.files`."""
        return [self.refs, self.instances]

    def rows(self) -> Iterator[tuple[ImageFile, Sample]]:
        """See `Adapter.rows`."""
        refs = list(self._refs())
        index = self.index({ident for ref in refs for ident in self.targets(ref)}, {ref.integer("image_id") for ref in refs})
        for ref in refs:
            yield from self.sentences(ref, index)

    def targets(self, ref: Fields) -> list[int]:
        """Annotation ids of what a ref names: one."""
        return [ref.integer("ann_id")]

    def elements(self) -> Iterable[Any]:
        """Everything in the file of refs."""
        value = load_plain_pickle(self.refs)
        if not isinstance(value, list):
            raise DataError(f"{self.refs}: a list of refs was expected, found {shorten(value)}.", "Is this a refs(...).p file of REFER?")
        return value

    def _refs(self) -> Iterator[Fields]:
        split = str(self.request.name.split)
        for number, element in enumerate(self.elements()):
            ref = Fields(element, f"{self.refs}, ref {number}")
            if in_split(ref.text("split"), split):
                yield ref

    def index(self, ann_ids: set[int], image_ids: set[int]) -> Index:
        """What the wanted refs need of instances.json; the rest of its 200,000 annotations passes by."""
        find = photographs(self.folder, self.request.root)
        index = Index()
        counts: dict[str, int] = {}
        for key, element in read_arrays(self.instances):
            number = counts[key] = counts.get(key, -1) + 1
            if key not in ("images", "annotations", "categories"):
                continue
            fields = Fields(element, f"{self.instances}, {key} element {number}")
            identifier = fields.integer("id")
            if key == "categories":
                index.categories[identifier] = fields.text("name")
            elif key == "annotations" and identifier in ann_ids:
                index.annotations[identifier] = _annotation(fields)
                if fields.value.get("iscrowd"):
                    index.crowds.add(identifier)
            elif key == "images" and identifier in image_ids:
                path = find(fields.text("file_name"))
                index.images[identifier] = ImageFile(str(identifier), path, fields.size("height"), fields.size("width"), identifier)
        return index

    def sentences(self, ref: Fields, index: Index) -> Iterator[tuple[ImageFile, Sample]]:
        """A sample per sentence of a ref."""
        (ident,) = self.targets(ref)
        image, (instance, box) = self.image(ref, index), self.annotation(ref, ident, index)
        yield from self.samples(ref, image, (instance,), (box,), index.categories.get(ref.integer("category_id")))

    def image(self, ref: Fields, index: Index) -> ImageFile:
        """The image of a ref; never by the ref's file_name, which names a crop that does not exist."""
        image = index.images.get(ref.integer("image_id"))
        if image is None:
            ref.fail(f"its image {ref.integer('image_id')} is not in {self.instances}")
        return image

    def annotation(self, ref: Fields, ident: int, index: Index) -> tuple[Instance, Box]:
        """The annotation of an id, which the ref names."""
        annotation = index.annotations.get(ident)
        if annotation is None:
            ref.fail(f"its annotation {ident} is not in {self.instances}")
        return annotation

    def samples(
        self, ref: Fields, image: ImageFile, instances: tuple[Instance, ...], boxes: tuple[Box, ...], category: str | None, *tags: str
    ) -> Iterator[tuple[ImageFile, Sample]]:
        """A sample per sentence, all of one truth."""
        geometry = Geometry(image.height, image.width, instances)
        for number, element in enumerate(ref.items("sentences")):
            sentence = Fields(element, f"{ref.place}, sentence {number}")
            yield (
                image,
                Sample(
                    sample_id=sentence.identifier("sent_id"),
                    image_id=image.image_id,
                    phrase=sentence.text("raw"),
                    geometry=geometry,
                    category=category,
                    sent=sentence.text("sent"),
                    ref_id=ref.identifier("ref_id"),
                    boxes=boxes,
                    tags=tags,
                ),
            )


@dataclass(slots=True)
class Index:
    """What instances.json says about the wanted refs, by id."""

    images: dict[int, ImageFile] = field(default_factory=dict)
    annotations: dict[int, tuple[Instance, Box]] = field(default_factory=dict)
    categories: dict[int, str] = field(default_factory=dict)
    crowds: set[int] = field(default_factory=set)


def _annotation(fields: Fields) -> tuple[Instance, Box]:
    return instance_of(fields), fields.box("bbox")


def photographs(folder: Path, root: Path) -> ImageFinder:
    """Finds COCO's photographs by file name, in the places where people keep them beside a release in a folder below a root."""
    bases = (folder, folder.parent, folder.parent.parent, root)
    return ImageFinder([base / name for base in bases for name in _IMAGES])


def find_release(request: Request, names: Sequence[str]) -> Path:
    """The folder with a file of refs, under one of its names, and instances.json.

    Raises:
        DataError: there is none in any place where people have it.
    """
    root, family = request.root, request.name.family
    check_root(root)
    places = [place.format(family) for place in _PLACES]
    if root.name == family or root.name not in FAMILIES:
        places.append("")  # the root may be the release itself, under any name but that of another family

    def holds(folder: Path) -> bool:
        return any((folder / name).is_file() for name in names) and (folder / INSTANCES).is_file()

    found = find_folder(root, places, holds)
    if found is None:
        expected = f"A REFER release of {family} holds {names[0]} and {INSTANCES}, with COCO's photographs in {_IMAGES[0]} beside it."
        raise not_found(request.name.full, root, places, expected, _instead(root, family))
    return found


def _instead(root: Path, family: str) -> str:
    """What a wrong or incomplete release is, in words."""
    for place in ("", *_PLACES):
        for other in (family, *FAMILIES):
            folder = root / place.format(other)
            if found := sorted(path.name for path in [*folder.glob("refs(*).p"), *folder.glob("grefs(*).json")]):
                lacks = "" if (folder / INSTANCES).is_file() else f", but no {INSTANCES}"
                return f"{folder} has {', '.join(found)}{lacks}."
    if any(root.glob("refer_*.json")) or any(root.glob("VGPhraseCut_v0/refer_*.json")):
        return f"{root} is a PhraseCut release; name phrasecut, or give another --data-root."
    return ""
