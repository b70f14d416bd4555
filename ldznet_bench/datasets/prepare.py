"""Making a prepared set from a release: read once, checked, grouped by image, written whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout

from ldznet_bench import __version__
from ldznet_bench.atomic import write_error
from ldznet_bench.cards import card_digest
from ldznet_bench.datasets.adapter import Adapter, Progress
from ldznet_bench.datasets.columns import DATA_FILE, IMAGES, SAMPLES, SampleTable, map_table, sample_table
from ldznet_bench.datasets.counts import Found
from ldznet_bench.datasets.fingerprint import fingerprint
from ldznet_bench.datasets.image_check import Checked, check_images
from ldznet_bench.datasets.sample import ImageFile, Sample
from ldznet_bench.datasets.store import META, PreparedDataset, find_prepared, image_key, stat_of
from ldznet_bench.errors import DataError
from ldznet_bench.masks.geometry import Geometry
from ldznet_bench.masks.rasterise import polygon_oddities

STORE_VERSION = 2  # grows when the layout of a prepared set changes
_BATCH = 512  # samples per record batch: 1 MB of PhraseCut
_TEMPORARY = ".making-"


def open_or_prepare(adapter: Adapter, progress: Progress | None = None) -> PreparedDataset:
    """The prepared set of an adapter's split, made first where there is none, or where a source file or an image has changed.

    Processes that ask at once share one: the first makes it under a lock, the others wait for it.

    Raises:
        DataError: a source file is damaged, ids are not unique, or the split has no samples.
        BenchError: HOME cannot be written.
    """
    request = adapter.request
    folder = prepared_folder(request.home, request.name.full)
    key = source_key(adapter)
    found = find_prepared(folder, key)
    if found is None:
        tell = progress or (lambda *_: None)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder, tell):
                found = find_prepared(folder, key) or _prepare(adapter, folder, key, tell)
        except OSError as error:
            raise write_error(folder, error) from error
    return PreparedDataset(found, request.card)


@contextlib.contextmanager
def _locked(folder: Path, progress: Progress) -> Iterator[None]:
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress("waiting for another process", 0, None)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def prepared_folder(home: Path, full_name: str) -> Path:
    """``HOME/prepared/<full name>``, with what no file name may hold percent-encoded."""
    return home / "prepared" / quote(full_name, safe="+:@ ", encoding="utf-8")


def source_key(adapter: Adapter) -> str:
    """20 hex digits over all that decides the samples; see `ldznet_bench.datasets.store`."""
    request = adapter.request
    what = {
        "store": STORE_VERSION,
        "adapter": [type(adapter).__module__, type(adapter).__qualname__, adapter.version],
        "name": request.name.full,
        "card": card_digest(dataclasses.replace(request.card, files=None)),  # another mirror is the same data
        "files": [[str(path), stat_of(path)] for path in adapter.files()],
        "root": str(request.root),
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:20]


def _prepare(adapter: Adapter, folder: Path, key: str, progress: Progress) -> Path:
    for abandoned in folder.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(abandoned)  # of a process that was killed: whoever holds the lock is the only one at work here
    temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=folder))
    try:
        path = folder / f"{key}-{_write(adapter, temporary, progress)}"
        _flush(temporary)
        temporary.chmod(0o755)
        temporary.rename(path)
        _flush_folder(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return path


def _write(adapter: Adapter, folder: Path, progress: Progress) -> str:
    """Write a prepared set's files; returns the image key."""
    request = adapter.request
    collected = _Collector(folder / "samples", progress)
    for image, sample in _rows(adapter):
        collected.add(image, sample)
    collected.finish(request.name.full, adapter)
    checked = []
    for done, check in enumerate(check_images(collected.images), 1):
        checked.append(check)
        progress("checking images", done, len(collected.images))
    images = _image_table(collected.images, collected.counts, checked)
    _write_arrow(folder / "images", IMAGES, [images])
    for check in checked:
        if check.problem:
            collected.oddities[f"image-{_kind(check.problem)}"] += 1
    meta = {
        "name": request.name.full,
        "family": request.name.family,
        "partition": request.name.partition,
        "split": request.name.split,
        "fingerprint": _fingerprint(folder, collected, checked, progress),
        "counts": dataclasses.asdict(collected.found()),
        "absent_tags": adapter.absent_tags,
        "oddities": dict(sorted(collected.oddities.items())),
        "adapter": f"{type(adapter).__module__}:{type(adapter).__qualname__} {adapter.version}",
        "card": card_digest(request.card),
        "root": str(request.root),
        "files": {str(path): _sha256(path) for path in adapter.files()},
        "ldznet_bench": __version__,
    }
    (folder / META).write_text(json.dumps(meta, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return image_key(check.stat for check in checked)


def _rows(adapter: Adapter) -> Iterator[tuple[ImageFile, Sample]]:
    """The adapter's rows; a disk that fails under them is the source's fault, not that of the home."""
    try:
        yield from adapter.rows()
    except OSError as error:
        raise DataError(f"cannot read the release under {adapter.request.root}: {error}.", "Check the disk and its permissions.") from error


class _Collector:
    """Takes samples in source order, writes them grouped by image, and keeps what is counted on the way."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.folder = folder
        self.progress = progress
        self.images: list[ImageFile] = []
        self.counts: list[int] = []
        self.ids: dict[str, int] = {}  # sample id -> position in the source
        self.rows: dict[str, int] = {}  # image id -> row
        self.order: list[int] = []  # image row of each sample, in source order
        self.refs: set[str] = set()
        self.instances = 0
        self.oddities: Counter[str] = Counter()
        self.writer = _Writer(folder, SAMPLES)

    def add(self, image: ImageFile, sample: Sample) -> None:
        position = len(self.order)
        before = self.ids.setdefault(sample.sample_id, position)
        if before != position:
            first = self.images[self.order[before]].image_id
            raise DataError(
                f"sample id {sample.sample_id!r} is given twice: by sample {before} (on image {first}) and by sample {position} (on image "
                f"{sample.image_id}) of the split, counted from 0 in source order.",
                "Ids name predictions and seed draws, so they must be unique; remove one of the two, or fetch the release again.",
            )
        row = self.rows.setdefault(sample.image_id, len(self.images))
        if row == len(self.images):
            self.images.append(image)
            self.counts.append(0)
        self.counts[row] += 1
        self.order.append(row)
        if sample.ref_id is not None:
            self.refs.add(sample.ref_id)
        self.instances += len(sample.geometry.instances)
        self.oddities.update(polygon_oddities(sample.geometry))
        self.writer.add(row, sample)
        if position % 1000 == 999:
            self.progress("reading samples", position + 1, None)

    def finish(self, name: str, adapter: Adapter) -> None:
        """Close the sample table; samples of an image that are apart in the source are brought together."""
        self.writer.close()
        if not self.order:
            files = ", ".join(map(str, adapter.files()))
            raise DataError(f"{name} has no samples in {files}.", "Check the split, and whether the files are of the right release.")
        order = np.argsort(np.asarray(self.order), kind="stable")
        if (order[1:] < order[:-1]).any():
            self._regroup(order.tolist())
            ids = list(self.ids)
            self.ids = {ids[source]: position for position, source in enumerate(order.tolist())}

    def _regroup(self, order: Iterable[int]) -> None:
        """Write the table again in another order, from the mapped first one: memory stays flat."""
        scattered = self.folder.with_name("scattered")
        self.folder.rename(scattered)
        table = SampleTable(map_table(scattered), [image.image_id for image in self.images])
        writer = _Writer(self.folder, SAMPLES)
        for position in order:
            writer.add(self.order[position], table.sample(position))
        writer.close()
        shutil.rmtree(scattered)

    def found(self) -> Found:
        return Found(len(self.images), len(self.order), len(self.refs) or None, self.instances)


class _Writer:
    """Streams samples into an Arrow dataset, `_BATCH` at a time."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.stack = contextlib.ExitStack()
        self.write = self.stack.enter_context(_arrow_writer(folder, schema))
        self.pending: list[tuple[int, Sample]] = []

    def add(self, image: int, sample: Sample) -> None:
        self.pending.append((image, sample))
        if len(self.pending) == _BATCH:
            self._flush()

    def close(self) -> None:
        if self.pending:
            self._flush()
        self.stack.close()

    def _flush(self) -> None:
        try:
            table = sample_table(self.pending)
        except UnicodeEncodeError as error:
            odd = next(s for _, s in self.pending if not _is_text(s.sample_id, s.phrase, s.sent or "", s.category or "", s.ref_id or "", *s.tags))
            remedy = "Half of a surrogate pair (\\ud83d without its other half) is no character; correct the source."
            raise DataError(f"sample {odd.sample_id!a} holds text that is not Unicode: {odd.phrase!a}.", remedy) from error
        self.write(table)
        self.pending = []


def _write_arrow(folder: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    with _arrow_writer(folder, schema) as write:
        for table in tables:
            write(table)


@contextlib.contextmanager
def _arrow_writer(folder: Path, schema: pa.Schema) -> Iterator[Any]:
    """Writes tables to a folder that `datasets.load_from_disk` opens."""
    from datasets.arrow_writer import ArrowWriter
    from datasets.features import Features
    from datasets.info import DatasetInfo

    folder.mkdir()
    features = Features.from_arrow_schema(schema)
    writer = ArrowWriter(path=str(folder / DATA_FILE), features=features, writer_batch_size=_BATCH)
    yield writer.write_table
    writer.finalize()
    DatasetInfo(features=features).write_to_directory(str(folder))
    # What Dataset.save_to_disk writes beside the data; its fingerprint names a cache of transforms, which a prepared set never has.
    state: dict[str, Any] = {
        "_data_files": [{"filename": DATA_FILE}],
        "_fingerprint": "0" * 16,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    (folder / "state.json").write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")


def _image_table(images: list[ImageFile], counts: list[int], checked: list[Checked]) -> pa.Table:
    firsts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    columns = {
        "image_id": [image.image_id for image in images],
        "path": [str(image.path) for image in images],
        "height": [image.height for image in images],
        "width": [image.width for image in images],
        "coco_id": [image.coco_id for image in images],
        "sha256": [check.sha256 for check in checked],
        "problem": [check.problem for check in checked],
        "first": firsts,
        "count": counts,
        "stat": [check.stat for check in checked],
    }
    return pa.Table.from_pydict(columns, schema=IMAGES)


def _fingerprint(folder: Path, collected: _Collector, checked: list[Checked], progress: Progress) -> str:
    image_ids = [image.image_id for image in collected.images]
    images = sorted((image_id, check.sha256) for image_id, check in zip(image_ids, checked, strict=True))
    table = SampleTable(map_table(folder / "samples"), image_ids)

    def samples() -> Iterator[tuple[str, str, Geometry]]:
        for done, sample_id in enumerate(sorted(collected.ids), 1):
            batch, row = table.locate(collected.ids[sample_id])
            yield sample_id, batch.column["phrase"][row].as_py(), batch.geometry(row)
            if done % 1000 == 0:
                progress("fingerprinting", done, len(collected.ids))

    return fingerprint(images, samples())


def _is_text(*texts: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for text in texts for character in text)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kind(problem: str) -> str:
    return "size-mismatch" if problem.startswith("size ") else problem.partition(":")[0]


def _flush(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            with Path(parent, name).open("rb") as file:
                os.fsync(file.fileno())
        _flush_folder(Path(parent))


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
