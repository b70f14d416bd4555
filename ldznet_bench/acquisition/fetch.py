"""One file from its mirrors: tried in order, verified, put in place whole, or refused with every mirror's reason."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import filelock

from ldznet_bench.acquisition.archives import open_archive
from ldznet_bench.acquisition.content import fault_of
from ldznet_bench.acquisition.failures import ArchiveError, MirrorFailure
from ldznet_bench.acquisition.home import Home
from ldznet_bench.acquisition.hub_tree import find_on_hub
from ldznet_bench.acquisition.ledger import Arrival, Ledger
from ldznet_bench.acquisition.network import Network
from ldznet_bench.acquisition.part import CHUNK_BYTES, Part, flush_folder
from ldznet_bench.acquisition.refer_parquet import take_from_parquet
from ldznet_bench.acquisition.sources import hub_cached, source_of
from ldznet_bench.acquisition.specs import CardFiles, FileSpec, Mirror
from ldznet_bench.acquisition.transfer import Expected, transfer
from ldznet_bench.atomic import write_error


class Watcher(Protocol):
    """Is told what happens; called from many threads."""

    def moved(self, name: str, done: int, total: int | None) -> None:
        """Bytes of a file that have arrived, and of how many."""

    def arrived(self, name: str, size: int, mirror: str) -> None:
        """A file is in place."""

    def said(self, text: str) -> None:
        """Something the user may want to know."""


@dataclass(frozen=True, slots=True)
class Job:
    """One file to have.

    Attributes:
        spec: what it is.
        destination: where it goes, absolute, below the home.
        light: one of very many small files: no lock of its own, no flush to disk.
    """

    spec: FileSpec
    destination: Path
    light: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that no mirror gave.

    Attributes:
        job: the file.
        reasons: (mirror, why) in the order they were tried.
    """

    job: Job
    reasons: tuple[tuple[Mirror, str], ...]


@dataclass(frozen=True, slots=True)
class Preference:
    """Which mirrors come first.

    Attributes:
        base: an address or folder that holds files under ``<card root>/<path>``; tried before the card's mirrors.
        labels: labels (hosts) of the card's mirrors that come first, in order.
    """

    base: str | None = None
    labels: tuple[str, ...] = ()

    def order(self, spec: FileSpec, root: str) -> list[Mirror]:
        """Mirrors of a file, best first."""
        ranks = {label: rank for rank, label in enumerate(self.labels)}
        ordered = sorted(spec.mirrors, key=lambda mirror: ranks.get(mirror.label, len(ranks)))
        if self.base is None:
            return ordered
        return [Mirror(https=f"{self.base.rstrip('/')}/{quote(f'{root}/{spec.path}')}"), *ordered]


