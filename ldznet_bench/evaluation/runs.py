"""Run folders: one cell each. Journals while it is being made; records, summary and timings, each written once, when it is complete."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shutil
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import filelock
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ldznet_bench.atomic import acquire, read_object, replacing, write_error, write_json
from ldznet_bench.errors import RunError
from ldznet_bench.evaluation.identity import Identity, differences
from ldznet_bench.evaluation.journal import Frame, Journal, notes, openings, read_batch, record_frames
from ldznet_bench.evaluation.sharding import Shard
from ldznet_bench.evaluation.unfinished import Part, PlanError, missing_parts, write_plan
from ldznet_bench.evaluation.workers import Worker, host_in_a_file_name
from ldznet_bench.records import SCHEMA

_ROW_GROUP = 256
_ROWS_READ = 64  # under native@1 a record holds 51 KB of counts, which reading takes four times: 13 MB at once
_MASK_ROWS = 1000  # in place of both for masks, whose records hold no counts, or those at a protocol's few thresholds
_FRAMES_IN_MEMORY = 8


@dataclass(frozen=True)
class RunFolder:
    """The folder of one cell: ``RUNS/<dataset>/<protocol>/<model>/<identity>``; a limited run carries ``-limitN`` behind its identity.

    Attributes:
        root: RUNS.
        identity: of the cell.
        limit: samples that a limited run is cut to; None for all.
        content: what records hold beside counts (``masks``, ``maps=…``); a journal of other content is not continued.
    """

    root: Path
    identity: Identity
    limit: int | None = None
    content: str = "masks"
    _state: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def path(self) -> Path:
        """Where the cell lives."""
        tail = self.identity.digest if self.limit is None else f"{self.identity.digest}-limit{self.limit}"
        return self._siblings / tail

    @property
    def _siblings(self) -> Path:
        return self.root / _name(self.identity.dataset) / self.identity.protocol / _name(self.identity.model)

    @property
    def journals(self) -> list[Path]:
        """Journals of every process that has worked on the cell, in name order."""
        return sorted((self.path / "journal").glob(f"{self.content}.*.bin"))

    def complete(self) -> bool:
        """Whether the cell is finished, with the content that is asked for.

        Raises:
            RunError: the folder holds a run of something else, which somebody put there.
        """
        run = self.read()
        if run is None:
            return False
        if run["identity_digest"] != self.identity.digest:
            self._refuse_foreign(run["identity"], "run.json", "Remove that folder and run again.")
        whole = all((self.path / name).is_file() for name in ("summary.json", "records.parquet"))
        return whole and run["status"] == "complete" and run["content"] == self.content

    def read(self) -> dict[str, Any] | None:
        """``run.json``, or None where there is none."""
        return read_json(self.path / "run.json", ("status", "content", "identity", "identity_digest", "provenance"))

    def summary(self) -> dict[str, Any]:
        """``summary.json`` of a complete cell."""
        value = read_json(self.path / "summary.json", ("metrics", "partial"))
        if value is None:
            raise RunError(f"{self.path} is not complete: it has no summary.json.", "Repeat the command that started it; it continues.")
        return value

    def why_new(self) -> list[str]:
        """What differs from the latest finished cell of the same names; empty where there is none."""
        runs = [_readable(path) for path in self._siblings.glob("*/run.json") if path.parent != self.path]
        others = [run for run in runs if run is not None and run["status"] == "complete" and run["provenance"].get("limit") is None]
        if not others:
            return []
        latest = max(others, key=lambda run: str(run["provenance"].get("finished")))
        return differences(self.identity.to_json(), latest["identity"])

    def begin(self, about: Mapping[str, Any], plan: Sequence[tuple[int, str, int]]) -> bool:
        """Write ``run.json`` of a cell that is being made, and what it consists of (`write_plan`).

        Returns:
            False where others have finished it meanwhile. Merging holds the same lock, so a late process cannot undo what they did.
        """
        with self.locked("merge"):
            if self.complete():
                return False
            self._refuse_other_content()
            write_plan(self.path, plan)
            write_json(self.path / "run.json", {**about, "status": "incomplete", "content": self.content})
        return True

    def _refuse_other_content(self) -> None:
        """Parts that keep other things (``--no-masks``) would wait for one another, and the last one drop what the others counted."""
        others = {path.name.partition(".")[0] for path in (self.path / "journal").glob("*.bin")} - {self.content}
        if others:
            raise RunError(
                f"{self.path} was begun with records of another kind ({', '.join(sorted(others))}; this command asks for {self.content}).",
                "Give the same --no-masks and --keep-maps as before, or remove its journal folder and begin anew.",
            )

    def open_journal(self, shard: Shard) -> Journal:
        """The journal of this process.

        Raises:
            RunError: a process with the same part is at work.
        """
        part = self.path / "journal" / f"{self.content}.{shard.index}of{shard.count}"
        opening = {"worker": Worker.here(shard).to_json(), "identity": self.identity.to_json(), "limit": self.limit}
        try:
            return Journal(part.with_name(f"{part.name}.{host_in_a_file_name()}.bin"), opening, part.with_name(f"{part.name}.lock"))
        except RunError as error:
            others = [worker for worker in self.workers() if worker.shard == shard]
            if not others:
                raise
            raise RunError(f"part {shard} of {self.path} is being made by {others[-1]}.", error.remedy) from error

    def workers(self) -> list[Worker]:
        """Every process that has worked on the cell, in the order in which they began.

        Raises:
            RunError: a journal holds records of something else; what differs is named.
        """
        found = []
        for path in self.journals:
            for opening in openings(path):
                worker = Worker.from_json(opening["worker"])
                mine, its = ({**of, "limit": limit} for of, limit in ((self._plain, self.limit), (opening["identity"], opening["limit"])))
                if its != mine:
                    remedy = "Remove that file and run again; shards can only be put together where all of this is equal."
                    self._refuse_foreign(its, f"journal/{path.name} ({worker})", remedy)
                found.append(worker)
        return sorted(found, key=lambda worker: worker.started)

    def done(self) -> set[str]:
        """Ids of the samples that some journal holds.

        Raises:
            RunError: as `workers`.
        """
        self.workers()
        try:
            return {ident for frame in record_frames(self.journals) for ident in read_batch(frame).column("sample_id").to_pylist()}
        except FileNotFoundError:  # another process merged the journals and dropped them
            return set()

    def missing(self) -> list[Part]:
        """The parts of which something is missing, with the processes that had them; none where that cannot be told before the run goes on."""
        try:
            return missing_parts(self.path, self.content)
        except PlanError:
            return []

    @property
    def _plain(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(json.dumps(self.identity.to_json()))
        return value

    def _refuse_foreign(self, other: dict[str, Any], where: str, remedy: str) -> NoReturn:
        changed = differences({**self._plain, "limit": self.limit}, {"limit": self.limit, **other})
        raise RunError(f"{self.path} holds in {where} what was made with something else: {', '.join(changed)}.", remedy)

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the folder's lock of that name, waiting for it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from error
        lock = filelock.FileLock(self.path / f".{name}.lock")
        acquire(lock, self.path)
        try:
            yield
        finally:
            lock.release()

    def write_records(self, sample_ids: Sequence[str], *, binary: bool = False) -> None:
        """Merge the journals to ``records.parquet``, in dataset order.

        Args:
            sample_ids: of the cell.
            binary: records are of masks, not of score maps, and small.

        Raises:
            RunError: two processes counted a sample differently; the samples are named.
        """
        for abandoned in self.path.glob(".*.part"):  # of a process that was killed here: whoever merges has the lock
            abandoned.unlink(missing_ok=True)
        with replacing(self.path / "records.parquet") as temporary, pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
            rows = _MASK_ROWS if binary else _ROW_GROUP
            for table in _merged(self.journals, sample_ids, rows):
                writer.write_table(table, row_group_size=rows)
                del table
                pa.default_memory_pool().release_unused()  # what it keeps grows with the dataset, and the summary would come on top of it

    def write_timings(self) -> None:
        """Merge the journals' notes to ``timings.parquet``: seconds per phase and micro-batch."""
        rows = list(notes(self.journals)) or [{"batch": 0, "samples": 0}]
        with replacing(self.path / "timings.parquet") as temporary:
            pq.write_table(pa.Table.from_pylist(rows), temporary, compression="zstd")

    def end(self, about: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
        """Write the summary, then declare the cell complete, then drop the journals."""
        write_json(self.path / "summary.json", summary)
        write_json(self.path / "run.json", {**about, "status": "complete", "content": self.content})
        self.drop_journals()

    def drop_journals(self) -> None:
        """Remove what a complete cell needs no more, whoever wrote it."""
        for path in (self.path / "journal").glob("*"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a late process may just be opening its own
            (self.path / "journal").rmdir()

    def drop_leftovers(self) -> None:
        """Journals beside a complete cell: of a process that was killed when all was done, or copied from another machine since."""
        if (self.path / "journal").is_dir():
            with self.locked("merge"):
                if self.complete():  # and nobody makes it anew, with other content
                    self.drop_journals()

    def drop_if_unfinished(self) -> None:
        """Remove a cell that will never be continued."""
        if not self.complete():
            shutil.rmtree(self.path, ignore_errors=True)

    def records(self, columns: Sequence[str] | None = None, *, binary: bool = False) -> Iterator[pa.RecordBatch]:
        """The records, in dataset order, some hundred at a time; `binary` as in `write_records`."""
        # pyarrow takes a relative path for a URI when its first part holds a colon, as dataset names do: where RUNS is the current folder.
        with pq.ParquetFile((self.path / "records.parquet").absolute()) as file:
            yield from file.iter_batches(batch_size=_MASK_ROWS if binary else _ROWS_READ, columns=columns)


def read_json(path: Path, keys: Sequence[str] = ()) -> dict[str, Any] | None:
    """A JSON object of a run, or None where the file is absent.

    Raises:
        RunError: as `read_object`.
    """
    try:
        return read_object(path, keys)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _readable(path: Path) -> dict[str, Any] | None:
    try:
        return read_json(path, ("status", "identity", "provenance"))
    except RunError:
        return None


def _name(text: str) -> str:
    """A name as one folder: ``clipseg/full+hf`` becomes ``clipseg--full+hf``."""
    return re.sub(r"[/\\\0]", "--", text)


def _merged(paths: Sequence[Path], sample_ids: Sequence[str], row_group: int) -> Iterator[pa.Table]:
    """The records of samples in their order, a row group at a time. What is kept of each sample is its id and a number."""
    import pyarrow.compute as pc  # only who merges pays for it

    found = list(record_frames(paths))
    ids = [pa.array(read_batch(frame).column("sample_id").to_pylist(), pa.string()) for frame in found]  # a copy: a slice would hold its frame
    starts = np.cumsum([0, *map(len, ids)])
    journalled = pa.concat_arrays(ids)

    def locate(place: int) -> tuple[Frame, int]:
        number = int(np.searchsorted(starts, place, "right")) - 1
        return found[number], place - int(starts[number])

    first = pc.index_in(journalled, value_set=journalled).to_numpy()
    for place in np.flatnonzero(first != np.arange(len(first))).tolist():
        _refuse_if_different(locate(int(first[place])), locate(place), journalled[place].as_py())
    places = pc.index_in(pa.array(sample_ids, pa.string()), value_set=journalled).to_numpy()
    batches: OrderedDict[Frame, pa.RecordBatch] = OrderedDict()
    for start in range(0, len(places), row_group):
        rows = []
        for begin, count in _runs(places[start : start + row_group], starts):
            frame, row = locate(begin)
            if frame not in batches:
                batches[frame] = read_batch(frame)
                if len(batches) > _FRAMES_IN_MEMORY:
                    batches.popitem(last=False)
            rows.append(batches[frame].slice(row, count))
        table = pa.Table.from_batches(rows, SCHEMA).combine_chunks()
        rows.clear()  # the frames are not held while the table is written
        yield table


def _runs(places: npt.NDArray[Any], starts: npt.NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Where neighbours in order are neighbours in a frame too: the first of each run, and how many they are."""
    breaks = np.flatnonzero((np.diff(places) != 1) | np.isin(places[1:], starts)) + 1
    for begin, end in itertools.pairwise((0, *breaks.tolist(), len(places))):
        yield int(places[begin]), end - begin


def _refuse_if_different(first: tuple[Frame, int], second: tuple[Frame, int], ident: str) -> None:
    one, other = (read_batch(frame).slice(row, 1) for frame, row in (first, second))
    if not one.equals(other):
        raise RunError(
            f"two processes counted sample {ident!r} differently ({first[0].path.name} and {second[0].path.name}).",
            "They ran with different devices, threads or libraries. Remove the run folder and repeat with one configuration.",
        )
