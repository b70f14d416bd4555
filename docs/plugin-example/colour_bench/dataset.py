"""An adapter: ``patches.tsv`` names an image, a box and a phrase per line; images lie beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from ldznet_bench.datasets.adapter import Adapter, Request
from ldznet_bench.datasets.places import check_root, find_folder, not_found
from ldznet_bench.datasets.sample import ImageFile, Sample
from ldznet_bench.errors import DataError
from ldznet_bench.masks.geometry import Geometry, polygon

PLACES = ("", "patches")
TABLE = "patches.tsv"


class Patches(Adapter):
    """One split."""

    version = 1  # grows when the same release would give other samples

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        check_root(request.root)
        found = find_folder(request.root, PLACES, lambda folder: (folder / TABLE).is_file())
        if found is None:
            raise not_found(request.name.full, request.root, PLACES, f"A release holds {TABLE} with its images beside it.")
        self.folder = found

    @classmethod
    def card(cls) -> Path:
        """The card comes with this package."""
        return Path(__file__).with_name("patches.yaml")

    def files(self) -> Sequence[Path]:
        """What decides the samples, images aside."""
        return [self.folder / TABLE]

    def rows(self) -> Iterator[tuple[ImageFile, Sample]]:
        """A sample per line: split, image, x, y, width, height, phrase, between tabs."""
        for number, line in enumerate((self.folder / TABLE).read_text(encoding="utf-8").splitlines(), 1):
            cells = line.split("\t")
            try:
                split, name, phrase = cells[0], cells[1], cells[6]
                x, y, width, height = (float(cell) for cell in cells[2:6])
            except (IndexError, ValueError) as error:
                raise DataError(f"{self.folder / TABLE}, line {number}: {error}.", "A line is split, image, x, y, width, height, phrase.") from error
            if split == self.request.name.split:
                path = self.folder / name
                with Image.open(path) as image:
                    columns, rows = image.size
                ring = polygon([x, y, x + width, y, x + width, y + height, x, y + height])
                yield ImageFile(name, path, rows, columns), Sample(f"{Path(name).stem}__{number}", name, phrase, Geometry(rows, columns, ((ring,),)))
