"""The fingerprint of a dataset: one sha256 that changes when any phrase, geometry or image does, and with nothing else.

It is taken over the UTF-8 bytes of this JSON value, written without spaces, with sorted keys, non-ASCII characters as they are and numbers in
their shortest exact form (Python's json.dumps with sort_keys=True, separators=(",", ":"), ensure_ascii=False):

    {"images":[[image_id, sha256 | null], …],"samples":[[sample_id, phrase, geometry], …]}

Both lists are sorted by id (by code point). sha256 is that of the image file's bytes in hex, null where the file is absent. geometry is
`Geometry.to_json`: {"instances":[[{"polygon":[x0,y0,…]} | {"rle":counts,"size":[h,w]}, …], …],"size":[h,w]}, coordinates as floats (10.0).
So neither the order of the source file, nor paths, tags, categories or boxes matter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from ldznet_bench.masks.geometry import Geometry

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def fingerprint(images: Iterable[tuple[str, str | None]], samples: Iterable[tuple[str, str, Geometry]]) -> str:
    """The fingerprint, hex.

    Args:
        images: (image id, sha256 in hex or None), sorted by id.
        samples: (sample id, phrase, geometry), sorted by id; read once, one at a time.

    Raises:
        ValueError: ids are not strictly ascending.
    """
    digest = hashlib.sha256()
    digest.update(b'{"images":')
    _list(digest, ((image_id, [image_id, sha256]) for image_id, sha256 in images))
    digest.update(b',"samples":')
    _list(digest, ((sample_id, [sample_id, phrase, geometry.to_json()]) for sample_id, phrase, geometry in samples))
    digest.update(b"}")
    return digest.hexdigest()


def _list(digest: Any, entries: Iterable[tuple[str, list[Any]]]) -> None:  # noqa: ANN401 - hashlib has no public type for it
    before: str | None = None
    for identifier, value in entries:
        if before is not None and identifier <= before:
            raise ValueError(f"ids are not ascending: {before!r}, {identifier!r}")
        digest.update(b"[" if before is None else b",")
        digest.update(_encode(value).encode("utf-8", "surrogatepass"))
        before = identifier
    digest.update(b"[]" if before is None else b"]")
