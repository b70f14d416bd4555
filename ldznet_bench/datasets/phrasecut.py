"""PhraseCut releases: ``refer_<split>.json``, the image list, and photographs of Visual Genome. Format: PhraseCut utils/refvg_loader.py."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from ldznet_bench.datasets.adapter import Adapter, Request
from ldznet_bench.datasets.fields import Fields, flatten, numbers
from ldznet_bench.datasets.jsonstream import load_json, read_array
from ldznet_bench.datasets.phrasecut_subsets import RANK_SUBSETS, SMALL, WORD_SUBSETS, Phrase, Ranks, subsets_of
from ldznet_bench.datasets.phrasecut_words import VARIABLE, WordLists, find_word_lists, read_word_lists
from ldznet_bench.datasets.places import ImageFinder, check_root, find_folder, not_found
from ldznet_bench.datasets.sample import ImageFile, Sample
from ldznet_bench.errors import DataError
from ldznet_bench.masks.geometry import Geometry, Polygon
from ldznet_bench.masks.rasterise import covered

RELEASE = "VGPhraseCut_v0"
# The loader's own name, and the name in the README and on the authors' drive.
IMAGE_LISTS = ("image_data_split.json", "image_data_split3000.json")
COUNTS = "name_att_rel_count.json"
_PLACES = (
    *("", RELEASE, f"data/{RELEASE}", f"PhraseCutDataset/data/{RELEASE}"),
    *("phrasecut", f"phrasecut/{RELEASE}", "PhraseCut", f"PhraseCut/{RELEASE}"),
)
_IMAGES = ("images", "VG_100K", "VG_100K_2", "visual_genome/VG_100K", "visual_genome/VG_100K_2")


class PhraseCut(Adapter):
    """One split of PhraseCut, old (before 2020-04-15) or new."""

    version = 1

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.tasks, self.image_list = _find(request)
        self.release = self.tasks.parent
        self.counts = self.release / COUNTS if (self.release / COUNTS).is_file() else None
        self.words = find_word_lists(request.word_lists, self.release, request.root, request.home)
        if self.counts is None:
            self.absent_tags |= dict.fromkeys(RANK_SUBSETS, f"{self.release} has no {COUNTS}")
        if self.words is None:
            reason = f"PhraseCut's word lists were not found; they are in the authors' utils/subset.py, whose path ${VARIABLE} may state"
            self.absent_tags |= dict.fromkeys(WORD_SUBSETS, reason)

    def files(self) -> Sequence[Path]:
        """See `Adapter.files`."""
        return [path for path in (self.tasks, self.image_list, self.counts, self.words) if path is not None]

    def rows(self) -> Iterator[tuple[ImageFile, Sample]]:
        """See `Adapter.rows`."""
        entries, find = self.image_entries(), self.image_finder()
        images: dict[str, ImageFile] = {}
        ranks = None if self.counts is None else _ranks(self.counts)
        words = None if self.words is None else read_word_lists(self.words)
        for index, element in enumerate(read_array(self.tasks)):
            task = Fields(element, f"{self.tasks}, element {index}")
            image_id = task.identifier("image_id")
            image = images.get(image_id)
            if image is None:
                if image_id not in entries:
                    task.fail(f"its image {image_id} is not in {self.image_list}")
                height, width, coco_id = entries[image_id]
                image = images[image_id] = ImageFile(image_id, find(f"{image_id}.jpg"), height, width, coco_id)
            yield image, _sample(task, image, ranks, words)

    def image_finder(self) -> ImageFinder:
        """Finds photographs by file name."""
        return ImageFinder([base / name for base in (self.release, self.release.parent, self.request.root) for name in _IMAGES])

    def image_entries(self) -> dict[str, tuple[int, int, int | None]]:
        """Height, width and COCO id of every image of the release; 77,000 of them, so they stay tuples."""
        entries: dict[str, tuple[int, int, int | None]] = {}
        for index, element in enumerate(read_array(self.image_list)):
            entry = Fields(element, f"{self.image_list}, element {index}")
            coco_id = entry.integer("coco_id") if entry.value.get("coco_id") else None
            entries[entry.identifier("image_id")] = (entry.size("height"), entry.size("width"), coco_id)
        return entries


def _sample(task: Fields, image: ImageFile, ranks: Ranks | None, words: WordLists | None) -> Sample:
    structure = task.fields("phrase_structure")
    boxes = task.boxes("instance_boxes")
    geometry = Geometry(image.height, image.width, _instances(task))
    phrase = Phrase(
        name=structure.text("name"),
        attributes=structure.texts("attributes"),
        relations=len(structure.items("relation_descriptions")),
        kind=structure.text("type"),
        boxes=len(boxes),
        relative_size=_relative_size(task, geometry),
        in_coco=image.coco_id is not None,
    )
    return Sample(
        sample_id=task.identifier("task_id"),
        image_id=image.image_id,
        phrase=task.text("phrase"),
        geometry=geometry,
        category=phrase.name,
        boxes=boxes,
        tags=subsets_of(phrase, ranks, words),
    )


def _instances(task: Fields) -> tuple[tuple[Polygon, ...], ...]:
    """``Polygons``: instances of polygons of [x, y] points. All points become one array, of which the polygons are views."""
    polygons = task.items("Polygons")
    try:
        rings = flatten(polygons)
        points = flatten(rings)
        flat = numbers(flatten(points)) if set(map(len, points)) <= {2} else None
    except TypeError:
        flat = None
    if flat is None:
        task.fail("'Polygons' should hold, per instance, lists of [x, y] points of finite numbers")
    xy = flat.reshape(-1, 2)
    instances, end = [], 0
    for instance in polygons:
        parts = []
        for ring in instance:
            start, end = end, end + len(ring)
            parts.append(Polygon(xy[start:end]))
        instances.append(tuple(parts))
    return tuple(instances)


def _relative_size(task: Fields, geometry: Geometry) -> float:
    """Share of the image under the PIL mask, the official rule for s_small, s_mid and s_large; for small masks an upper bound that is small too."""
    pixels = geometry.height * geometry.width
    bound = _bound(geometry) / pixels
    if bound < SMALL:
        return bound  # surely small, so no mask is made
    try:
        true = covered(geometry.parts, geometry.height, geometry.width, "pil")
    except DataError as error:
        task.fail(f"'Polygons': {error.what.rstrip('.')}")
    return true / pixels


def _bound(geometry: Geometry) -> float:
    """No fewer pixels than the PIL mask has: the polygons' bounding boxes, outlines included, one after the other."""
    total = 0.0
    for part in geometry.parts:
        if isinstance(part, Polygon) and len(part.xy):
            right, bottom = part.xy.max(axis=0).tolist()
            left, top = part.xy.min(axis=0).tolist()
            total += (math.trunc(right) - math.trunc(left) + 1.0) * (math.trunc(bottom) - math.trunc(top) + 1.0)
    return total


