"""Images by the thousand: each from its address, or all of them out of an archive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ldznet_bench.acquisition.archives import Archive, Entry, members_in_order, open_archive
from ldznet_bench.acquisition.batch import HOPELESS, IMAGE_WORKERS, fetch_all
from ldznet_bench.acquisition.failures import ArchiveError, MirrorFailure
from ldznet_bench.acquisition.fetch import Fetcher, Job, Refusal
from ldznet_bench.acquisition.network import LEFT_ALONE
from ldznet_bench.acquisition.specs import FileSpec, ImagesSpec, Member, Mirror, format_size
from ldznet_bench.errors import DataError

Fields = Mapping[str, Any]


def image_jobs(fetcher: Fetcher, spec: ImagesSpec, rows: Iterable[Fields]) -> list[tuple[Job, Fields]]:
    """The files that a listing stands for.

    Raises:
        DataError: the listing lacks a field of a template, or names a file outside its folder.
    """
    jobs = []
    for row in rows:
        try:
            mirrors = tuple(Mirror(https=url) for url in (template.format(**row) for template in spec.urls) if url)
            if not mirrors:  # an image without an address of its own still has the archives
                mirrors = tuple(Mirror(member=Member(member.of, member.path.format(**row))) for member in spec.archives)
            file = FileSpec(spec.path.format(**row), mirrors, kind="image")
        except (ValueError, KeyError, IndexError) as error:
            raise DataError(f"the image list has an entry that cannot be used ({dict(row)}): {error}.", "Fetch the image list again.") from error
        jobs.append((Job(file, fetcher.folder / file.path, light=True), row))
    return jobs


def fetch_images(fetcher: Fetcher, spec: ImagesSpec, jobs: Sequence[tuple[Job, Fields]]) -> list[Refusal]:
    """Get every image; those that nobody gave come back, each with the reasons.

    One process at a time fetches the images of a release; another one waits and finds them here.
    """
    missing = [(job, row) for job, row in jobs if fetcher.present(job) is None]
    if not missing:
        return []
    with fetcher.locked(fetcher.folder / "images"):
        missing = [(job, row) for job, row in missing if fetcher.present(job) is None]
        one_by_one, in_bulk = _one_by_one, _in_bulk
        ways = (in_bulk, one_by_one) if spec.archives and len(missing) > spec.archives_above else (one_by_one, in_bulk)
        refusals: dict[Job, Refusal] = {}
        for way in ways:
            for refusal in way(fetcher, spec, missing):
                known = refusals.get(refusal.job)
                refusals[refusal.job] = Refusal(refusal.job, (known.reasons if known else ()) + refusal.reasons)
            missing = [(job, row) for job, row in missing if not job.destination.is_file()]
            if not missing:
                return []
    return [refusals[job] for job, _ in missing]


def _one_by_one(fetcher: Fetcher, spec: ImagesSpec, missing: Sequence[tuple[Job, Fields]]) -> list[Refusal]:
    with_address = [job for job, _ in missing if job.spec.mirrors[0].member is None]
    arrivals, refusals = fetch_all(fetcher, with_address, IMAGE_WORKERS, HOPELESS)
    if refusals and arrivals:
        # The hosts work; an outage of a minute must not end in an archive of 15 GB.
        if any(reason.startswith(LEFT_ALONE) for refusal in refusals for _, reason in refusal.reasons):
            fetcher.network.sleep(fetcher.network.policy.host_rest)
        _, refusals = fetch_all(fetcher, [refusal.job for refusal in refusals], IMAGE_WORKERS, HOPELESS)
    if refusals and spec.archives:
        reason = next((reason for refusal in refusals for _, reason in refusal.reasons), "")
        fetcher.watcher.said(f"{len(refusals)} images could not be had one by one ({reason}); now from an archive")
    return refusals


def _in_bulk(fetcher: Fetcher, spec: ImagesSpec, missing: Sequence[tuple[Job, Fields]]) -> list[Refusal]:
    left = {job.spec.path: (job, row) for job, row in missing}
    reasons: list[tuple[Mirror, str]] = []
    for member in spec.archives:
        if not left:
            break
        mirror = Mirror(member=member)
        try:
            taken = _unpack(fetcher, member, list(left.values()))
        except (MirrorFailure, ArchiveError) as error:
            reasons.append((mirror, str(error)))
            continue
        left = {path: pair for path, pair in left.items() if path not in taken}
        if left:
            reasons.append((mirror, f"it lacks {len(left)} of the images"))
    return [Refusal(job, tuple(reasons)) for job, _ in left.values()]


def _unpack(fetcher: Fetcher, member: Member, wanted: Sequence[tuple[Job, Fields]]) -> set[str]:
    """Paths of the images that an archive gave."""
    archive_spec = fetcher.files.file(member.of)
    if fetcher.present(fetcher.job(archive_spec)) is None and (archive_spec.weight or 0) > fetcher.home.free:
        raise MirrorFailure(f"it has {format_size(archive_spec.weight)}, the disk has room for {format_size(fetcher.home.free)}")
    jobs = {job.spec.path: job for job, _ in wanted}
    names = {job.spec.path: member.path.format(**row) for job, row in wanted}
    taken: set[str] = set()
    with open_archive(fetcher.archive(member.of)) as archive:
        for path, entry in members_in_order(archive, names):
            fetcher.network.check()
            _take_member(fetcher, archive, entry, jobs[path], member.of)
            taken.add(path)
    return taken


def _take_member(fetcher: Fetcher, archive: Archive, entry: Entry, job: Job, source: str) -> None:
    with fetcher.staged(job) as staged:
        archive.extract(entry, staged)
        sha256 = fetcher.accept(job, staged)
    fetcher.note(job, sha256, source)
