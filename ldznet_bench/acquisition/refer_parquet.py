"""REFER's two files, written anew from a copy on the Hub that holds refs and annotations as parquet.

The copies of jxu124 keep what others lose: every polygon of an object, the partition, the split marks (testA is still testA). They lack category
names and the order of the original file; neither counts for a score. Columns: ann_id, ref_id, image_id, category_id, split, file_name,
sentences (raw, sent, sent_id, tokens), raw_anns and raw_image_info (the COCO entries as JSON text).
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldznet_bench.acquisition.failures import MirrorFailure
from ldznet_bench.acquisition.hub_tree import list_hub
from ldznet_bench.acquisition.specs import FileSpec, HubFile, Mirror, ReferParquet

if TYPE_CHECKING:
    from ldznet_bench.acquisition.fetch import Fetcher, Job

_TABLE = re.compile(r"(?:.*/)?(train|validation|val|testA|testB|test)-\d+-of-\d+(?:-[0-9a-f]+)?\.parquet")
_COLUMNS = ("ann_id", "ref_id", "image_id", "category_id", "split", "file_name", "sentences", "raw_anns", "raw_image_info")
_PICKLE_PROTOCOL = 2


def take_from_parquet(fetcher: Fetcher, job: Job, source: ReferParquet) -> str:
    """Write refs or instances from the tables of a repository, and put the file in place; returns its sha256.

    Raises:
        MirrorFailure: no such repository, a table that cannot be had, or one of another form.
    """
    tables = [_table(fetcher, source, path) for path in _paths(fetcher, source)]
    make = next(make for ending, make in _MAKERS.items() if job.spec.path.endswith(ending))
    with fetcher.staged(job) as staged:
        try:
            staged.write_bytes(make(tables))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise MirrorFailure(f"the tables of {source.repo} are not of the expected form ({type(error).__name__}: {error})") from error
        return fetcher.accept(job, staged, derived=True)


def refs_of(tables: list[Path]) -> bytes:
    """``refs(…).p``: a pickle of plain dictionaries, refs in the order of their ids."""
    refs = [
        {
            "ref_id": row["ref_id"],
            "ann_id": row["ann_id"],
            "image_id": row["image_id"],
            "category_id": row["category_id"],
            "split": row["split"],
            "file_name": row["file_name"],
            "sent_ids": [sentence["sent_id"] for sentence in row["sentences"]],
            "sentences": [{key: sentence[key] for key in ("sent_id", "sent", "raw", "tokens")} for sentence in row["sentences"]],
        }
        for row in _rows(tables)
    ]
    return pickle.dumps(sorted(refs, key=lambda ref: ref["ref_id"]), protocol=_PICKLE_PROTOCOL)


def instances_of(tables: list[Path]) -> bytes:
    """``instances.json`` with the images and annotations that the refs name."""
    images: dict[int, Any] = {}
    annotations: dict[int, Any] = {}
    for row in _rows(tables):
        annotation, image = json.loads(row["raw_anns"]), json.loads(row["raw_image_info"])
        annotations[int(annotation["id"])] = annotation
        images[int(image["id"])] = image
    content = {
        "images": [images[key] for key in sorted(images)],
        "annotations": [annotations[key] for key in sorted(annotations)],
        "categories": [],
    }
    return json.dumps(content, separators=(",", ":")).encode()


def without_images(tables: list[Path]) -> bytes:
    """RefCOCO-M's tables as one, without the images, which are COCO's."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    from ldznet_bench.datasets.refcoco_m import COLUMNS

    buffer = io.BytesIO()
    pq.write_table(pa.concat_tables([pq.read_table(table, columns=list(COLUMNS)) for table in tables]), buffer)
    return buffer.getvalue()


_MAKERS: dict[str, Callable[[list[Path]], bytes]] = {".p": refs_of, ".json": instances_of, ".parquet": without_images}


def _paths(fetcher: Fetcher, source: ReferParquet) -> list[str]:
    paths = sorted(path for path in list_hub(fetcher.network, source.repo, "dataset", source.revision) if _TABLE.fullmatch(path))
    if not paths:
        raise MirrorFailure(f"{source.repo} holds no tables of refs")
    return paths


def _table(fetcher: Fetcher, source: ReferParquet, path: str) -> Path:
    spec = FileSpec(f"{source.repo}/{path}", (Mirror(hub=HubFile(source.repo, path, source.revision, "dataset")),), role="archive")
    return fetcher.borrow(spec)


def _rows(tables: list[Path]) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet

    seen: set[int] = set()
    for table in tables:
        with pyarrow.parquet.ParquetFile(table) as file:
            for batch in file.iter_batches(512, columns=list(_COLUMNS)):
                for row in batch.to_pylist():
                    if row["ref_id"] in seen:
                        raise ValueError(f"ref {row['ref_id']} is there twice")
                    seen.add(row["ref_id"])
                    yield row
