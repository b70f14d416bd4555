"""From names to prepared datasets and weights: fetch, count, prepare, say what to do next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ldznet_bench.acquisition.archives import is_archive, unpack_beside
from ldznet_bench.acquisition.batch import FILE_WORKERS, fetch_all
from ldznet_bench.acquisition.by_hand import Pool, everything, open_pool, take_by_hand, take_candidate
from ldznet_bench.acquisition.drive_folder import FolderFile, list_folder, recall_listing, remember_listing
from ldznet_bench.acquisition.failures import MirrorFailure
from ldznet_bench.acquisition.fetch import Fetcher, Job, Preference, Refusal, Watcher
from ldznet_bench.acquisition.home import Home
from ldznet_bench.acquisition.images import fetch_images, image_jobs
from ldznet_bench.acquisition.ledger import Ledger
from ldznet_bench.acquisition.listings import LISTINGS, Listed
from ldznet_bench.acquisition.network import Network
from ldznet_bench.acquisition.plan import Plan, make_plan
from ldznet_bench.acquisition.recipes import count_refusal, download_refusal, folder_refusal
from ldznet_bench.acquisition.specs import FileSpec, FolderSpec, Mirror, kind_of
from ldznet_bench.acquisition.status import note_size
from ldznet_bench.acquisition.targets import DatasetTarget, Target, WeightsTarget
from ldznet_bench.datasets.counts import differences
from ldznet_bench.errors import DataError, unknown_name


class Meter(Watcher, Protocol):
    """A watcher that is closed when the files are here."""

    def close(self) -> None:
        """The last word."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to download.

    Attributes:
        by_hand: folders, archives and files that the user fetched (``--from``).
        preference: which mirrors come first.
        keep_archives: leave archives in the home after unpacking.
        allow_partial: go on with fewer images or other counts than the card's.
        workers: files at once.
        extra: paths of optional files that are wanted, too.
    """

    by_hand: tuple[Path, ...] = ()
    preference: Preference = field(default_factory=Preference)
    keep_archives: bool = False
    allow_partial: bool = False
    workers: int = FILE_WORKERS
    extra: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A split that is ready to run.

    Attributes:
        name: full name.
        fingerprint: of the prepared set.
        images: with at least one sample.
        samples: in it.
        partial: what differs from the card, in words.
        problems: images whose file is missing, broken, or of another size than annotated.
    """

    name: str
    fingerprint: str
    images: int
    samples: int
    partial: tuple[str, ...]
    problems: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a download came to.

    Attributes:
        name: of the target.
        folder: where the files are.
        prepared: the splits, for datasets.
        notes: what the user should know.
        next: a command to go on with.
    """

    name: str
    folder: Path
    prepared: tuple[Prepared, ...]
    notes: tuple[str, ...]
    next: str

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        prepared = [{name: getattr(one, name) for name in Prepared.__slots__} for one in self.prepared]
        return {"name": self.name, "folder": str(self.folder), "prepared": prepared, "notes": list(self.notes), "next": self.next}


Stage = Callable[[str, int, int | None], None]
"""Told how preparing gets on: stage, done, total."""


class Download:
    """One target on its way into the home.

    Args:
        target: what was asked for.
        home: where it goes.
        network: makes the requests.
        options: how.
        watcher: is told about files.
    """

    def __init__(self, target: Target, home: Home, network: Network, options: Options, watcher: Meter) -> None:
        self.target = target
        self.home = home
        self.options = options
        folder = target.folder(home)
        self.fetcher = Fetcher(home, target.files, folder, network, Ledger(home.ledger(folder)), watcher, options.preference)
        self.notes: list[str] = []
        for path in options.extra:
            target.files.file(path)

    @property
    def jobs(self) -> list[Job]:
        """The files that are named one by one."""
        return [self.fetcher.job(spec) for spec in self.target.files.needed(self.target.item_splits, self.options.extra)]

    def plan(self) -> Plan:
        """What will be fetched."""
        return make_plan(self.fetcher, self.target, self.jobs, self._missing_images(), self.options.by_hand)

    def run(self, stage: Stage) -> Outcome:
        """Fetch, count, prepare.

        Raises:
            DownloadError: files that no mirror gives, each with every mirror's reason and what to do by hand.
            DataError: counts that are not the card's, a damaged release.
            BenchError: the disk is full, or the network is switched off.
        """
        prepared: tuple[Prepared, ...] = ()
        with self._pool() as pool:
            self._fetch_files(pool)
            if isinstance(self.target, DatasetTarget):
                self._fetch_folder(self.target, pool)
                self._fetch_images(self.target, pool)
        if not self.options.keep_archives:
            self.fetcher.drop_archives()
        note_size(self.home, self.fetcher.folder, self.fetcher.ledger)
        if isinstance(self.target, DatasetTarget):
            prepared = tuple(self._prepare(self.target, split, stage) for split in self.target.splits)
        return Outcome(self.target.name, self.fetcher.folder, prepared, tuple(self.notes), self._next())

    @contextmanager
    def _pool(self) -> Iterator[Pool]:
        with open_pool(self.options.by_hand) as pool:
            yield pool

    def _fetch_files(self, pool: Pool) -> None:
        jobs = self.jobs
        before = {job for job in jobs if self.fetcher.present(job) is not None}
        self._note(take_by_hand(self.fetcher, jobs, pool))
        _, refusals = fetch_all(self.fetcher, jobs, self.options.workers)
        required = [refusal for refusal in refusals if refusal.job.spec.need == "required"]
        if required:
            raise download_refusal(self.target, required)
        for refusal in refusals:
            why = "; ".join(f"{mirror.label}: {reason}" for mirror, reason in refusal.reasons)
            self.notes.append(f"{refusal.job.spec.path} could not be had ({why}): {refusal.job.spec.note}")
        if isinstance(self.target, DatasetTarget):
            self._check_counts(self.target, [job for job in jobs if job not in before], pool)

    def _check_counts(self, target: DatasetTarget, new: list[Job], pool: Pool) -> None:
        """Hold the annotations against the card before thousands of images are fetched for them."""
        images = target.files.images
        if images is None or self.options.allow_partial:
            return
        for split in target.splits:
            listed = self.listed(target, split)
            if not differences(target.expected(split), listed.found)[0]:
                continue
            jobs = [job for job, _ in image_jobs(self.fetcher, images, listed.images)]
            here = sum(self.fetcher.present(job) is not None or pool.find(job.spec, loosely=True) is not None for job in jobs)
            self.fetcher.disown(new)
            raise count_refusal(target, split, listed.found, here, left=None if new else self.fetcher.folder)

    def _fetch_images(self, target: DatasetTarget, pool: Pool) -> None:
        images = target.files.images
        if images is None:
            return
        refusals: list[Refusal] = []
        for split in target.splits:
            jobs = image_jobs(self.fetcher, images, self.listed(target, split).images)
            self._note(take_by_hand(self.fetcher, [job for job, _ in jobs], pool))
            refusals += fetch_images(self.fetcher, images, jobs)
        if refusals and not self.options.allow_partial:
            raise download_refusal(target, refusals)
        if refusals:
            self.notes.append(f"{len(refusals)} images could not be had; --allow-partial goes on without them")

    def _fetch_folder(self, target: DatasetTarget, pool: Pool) -> None:
        folder = target.files.folder
        if folder is None:
            return
        if self.options.by_hand:
            self._take_folder(pool)
            return
        jobs = [Job(file.spec, self.fetcher.folder / file.path) for file in self._listing(target, folder)]
        _, refusals = fetch_all(self.fetcher, jobs, self.options.workers)
        if refusals and not self.options.allow_partial:
            raise download_refusal(target, refusals)
        if folder.unpack:
            unpack_beside([job.destination for job in jobs if is_archive(job.destination)])

    def _listing(self, target: DatasetTarget, folder: FolderSpec) -> list[FolderFile]:
        """What is in the Drive folder; asked again only when something of the last listing is not here."""
        kept = self.home.listing(self.fetcher.folder)
        known = recall_listing(kept)
        if known and all(self.fetcher.present(Job(file.spec, self.fetcher.folder / file.path)) is not None for file in known):
            return known
        if self.fetcher.network.offline:
            raise folder_refusal(target, folder, "the network is switched off (--offline)")
        try:
            files = list_folder(self.fetcher.network, folder.drive)
        except MirrorFailure as failure:
            raise folder_refusal(target, folder, failure.reason) from failure
        images = sum(kind_of(file.path) == "image" for file in files)
        if folder.images is not None and images < folder.images and not self.options.allow_partial:
            raise folder_refusal(target, folder, f"it lists {images} image files where the card says {folder.images}")
        remember_listing(kept, files)
        return files

    def _take_folder(self, pool: Pool) -> None:
        """Everything that the user fetched by hand is the release."""
        refused = []
        for path, candidate in everything(pool):
            spec = FileSpec(path, (Mirror(https="https://by.hand/"),))
            job = Job(spec, self.fetcher.folder / path)
            if self.fetcher.present(job) is None:
                try:
                    take_candidate(self.fetcher, job, candidate)
                except MirrorFailure as failure:
                    refused.append(f"{candidate.name}: {failure.reason}")
        if refused:
            raise DataError(f"{len(refused)} of the files are not whole: {'; '.join(refused[:5])}.", "Fetch them again.")

    def listed(self, target: DatasetTarget, split: str) -> Listed:
        """Counts and images of a split, from its annotations."""
        images = target.files.images
        if images is None:
            raise TypeError(target.name)
        if images.listing not in LISTINGS:
            raise unknown_name("listing of images", images.listing, LISTINGS)
        return LISTINGS[images.listing](self._release(target), target.partition, split)

    def _release(self, target: DatasetTarget) -> Path:
        """REFER keeps each family in a folder of its own below the shared root."""
        below = self.fetcher.folder / target.card.family
        return below if below.is_dir() else self.fetcher.folder

    def _missing_images(self) -> int | None:
        target = self.target
        if not isinstance(target, DatasetTarget) or target.files.images is None:
            return None
        if any(self.fetcher.present(job) is None for job in self.jobs):
            return None
        images = target.files.images
        jobs = {job for split in target.splits for job, _ in image_jobs(self.fetcher, images, self.listed(target, split).images)}
        return sum(self.fetcher.present(job) is None for job in jobs)

    def _prepare(self, target: DatasetTarget, split: str, stage: Stage) -> Prepared:
        from ldznet_bench.datasets.load import load_dataset

        name = target.full_name(split)
        data = load_dataset(name, data_root=self.home.datasets, home=self.home.root, card=target.override, progress=stage)
        if data.partial and not self.options.allow_partial:
            here = sum(image.sha256 is not None for image in data.images())
            raise count_refusal(target, split, data.found, here, left=self.fetcher.folder)
        problems = data.problems()
        if problems:
            image, _, what = problems[0]
            self.notes.append(f"{name}: {len(problems)} images have something the matter (kept and flagged), first {image}: {what}")
        return Prepared(name, data.fingerprint, data.n_images, data.n_samples, data.partial, len(problems))

    def _note(self, refused: Sequence[str]) -> None:
        self.notes += [f"by hand, not taken: {line}" for line in refused[:10]]

    def _next(self) -> str:
        if isinstance(self.target, WeightsTarget):
            # A part is found by itself in HOME/weights/<part>; other sources of it have folders of their own, which must be named.
            elsewhere = f" --weights {self.target.part}={self.fetcher.folder}" if self.target.files.root != self.target.part else ""
            return f"ldznet-bench run --models {self.target.model}{self.target.variant}{elsewhere} --datasets DATASET"
        names = ",".join(self.target.full_name(split) for split in self.target.splits)
        return f"ldznet-bench run --models oracle,box --datasets {names}"
