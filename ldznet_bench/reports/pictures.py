"""Images, truths and predictions of single samples, for galleries: read through the prepared dataset while a report is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from ldznet_bench.errors import DataError
from ldznet_bench.masks import rle
from ldznet_bench.masks.geometry import Rle
from ldznet_bench.masks.rasterise import rasterise
from ldznet_bench.protocols import Protocol as Rules
from ldznet_bench.statistics.samples import read_batches

BoolArray = npt.NDArray[np.bool_]


class Dataset(Protocol):
    """The part of a prepared dataset that galleries need."""

    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    def find(self, sample_id: str) -> tuple[Any, Any]: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Picture:
    """One sample.

    Attributes:
        image: RGB, at most `side` pixels on its longer side.
        truth: bool, of the image's size.
    """

    image: Image.Image
    truth: BoolArray


def picture(dataset: Dataset, sample_id: str, rules: Rules, side: int) -> Picture:
    """Image and truth of a sample at thumbnail size; the truth is drawn by the protocol's rasteriser.

    Raises:
        DataError: the image cannot be read.
    """
    file, sample = dataset.find(sample_id)
    try:
        with Image.open(file.path) as opened:
            image = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"image {file.image_id} ({file.path}) cannot be read ({error}).", "Fetch it again, or make the report without pictures."
        ) from error
    geometry = sample.geometry
    truth = rasterise(geometry.parts, geometry.height, geometry.width, rules.rasteriser)
    scale = min(1.0, side / max(geometry.width, geometry.height))
    size = max(1, round(scale * geometry.width)), max(1, round(scale * geometry.height))
    return Picture(image.resize(size, Image.Resampling.BILINEAR), fit(truth, size))


def predictions(run: Path, sample_ids: set[str]) -> dict[str, BoolArray]:
    """Stored masks of some samples, each on its protocol's canvas; samples without one are absent."""
    found: dict[str, BoolArray] = {}
    for batch in read_batches(run, ["sample_id", "height", "width", "pred_rle"]):
        for row, ident in enumerate(batch.column("sample_id").to_pylist()):
            code = batch.column("pred_rle")[row].as_py() if ident in sample_ids else None
            if code is not None:
                found[ident] = rle.decode(Rle(batch.column("height")[row].as_py(), batch.column("width")[row].as_py(), code.encode()))
    return found


def fit(mask: BoolArray, size: tuple[int, int]) -> BoolArray:
    """A mask at (width, height), nearest neighbour."""
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST), dtype=bool)