@dataclass(slots=True)
class Fetcher:
    """Gets the files of one card.

    Attributes:
        home: where they go.
        files: the card's ``files:`` section.
        folder: the root of the card below the home (``HOME/datasets/VGPhraseCut_v0``).
        network: makes the requests.
        ledger: remembers arrivals.
        watcher: is told what happens.
        preference: which mirrors come first.
    """

    home: Home
    files: CardFiles
    folder: Path
    network: Network
    ledger: Ledger
    watcher: Watcher
    preference: Preference = field(default_factory=Preference)
    chunk: int = CHUNK_BYTES
    _fetched: set[Path] = field(default_factory=set)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def job(self, spec: FileSpec) -> Job:
        """A file of the card and where it goes; archives go to their own folder."""
        base = self.home.archives / self.files.root if spec.role == "archive" else self.folder
        return Job(spec, base / spec.path)

    def present(self, job: Job) -> Arrival | None:
        """The file if it is here already, verified now or by an earlier command and not touched since."""
        name = self.home.relative(job.destination)
        known = self.ledger.unchanged(name, job.destination)
        if known is not None and job.spec.sha256 in (None, known.sha256):
            return known
        if not job.destination.is_file():
            return None
        last = self.ledger.last(name)
        was = Expected(job.spec.content, job.spec.size, job.spec.sha256 or (last.sha256 if last else None))
        fault, sha256 = check_file(job.destination, was)
        if fault is not None:
            self.watcher.said(f"{name} is here but not right ({fault}); it is fetched again")
            return None
        return self.ledger.record(name, job.destination, sha256, last.mirror if last else "found in place")

    def get(self, job: Job) -> Arrival | Refusal:
        """Have a file: find it, wait for another process that is fetching it, or fetch it.

        Raises:
            BenchError: the disk is full or not writable, or the network is switched off.
            Stopped: the command is being ended.
        """
        try:
            found = self.present(job)
            if found is not None:
                return found
            if job.light:
                return self._try_mirrors(job)
            with self.locked(job.destination):
                return self.present(job) or self._try_mirrors(job)
        except OSError as error:
            raise write_error(job.destination, error) from error

    def note(self, job: Job, sha256: str, mirror: str) -> Arrival:
        """Remember a file that is in place."""
        arrival = self.ledger.record(self.home.relative(job.destination), job.destination, sha256, mirror)
        self.watcher.arrived(job.spec.path, arrival.size, mirror)
        return arrival

    def drop_archives(self) -> None:
        """Remove the archives that this command unpacked."""
        for path in self._fetched:
            path.unlink(missing_ok=True)

    def disown(self, jobs: Sequence[Job]) -> None:
        """Remove files that proved to be of another release, and forget their pins, so that the right ones can come."""
        for job in jobs:
            job.destination.unlink(missing_ok=True)
            self.ledger.forget(self.home.relative(job.destination))

    def _try_mirrors(self, job: Job) -> Arrival | Refusal:
        reasons: list[tuple[Mirror, str]] = []
        for mirror in self.preference.order(job.spec, self.files.root):
            try:
                sha256 = self._from_mirror(job, mirror)
            except MirrorFailure as failure:
                reasons.append((mirror, failure.reason))
                if len(job.spec.mirrors) > 1 and not job.light:
                    self.watcher.said(f"{job.spec.path}: {mirror.label} failed: {failure.reason}")
                continue
            return self.note(job, sha256, mirror.label)
        return Refusal(job, tuple(reasons))

    def _from_mirror(self, job: Job, mirror: Mirror) -> str:
        """Put the file of one mirror in place and return its sha256."""
        if mirror.member is not None:
            return self._from_archive(job, mirror.member.of, mirror.member.path)
        cached = hub_cached(mirror.hub) if mirror.hub is not None else None
        if cached is not None:
            return self.take(job, cached)
        if self.network.offline:
            raise MirrorFailure("the network is switched off (--offline)")
        if mirror.refer_parquet is not None:
            return take_from_parquet(self, job, mirror.refer_parquet)
        if mirror.hub is not None and mirror.hub.is_pattern:
            mirror = Mirror(hub=find_on_hub(self.network, mirror.hub))
        part = Part(self.home.partial(job.destination), self.chunk)
        try:
            return self._from_network(job, mirror, part)
        finally:
            if part.offset:
                part.close()
            else:
                part.discard()

    def _from_network(self, job: Job, mirror: Mirror, part: Part) -> str:
        resumed = part.offset > 0
        expected = self._expected(job)
        stated = transfer(self.network, source_of(mirror), expected, part, lambda done, total: self.watcher.moved(job.spec.path, done, total))
        if expected.sha256 is None and stated is not None:
            expected = dataclasses.replace(expected, sha256=stated)
        fault = _fault(part.path, part.sha256(), expected, self._pinned(job))
        if fault is None:
            sha256 = part.sha256()
            part.place(job.destination, durable=not job.light)
            return sha256
        part.restart()
        if resumed:
            # The beginning came from an earlier attempt, perhaps of another version of the file: once more, all from here.
            return self._from_network(job, mirror, part)
        part.discard()
        raise MirrorFailure(fault)

    def _from_archive(self, job: Job, archive: str, member: str) -> str:
        try:
            with open_archive(self.archive(archive)) as opened:
                entry = opened.find(member)
                if entry is None:
                    raise MirrorFailure(f"{archive} has no {member}")
                with self.staged(job) as staged:
                    opened.extract(entry, staged)
                    return self.accept(job, staged)
        except ArchiveError as error:
            raise MirrorFailure(str(error)) from error

    def archive(self, path: str) -> Path:
        """Have an archive of the card, for as long as the command lasts.

        Raises:
            MirrorFailure: no mirror gives it.
        """
        return self.borrow(self.files.file(path))

    def borrow(self, spec: FileSpec) -> Path:
        """Have a file that others are made from, for as long as the command lasts.

        Raises:
            MirrorFailure: no mirror gives it.
        """
        job = self.job(spec)
        got = self.get(job)
        if isinstance(got, Refusal):
            told = "; ".join(f"{mirror.label}: {reason}" for mirror, reason in got.reasons)
            raise MirrorFailure(f"{spec.path} cannot be had ({told})")
        with self._guard:
            self._fetched.add(job.destination)
        return job.destination

    def take(self, job: Job, file: Path) -> str:
        """Copy a local file into place, after the same checks as a download.

        Raises:
            MirrorFailure: it is not right.
        """
        with self.staged(job) as staged:
            shutil.copyfile(file, staged)
            return self.accept(job, staged)

    def accept(self, job: Job, staged: Path, derived: bool = False) -> str:
        """Check a staged file and rename it into place; returns its sha256.

        Args:
            job: the file.
            staged: where it is.
            derived: it was written here from another form, so that its hash is not the original's.

        Raises:
            MirrorFailure: it is not right.
        """
        expected = Expected(job.spec.content) if derived else self._expected(job)
        fault, sha256 = check_file(staged, expected, self._pinned(job))
        if fault is not None:
            raise MirrorFailure(fault)
        if not job.light:
            with staged.open("rb+") as file:
                os.fsync(file.fileno())
        job.destination.parent.mkdir(parents=True, exist_ok=True)
        staged.replace(job.destination)
        if not job.light:
            flush_folder(job.destination.parent)
        return sha256

    @contextmanager
    def staged(self, job: Job) -> Iterator[Path]:
        """A path beside which nothing counts yet; gone when the block ends."""
        staged = self.home.partial(job.destination).with_suffix(".staged")
        staged.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield staged
        finally:
            staged.unlink(missing_ok=True)

    def _expected(self, job: Job) -> Expected:
        pinned = self._pinned(job)
        return Expected(job.spec.content, job.spec.size, job.spec.sha256 or (pinned.sha256 if pinned else None))

    def _pinned(self, job: Job) -> Arrival | None:
        """The first arrival, where the card itself states no hash."""
        return self.ledger.pin(self.home.relative(job.destination)) if job.spec.sha256 is None else None

    @contextmanager
    def locked(self, destination: Path) -> Iterator[None]:
        """Hold the lock of a file or folder; waits for whoever holds it.

        Raises:
            Stopped: the command is being ended.
        """
        path = self.home.lock(destination)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path)
        told = False
        while True:
            self.network.check()
            try:
                lock.acquire(timeout=0.5, poll_interval=0.05)
                break
            except filelock.Timeout:
                if not told:
                    self.watcher.said(f"{destination.name}: another process or thread is fetching it; waiting")
                    told = True
        try:
            yield
        finally:
            lock.release()


