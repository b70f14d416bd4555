"""Bundled sets: one Parquet file per split, a row per image with its file, the masks of its instances and its phrases.

Pictures are unpacked below HOME/unpacked when a set is prepared, since everything else reads an image from its path.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ldznet_bench.atomic import write_bytes, write_error
from ldznet_bench.datasets.adapter import Adapter, Request
from ldznet_bench.datasets.sample import ImageFile, Sample
from ldznet_bench.errors import DataError
from ldznet_bench.masks import rle
from ldznet_bench.masks.geometry import Geometry, Rle

_REMEDY = "Install the package again, or make the file anew; docs/minicut.md says how."
COLUMNS = ("image_id", "file", "image", "height", "width", "caption", "masks", "phrases")


class Packed(Adapter):
    """One split from ``ROOT/<partition>-<split>.parquet``, or ``ROOT/<split>.parquet`` where there are no partitions."""

    version = 1

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        name = request.name
        self.file = request.root / f"{'-'.join(filter(None, (name.partition, name.split)))}.parquet"
        if not self.file.is_file():
            raise DataError(f"{name.full}: there is no {self.file}.", _REMEDY)

    def files(self) -> Sequence[Path]:
        """See `Adapter.files`."""
        return [self.file]

    def rows(self) -> Iterator[tuple[ImageFile, Sample]]:
        """See `Adapter.rows`."""
        content = self.file.read_bytes()
        try:
            rows = pq.read_table(pa.BufferReader(content), columns=list(COLUMNS)).to_pylist()
            pictures = {_plain(row["file"]): row["image"] for row in rows}
        except (pa.ArrowException, KeyError, ValueError) as error:
            raise DataError(f"{self.file} is no packed split: {error}.", _REMEDY) from error
        folder = self.request.home / "unpacked" / f"{self.file.stem}-{hashlib.sha256(content).hexdigest()[:12]}"
        unpack(pictures, folder)
        for row in rows:
            yield from self._samples(row, folder)

    def _samples(self, row: dict[str, Any], folder: Path) -> Iterator[tuple[ImageFile, Sample]]:
        height, width, image_id = row["height"], row["width"], row["image_id"]
        image = ImageFile(image_id, folder / row["file"], height, width)
        masks = [Rle(height, width, counts) for counts in row["masks"]]
        try:
            for mask in masks:
                rle.runs(mask)
            for each in row["phrases"]:
                geometry = Geometry(height, width, tuple((masks[place],) for place in each["instances"]))
                yield (
                    image,
                    Sample(each["id"], image_id, each["phrase"], geometry, category=each["category"], ref_id=each["ref"], tags=tuple(each["tags"])),
                )
        except (IndexError, DataError) as error:
            raise DataError(f"{self.file}: image {image_id!r} is damaged: {error}.", _REMEDY) from error


def _plain(name: str) -> str:
    if not name or PurePath(name).name != name:
        raise ValueError(f"the image {name!r} is no plain file name")
    return name


def unpack(pictures: dict[str, bytes], folder: Path) -> None:
    """Writes files into a folder that appears whole; in one that is there, only what is absent or changed is written again.

    Raises:
        BenchError: the folder cannot be written.
    """
    if not folder.is_dir():
        with contextlib.suppress(FileExistsError):
            _appear(pictures, folder)
    for name, content in pictures.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != content:
            write_bytes(path, content)


def _appear(pictures: dict[str, bytes], folder: Path) -> None:
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=folder.parent))
        for name, content in pictures.items():
            (temporary / name).write_bytes(content)
        temporary.chmod(0o755)
        if not folder.exists():  # another split's process may have been faster; what it wrote is checked next
            temporary.rename(folder)
    except OSError as error:
        raise write_error(folder, error) from error
    finally:
        if temporary is not None and temporary.exists():
            shutil.rmtree(temporary)
