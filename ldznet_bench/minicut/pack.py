"""A split as one Parquet file, a row per image: its WebP, the masks of its instances, and its phrases. `datasets.packed` reads it."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ldznet_bench.masks import rle
from ldznet_bench.minicut.scene import SIDE
from ldznet_bench.minicut.splits import Labelled, tags_of
from ldznet_bench.minicut.styles import Picture

QUALITY = 88
_PHRASE = pa.struct(
    [
        ("id", pa.string()),
        ("phrase", pa.string()),
        ("category", pa.string()),
        ("ref", pa.string()),
        ("instances", pa.list_(pa.int32())),
        ("tags", pa.list_(pa.string())),
    ]
)
SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("file", pa.string()),
        ("image", pa.binary()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("caption", pa.string()),
        ("masks", pa.list_(pa.binary())),
        ("phrases", pa.list_(_PHRASE)),
    ]
)


def encoded(picture: Picture) -> bytes:
    """The picture as the WebP file that is bundled."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="WEBP", quality=QUALITY, method=4)
    return file.getvalue()


def row_of(item: Labelled, picture: Picture | None = None) -> dict[str, Any]:
    """One row of `SCHEMA`.

    Args:
        item: the labelled image.
        picture: another picture of the same scene, pixel by pixel in the same places; its own by default.
    """
    numbers = sorted(set().union(*(phrase.truth for phrase in item.phrases)))
    phrases = [
        {
            "id": f"{item.image_id}-{place}",
            "phrase": phrase.text,
            "category": phrase.noun,
            "ref": f"{item.image_id}-{'-'.join(map(str, sorted(phrase.truth)))}",
            "instances": [numbers.index(number) for number in sorted(phrase.truth)],
            "tags": list(tags_of(phrase, item.layout, item.style)),
        }
        for place, phrase in enumerate(item.phrases)
    ]
    return {
        "image_id": item.image_id,
        "file": f"{item.image_id}.webp",
        "image": encoded(item.picture if picture is None else picture),
        "height": SIDE,
        "width": SIDE,
        "caption": item.caption,
        "masks": [rle.encode(item.layout.visible(number)).counts for number in numbers],
        "phrases": phrases,
    }


def packed(rows: Iterable[dict[str, Any]]) -> bytes:
    """The Parquet file of a split: the same bytes for the same rows under one version of pyarrow."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), sink, compression="zstd", compression_level=19, store_schema=False)
    return bytes(sink.getvalue())