def check_file(path: Path, expected: Expected, pinned: Arrival | None = None) -> tuple[str | None, str]:
    """(What is wrong with a file, or None; its sha256)."""
    size = path.stat().st_size
    if expected.size is not None and size != expected.size:
        return f"it has {size:,} bytes where the card says {expected.size:,}", ""
    sha256 = hash_file(path)
    return _fault(path, sha256, expected, pinned), sha256


def hash_file(path: Path) -> str:
    """Sha256 of a file, hex."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fault(path: Path, sha256: str, expected: Expected, pinned: Arrival | None) -> str | None:
    size = path.stat().st_size
    if expected.size is not None and size != expected.size:
        return f"it has {size:,} bytes where the card says {expected.size:,}"
    if expected.sha256 is not None and sha256 != expected.sha256:
        # What the bytes are says more than what they are not.
        looks = fault_of(path, expected.kind)
        told = f"; {looks}" if looks else ""
        if pinned is not None and pinned.sha256 == expected.sha256:
            return f"its content is not what was first seen on {pinned.seen[:10]} (sha256 {sha256[:12]}…, pinned {pinned.sha256[:12]}…){told}"
        return f"its sha256 is {sha256[:12]}… where {expected.sha256[:12]}… is expected{told}"
    return fault_of(path, expected.kind)
