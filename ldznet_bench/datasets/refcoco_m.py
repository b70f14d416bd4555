"""RefCOCO-M: the val split of RefCOCO with new masks, and the old masks of the same samples, so that the two can be told apart.

Format: the card of moondream/refcoco-m. A row is an image with its instances; each has an id, sentences, a box and one COCO run-length code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ldznet_bench.datasets.adapter import Adapter, Request
from ldznet_bench.datasets.card import dataset_card
from ldznet_bench.datasets.fields import Fields
from ldznet_bench.datasets.names import DatasetName
from ldznet_bench.datasets.places import check_root, find_folder, not_found
from ldznet_bench.datasets.refer import Box, Refer, photographs
from ldznet_bench.datasets.sample import ImageFile, Sample
from ldznet_bench.errors import DataError
from ldznet_bench.masks import rle
from ldznet_bench.masks.geometry import Geometry

COLUMNS = ("image_id", "file_name", "samples")
_PLACES = ("refcoco-m", "refer/refcoco-m", "refer/data/refcoco-m", "data/refcoco-m", "moondream/refcoco-m", "")


class RefCocoM(Adapter):
    """The split under its new masks, or under RefCOCO's own (partition ``old``): the same ids, phrases and images, and only those that survived."""

    version = 1

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        check_root(request.root)
        found = find_folder(request.root, _PLACES, lambda folder: bool(tables_in(folder)))
        if found is None:
            expected = "RefCOCO-M is refcoco-m.parquet (as `download` writes it) or data/validation-*.parquet, in a folder refcoco-m."
            raise not_found(request.name.full, request.root, _PLACES, expected)
        self.folder = found
        self.tables = tables_in(found)
        self.old = _refcoco(request) if request.name.partition == "old" else None

    def files(self) -> Sequence[Path]:
        """See `Adapter.files`."""
        return [*self.tables, *([] if self.old is None else self.old.files())]

    def rows(self) -> Iterator[tuple[ImageFile, Sample]]:
        """See `Adapter.rows`."""
        rows = self._new()
        return rows if self.old is None else _with_old_masks(rows, self.old)

    def _new(self) -> Iterator[tuple[ImageFile, Sample]]:
        find = photographs(self.folder, self.request.root)
        for place, row in read_rows(self.tables):
            fields = Fields(row, place)
            for element in fields.items("samples"):
                yield from _samples(Fields(element, place), fields, find(fields.text("file_name")))


def tables_in(folder: Path) -> list[Path]:
    """The tables of a copy of RefCOCO-M."""
    own = folder / "refcoco-m.parquet"
    return [own] if own.is_file() else sorted([*folder.glob("data/validation-*.parquet"), *folder.glob("validation-*.parquet")])


def read_rows(tables: Sequence[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of the tables without their images, each with its place.

    Raises:
        DataError: a table cannot be read or has other columns.
    """
    for table in tables:
        number = 0
        try:
            with pq.ParquetFile(table) as file:
                for batch in file.iter_batches(64, columns=list(COLUMNS)):
                    for row in batch.to_pylist():
                        yield f"{table}, row {number}", row
                        number += 1
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{table} cannot be read ({error}).", "Fetch it again.") from error


def _samples(instance: Fields, row: Fields, path: Path) -> Iterator[tuple[ImageFile, Sample]]:
    mask = instance.fields("mask")
    try:
        code = rle.from_coco(mask.value)
    except DataError as error:
        instance.fail(f"its mask: {error.what}")
    image = ImageFile(row.identifier("image_id"), path, code.height, code.width, row.integer("image_id"))
    box = instance.box("bbox")
    if box[0] >= image.width or box[1] >= image.height or box[0] + box[2] <= 0 or box[1] + box[3] <= 0:
        instance.fail(f"its box {list(box)} lies outside its image of {image.width}x{image.height}")
    ident = instance.identifier("id")
    for number, sentence in enumerate(instance.texts("sentences")):
        yield (
            image,
            Sample(
                sample_id=f"{ident}__{number}",
                image_id=image.image_id,
                phrase=sentence,
                geometry=Geometry(image.height, image.width, ((code,),)),
                category=instance.text("category"),
                ref_id=ident,
                boxes=(box,),
            ),
        )


def _refcoco(request: Request) -> Refer:
    name = DatasetName("refcoco", "unc", "val")
    return Refer(dataclasses.replace(request, name=name, card=dataset_card("refcoco")))


def _with_old_masks(rows: Iterator[tuple[ImageFile, Sample]], refcoco: Refer) -> Iterator[tuple[ImageFile, Sample]]:
    """Each sample with the truth of the referent that the same words name on the same image, the nearest by box where there are several."""
    referents: dict[tuple[str, str], list[Sample]] = {}
    for _, sample in refcoco.rows():
        for text in {_plain(sample.phrase), _plain(sample.sent or "")}:
            referents.setdefault((sample.image_id, text), []).append(sample)
    for image, sample in rows:
        named = referents.get((sample.image_id, _plain(sample.phrase)), [])
        if not named:
            what = f"RefCOCO-M's sample {sample.sample_id!r} ({sample.phrase!r} on image {sample.image_id}) is in no referent of {refcoco.refs}."
            raise DataError(what, "Take RefCOCO's unc release, whose val split RefCOCO-M was made from.")
        old = max(named, key=lambda other: (_overlap(other.boxes[0], sample.boxes[0]), -int(other.ref_id or 0)))
        if (old.geometry.height, old.geometry.width) != (image.height, image.width):
            what = (
                f"sample {sample.sample_id!r} is {image.width}x{image.height} in RefCOCO-M and {old.geometry.width}x{old.geometry.height} in RefCOCO."
            )
            raise DataError(what, "One of the two is another release.")
        yield image, dataclasses.replace(sample, geometry=old.geometry, boxes=old.boxes)


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _overlap(a: Box, b: Box) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(0.0, width) * max(0.0, height)
    either = a[2] * a[3] + b[2] * b[3] - both
    return both / either if either > 0 else 0.0


def image_fields(tables: Sequence[Path]) -> Iterator[tuple[Mapping[str, Any], list[Fields]]]:
    """(image id and file name, instances) of every image; for `download`, before there are images."""
    for place, row in read_rows(tables):
        fields = Fields(row, place)
        yield {"image_id": fields.integer("image_id"), "file_name": fields.text("file_name")}, [Fields(one, place) for one in fields.items("samples")]
