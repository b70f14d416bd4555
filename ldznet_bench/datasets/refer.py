"""RefCOCO, RefCOCO+ and RefCOCOg as the REFER toolbox lays them out. Format and split rules: refer.py (lichengunc/refer e3bbaa3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ldznet_bench.datasets.adapter import Adapter, Request
from ldznet_bench.datasets.coco_geometry import instance_of
from ldznet_bench.datasets.fields import Fields, shorten
from ldznet_bench.datasets.jsonstream import read_arrays
from ldznet_bench.datasets.places import ImageFinder, check_root, find_folder, not_found
from ldznet_bench.datasets.safe_pickle import load_plain_pickle
from ldznet_bench.datasets.sample import ImageFile, Sample
from ldznet_bench.errors import DataError
from ldznet_bench.masks.geometry import Geometry, Instance

FAMILIES = ("refcoco", "refcoco+", "refcocog")
ALL = "all"  # this package's name for REFER's empty split
INSTANCES = "instances.json"
_PLACES = ("{}", "refer/{}", "refer/data/{}", "data/{}", "data/refer/{}")
_IMAGES = (
    *("images/mscoco/images/train2014", "images/train2014", "mscoco/images/train2014", "mscoco/train2014"),
    *("coco/images/train2014", "coco/train2014", "coco2014/train2014", "train2014", "images"),
)


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
    """One split of one partition; every sentence of every ref is a sample, in file order."""

    version = 1

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.folder = _find(request)
        self.refs = self.folder / f"refs({request.name.partition}).p"
        self.instances = self.folder / INSTANCES

    def files(self) -> Sequence[Path]:
        """See `Adapter.files`."""
        return [self.refs, self.instances]

    def rows(self) -> Iterator[tuple[ImageFile, Sample]]:
        """See `Adapter.rows`."""
        refs = list(self._refs())
        index = self._index({ref.integer("ann_id") for ref in refs}, {ref.integer("image_id") for ref in refs})
        for ref in refs:
            yield from self._sentences(ref, index)

    def _refs(self) -> Iterator[Fields]:
        value = load_plain_pickle(self.refs)
        if not isinstance(value, list):
            raise DataError(f"{self.refs}: a list of refs was expected, found {shorten(value)}.", "Is this a refs(...).p file of REFER?")
        split = str(self.request.name.split)
        for number, element in enumerate(value):
            ref = Fields(element, f"{self.refs}, ref {number}")
            if in_split(ref.text("split"), split):
                yield ref

    def _index(self, ann_ids: set[int], image_ids: set[int]) -> _Index:
        """What the wanted refs need of instances.json; the rest of its 200,000 annotations passes by."""
        find = ImageFinder([base / name for base in self._bases() for name in _IMAGES])
        index = _Index()
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
            elif key == "images" and identifier in image_ids:
                path = find(fields.text("file_name"))
                index.images[identifier] = ImageFile(str(identifier), path, fields.size("height"), fields.size("width"), identifier)
        return index

    def _bases(self) -> list[Path]:
        parent = self.folder.parent
        return [self.folder, parent, parent.parent, self.request.root]

    def _sentences(self, ref: Fields, index: _Index) -> Iterator[tuple[ImageFile, Sample]]:
        annotation = index.annotations.get(ref.integer("ann_id"))
        image = index.images.get(ref.integer("image_id"))  # never by the ref's file_name, which names a crop that does not exist
        if annotation is None or image is None:
            lost = f"annotation {ref.integer('ann_id')}" if annotation is None else f"image {ref.integer('image_id')}"
            ref.fail(f"its {lost} is not in {self.instances}")
        instance, box = annotation
        geometry = Geometry(image.height, image.width, (instance,))
        for number, element in enumerate(ref.items("sentences")):
            sentence = Fields(element, f"{ref.place}, sentence {number}")
            yield (
                image,
                Sample(
                    sample_id=sentence.identifier("sent_id"),
                    image_id=image.image_id,
                    phrase=sentence.text("raw"),
                    geometry=geometry,
                    category=index.categories.get(ref.integer("category_id")),
                    sent=sentence.text("sent"),
                    ref_id=ref.identifier("ref_id"),
                    boxes=(box,),
                ),
            )


Box = tuple[float, float, float, float]


@dataclass(slots=True)
class _Index:
    """What instances.json says about the wanted refs, by id."""

    images: dict[int, ImageFile] = field(default_factory=dict)
    annotations: dict[int, tuple[Instance, Box]] = field(default_factory=dict)
    categories: dict[int, str] = field(default_factory=dict)


def _annotation(fields: Fields) -> tuple[Instance, Box]:
    return instance_of(fields), fields.box("bbox")


def _find(request: Request) -> Path:
    """The folder with the partition's refs and instances.json."""
    root, family, partition = request.root, request.name.family, request.name.partition
    check_root(root)
    places = [place.format(family) for place in _PLACES]
    if root.name == family or root.name not in FAMILIES:
        places.append("")  # the root may be the release itself, under any name but that of another family

    def holds(folder: Path) -> bool:
        return (folder / f"refs({partition}).p").is_file() and (folder / INSTANCES).is_file()

    found = find_folder(root, places, holds)
    if found is None:
        expected = f"A REFER release of {family} holds refs({partition}).p and {INSTANCES}, with COCO's photographs in {_IMAGES[0]} beside it."
        raise not_found(request.name.full, root, places, expected, _instead(root, family))
    return found


def _instead(root: Path, family: str) -> str:
    """What a wrong or incomplete release is, in words."""
    for place in ("", *_PLACES):
        for other in (family, *FAMILIES):
            folder = root / place.format(other)
            if found := sorted(path.name for path in folder.glob("refs(*).p")):
                lacks = "" if (folder / INSTANCES).is_file() else f", but no {INSTANCES}"
                return f"{folder} has {', '.join(found)}{lacks}."
    if any(root.glob("refer_*.json")) or any(root.glob("VGPhraseCut_v0/refer_*.json")):
        return f"{root} is a PhraseCut release; name phrasecut, or give another --data-root."
    return ""
