"""Files that the user fetched by hand: found in any layout, loose or packed, and let in by the same checks as a download."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from ldznet_bench.acquisition.archives import Archive, Entry, is_archive, open_archive
from ldznet_bench.acquisition.failures import MirrorFailure
from ldznet_bench.acquisition.fetch import Fetcher, Job
from ldznet_bench.acquisition.specs import FileSpec
from ldznet_bench.errors import BenchError

_ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz")
_MIRROR = "by hand"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that might be one we want.

    Attributes:
        name: posix path with the folder or archive it was found in, for matching.
        inner: the same without it.
        path: of the loose file, or of the archive.
        archive: None for a loose file.
        entry: in the archive.
        order: position where it was found, so that archives are read front to back.
    """

    name: str
    inner: str
    path: Path
    archive: Archive | None
    entry: Entry | None
    order: int


class Pool:
    """Everything in the folders and archives that the user names.

    Args:
        candidates: in the order they were found.
    """

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self.candidates = list(candidates)
        self._by_name: dict[str, list[Candidate]] = {}
        for candidate in self.candidates:
            self._by_name.setdefault(PurePosixPath(candidate.name).name.lower(), []).append(candidate)

    def find(self, spec: FileSpec, loosely: bool) -> Candidate | None:
        """The best candidate for a file.

        A file in a folder of its own (``refcoco+/instances.json``) must come from a folder or archive of that name, since another family has
        a file of the same name. Images need their file name only: everybody keeps them under another folder.

        Args:
            spec: the file.
            loosely: its file name is enough.
        """
        best: tuple[int, int, int] | None = None
        found: Candidate | None = None
        for wanted in names_of(spec):
            parts = [part.lower() for part in PurePosixPath(wanted).parts]
            for candidate in self._by_name.get(parts[-1], ()):
                score = _common_tail(parts, candidate.name)
                if score < (1 if loosely else min(2, len(parts))):
                    continue
                rank = (score, -len(PurePosixPath(candidate.name).parts), -candidate.order)
                if best is None or rank > best:
                    best, found = rank, candidate
        return found


@contextlib.contextmanager
def open_pool(sources: Sequence[Path]) -> Iterator[Pool]:
    """Look through folders, archives and single files.

    Raises:
        BenchError: a source is not there.
        ArchiveError: an archive is broken or hostile.
    """
    with contextlib.ExitStack() as stack:
        yield Pool(_candidates(sources, stack))


def take_by_hand(fetcher: Fetcher, jobs: Sequence[Job], pool: Pool) -> list[str]:
    """Put every wanted file that the pool has, and that is right, in place.

    Returns:
        What was found and refused, one line each.
    """
    wanted = [(job, pool.find(job.spec, job.light)) for job in jobs if fetcher.present(job) is None]
    found = [(job, candidate) for job, candidate in wanted if candidate is not None]
    refused = []
    for job, candidate in sorted(found, key=lambda pair: pair[1].order):
        fetcher.network.check()
        try:
            fetcher.note(job, _take(fetcher, job, candidate), _MIRROR)
        except MirrorFailure as failure:
            refused.append(f"{candidate.path} as {job.spec.path}: {failure.reason}")
    return refused


def everything(pool: Pool) -> list[tuple[str, Candidate]]:
    """(path, candidate) of every file of a pool, without the folders that all of them are in.

    Left out are hidden files, and archives whose members are there. Drive packs a large folder into several zips: they become one again.
    """
    opened = {one.path for one in pool.candidates if one.archive is not None}
    found = [(PurePosixPath(one.inner).parts, one) for one in pool.candidates if one.archive is not None or one.path not in opened]
    visible = [(parts, one) for parts, one in found if not any(part.startswith((".", "__MACOSX")) for part in parts)]
    common = 0
    while visible and all(len(parts) > common + 1 for parts, _ in visible) and len({parts[common] for parts, _ in visible}) == 1:
        common += 1
    return [(str(PurePosixPath(*parts[common:])), one) for parts, one in visible]


def take_candidate(fetcher: Fetcher, job: Job, candidate: Candidate) -> None:
    """Put one file in place.

    Raises:
        MirrorFailure: it is not right.
    """
    fetcher.note(job, _take(fetcher, job, candidate), _MIRROR)


def names_of(spec: FileSpec) -> list[str]:
    """Names under which people may have a file: where it belongs, its aliases, and what its mirrors call it."""
    names = [spec.path, *spec.aliases]
    for mirror in spec.mirrors:
        if mirror.member is not None:
            names.append(mirror.member.path)
        elif mirror.hub is not None:
            names.append(mirror.hub.path)
        elif mirror.https is not None:
            names.append(PurePosixPath(unquote(urlsplit(mirror.https).path)).name)
    return [name for name in dict.fromkeys(names) if PurePosixPath(name).name]


def _take(fetcher: Fetcher, job: Job, candidate: Candidate) -> str:
    if candidate.archive is None or candidate.entry is None:
        return fetcher.take(job, candidate.path)
    with fetcher.staged(job) as staged:
        candidate.archive.extract(candidate.entry, staged)
        return fetcher.accept(job, staged)


def _candidates(sources: Sequence[Path], stack: contextlib.ExitStack) -> Iterator[Candidate]:
    order = 0
    for path, top, inner in _loose(sources):
        order += 1
        yield Candidate(f"{top}/{inner}", inner, path, None, None, order)
        if path.suffix.lower() in _ARCHIVE_SUFFIXES and is_archive(path):
            archive = stack.enter_context(open_archive(path))
            for entry in archive.entries.values():
                order += 1
                yield Candidate(f"{_stem(path)}/{entry.name}", entry.name, path, archive, entry, order)


def _loose(sources: Sequence[Path]) -> Iterator[tuple[Path, str, str]]:
    """(path, name of the source, path in it) of every regular file, in a stable order."""
    for source in sources:
        if source.is_file():
            yield source, source.resolve().parent.name, source.name
        elif source.is_dir():
            for folder, folders, files in os.walk(source):
                folders.sort()
                for file in sorted(files):
                    path = Path(folder, file)
                    if path.is_file():
                        yield path, source.resolve().name, path.relative_to(source).as_posix()
        else:
            raise BenchError(f"--from {source}: there is nothing at that path.", "Give the file, or the folder that holds what you fetched.")


def _stem(path: Path) -> str:
    """``refcoco+`` of ``refcoco+.zip`` and ``refcoco+.tar.gz``; Drive's ``AIGI-20261101T101112Z-001.zip`` stays as it is."""
    name = path.name
    for suffix in (".tar.gz", ".tar.bz2", ".tar.xz", *_ARCHIVE_SUFFIXES):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _common_tail(wanted: list[str], name: str) -> int:
    """How many parts two paths share at their ends."""
    have = [part.lower() for part in PurePosixPath(name).parts]
    shared = 0
    for one, other in zip(reversed(wanted), reversed(have), strict=False):
        if one != other:
            break
        shared += 1
    return shared
