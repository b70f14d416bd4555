"""Looking again at everything that is here: every hash, every image, every count; and how to mend what is not right."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ldznet_bench.acquisition.content import fault_of
from ldznet_bench.acquisition.download import Download
from ldznet_bench.acquisition.drive_folder import recall_listing
from ldznet_bench.acquisition.fetch import Fetcher, Job, check_file
from ldznet_bench.acquisition.images import image_jobs
from ldznet_bench.acquisition.listings import Listed
from ldznet_bench.acquisition.specs import FileSpec, Mirror
from ldznet_bench.acquisition.targets import DatasetTarget
from ldznet_bench.acquisition.transfer import Expected
from ldznet_bench.datasets.counts import differences
from ldznet_bench.errors import DataError

Stage = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Bad:
    """A file that is not right.

    Attributes:
        path: on disk.
        fault: what is wrong, in words.
    """

    path: str
    fault: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was found.

    Attributes:
        name: of the target.
        checked: files that were hashed.
        size: their bytes.
        bad: files that are missing or damaged.
        differences: what differs from the card's counts, in words.
    """

    name: str
    checked: int
    size: int
    bad: tuple[Bad, ...]
    differences: tuple[str, ...]

    @property
    def mend(self) -> str:
        """The command that mends what is bad."""
        return f"ldznet-bench download {self.name}"

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        bad = [{"path": one.path, "fault": one.fault} for one in self.bad]
        mend = self.mend if self.bad else None
        return {"name": self.name, "checked": self.checked, "bytes": self.size, "bad": bad, "differences": list(self.differences), "mend": mend}


def verify(download: Download, stage: Stage) -> Report:
    """Hash every file of a target and hold it against the card, against what arrived, and against its own structure.

    A file that proves bad is no longer trusted by its size and time, so that the next `download` replaces it.
    """
    fetcher, target = download.fetcher, download.target
    jobs = [job for job in download.jobs if job.spec.need == "required" or job.destination.exists()]
    checked, bad = _check_all(fetcher, jobs, stage)
    told: list[str] = []
    if isinstance(target, DatasetTarget) and not bad:
        images: dict[str, Job] = {}
        for split in target.splits:
            listed = _listed(download, target, split, told)
            if listed is not None and target.files.images is not None:
                images |= {job.spec.path: job for job, _ in image_jobs(fetcher, target.files.images, listed.images)}
        more, more_bad = _check_all(fetcher, [*images.values(), *_folder_jobs(download, target)], stage)
        checked, bad = checked + more, bad + more_bad
    size = sum(job.destination.stat().st_size for job in checked)
    return Report(target.name, len(checked), size, tuple(bad), tuple(told))


def _listed(download: Download, target: DatasetTarget, split: str, told: list[str]) -> Listed | None:
    """The annotations of a split; their counts, where they differ, go to `told`."""
    if target.files.images is None:
        return None
    try:
        listed = download.listed(target, split)
    except DataError as error:
        told.append(str(error))
        return None
    told += [f"{target.full_name(split)}: {line}" for line in differences(target.expected(split), listed.found)[0]]
    return listed


def _folder_jobs(download: Download, target: DatasetTarget) -> list[Job]:
    """The files of a Drive folder: those it listed, or, taken by hand, those that arrived."""
    if target.files.folder is None:
        return []
    fetcher = download.fetcher
    listing = recall_listing(download.home.listing(fetcher.folder))
    if listing:
        return [Job(file.spec, fetcher.folder / file.path) for file in listing]
    root = f"{download.home.relative(fetcher.folder)}/"
    paths = [path.removeprefix(root) for path in fetcher.ledger.paths() if path.startswith(root)]
    return [Job(FileSpec(path, (Mirror(https="https://by.hand/"),)), fetcher.folder / path) for path in paths]


def _check_all(fetcher: Fetcher, jobs: Sequence[Job], stage: Stage) -> tuple[list[Job], list[Bad]]:
    checked, bad = [], []
    with concurrent.futures.ThreadPoolExecutor(max(2, min(8, os.cpu_count() or 1))) as pool:
        for done, (job, fault) in enumerate(zip(jobs, pool.map(lambda job: _check(fetcher, job), jobs), strict=True), 1):
            if fault is not None:
                bad.append(Bad(str(job.destination), fault))
            if job.destination.is_file():
                checked.append(job)
            stage("checking files", done, len(jobs))
    return checked, bad


def _check(fetcher: Fetcher, job: Job) -> str | None:
    if not job.destination.is_file():
        return "it is missing"
    name = fetcher.home.relative(job.destination)
    arrival = fetcher.ledger.last(name)
    sha256 = job.spec.sha256 or (arrival.sha256 if arrival is not None else None)
    fault, found = check_file(job.destination, Expected(job.spec.content, job.spec.size, sha256))
    if fault is None:
        if arrival is None:
            fetcher.ledger.record(name, job.destination, found, "found in place")
        return None
    if arrival is not None:
        fetcher.ledger.doubt(name)
    return fault if sha256 is None else fault_of(job.destination, job.spec.content) or fault