def _ranks(path: Path) -> Ranks:
    value = Fields(load_json(path), str(path))
    return Ranks(_rank(value, "cat"), _rank(value, "att"))


def _rank(counts: Fields, key: str) -> dict[str, int]:
    ranks: dict[str, int] = {}
    for index, entry in enumerate(counts.items(key)):
        if not isinstance(entry, list) or not entry or not isinstance(entry[0], str):
            counts.fail(f"{key!r} element {index} should be [name, count]")
        ranks.setdefault(entry[0], index)
    return ranks


def _find(request: Request) -> tuple[Path, Path]:
    """The split's task file and the image list."""
    root, name = request.root, f"refer_{request.name.split}.json"
    check_root(root)
    release = find_folder(root, _PLACES, lambda folder: (folder / name).is_file())
    if release is None:
        expected = f"A PhraseCut release ({RELEASE}) holds {name}, {IMAGE_LISTS[0]} or {IMAGE_LISTS[1]}, {COUNTS} and images/."
        raise not_found(request.name.full, root, _PLACES, expected, _instead(root))
    image_list = next((release / name for name in IMAGE_LISTS if (release / name).is_file()), None)
    if image_list is None:
        raise DataError(f"{release} has neither {' nor '.join(IMAGE_LISTS)}.", "That file states the images' sizes; fetch it with the release.")
    return release / name, image_list


def _instead(root: Path) -> str:
    """What a wrong or incomplete release is, in words."""
    for place in _PLACES:
        folder = root / place
        if found := sorted(path.name for path in folder.glob("refer_*.json") if not path.name.startswith("refer_input_")):
            return f"{folder} has {', '.join(found)} only."
        if list(folder.glob("refer_input_*.json")):
            return f"{folder} has the refer_input_*.json files only, which are without the masks."
        if list(folder.glob("finetune_phrasecut_*.json")):
            return f"{folder} is MDETR's copy, which keeps only the last polygon of each instance: numbers on it are not PhraseCut's."
        if list(folder.glob("refs(*).p")) or list(folder.glob("refcoco*/refs(*).p")):
            return f"{folder} is a REFER release (RefCOCO); name refcoco, refcoco+ or refcocog, or give another --data-root."
    return ""
