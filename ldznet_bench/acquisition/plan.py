"""What a download will do, said before it is done: files, hosts, sizes, licence, room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldznet_bench.acquisition.fetch import Fetcher, Job
from ldznet_bench.acquisition.specs import FileSpec, ImagesSpec, format_size, parse_size
from ldznet_bench.acquisition.targets import DatasetTarget, Target
from ldznet_bench.errors import DataError

_ROOM_LEFT = 200_000_000
"""Kept free: a disk that is full to the last byte breaks more than a download."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plan.

    Attributes:
        what: file or group.
        size: bytes still to come, exact or rough; None where unknown; 0 for what is here.
        hosts: mirrors in the order they will be tried.
        state: ``here``, ``to fetch``, or ``if needed``.
    """

    what: str
    size: int | None
    hosts: tuple[str, ...]
    state: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be fetched for one target.

    Attributes:
        name: of the target.
        folder: where it goes.
        licence: of what is fetched.
        accept: what must be accepted by hand; empty if nothing.
        lines: what is fetched.
        free: bytes free on that disk.
        by_hand: the user's own files, looked at before any mirror.
    """

    name: str
    folder: Path
    licence: str
    accept: str
    lines: tuple[Line, ...]
    free: int
    by_hand: tuple[Path, ...] = ()

    @property
    def size(self) -> int:
        """Bytes to come, as far as known."""
        return sum(line.size or 0 for line in self.lines if line.state == "to fetch")

    @property
    def unknown(self) -> int:
        """Lines of unknown size."""
        return sum(line.size is None for line in self.lines if line.state == "to fetch")

    def check_room(self) -> None:
        """Refuse what does not fit.

        Raises:
            DataError: with both figures.
        """
        if self.size + _ROOM_LEFT > self.free:
            raise DataError(
                f"{self.name} needs {format_size(self.size)} and {self.folder} has room for {format_size(max(0, self.free - _ROOM_LEFT))}.",
                "Free some space, or choose another disk with --home.",
            )

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        lines = [{"what": line.what, "size": line.size, "mirrors": list(line.hosts), "state": line.state} for line in self.lines]
        return {
            "name": self.name,
            "folder": str(self.folder),
            "licence": self.licence,
            "accept": self.accept,
            "files": lines,
            "size": self.size,
            "unknown_sizes": self.unknown,
            "free": self.free,
        }

    def text(self) -> str:
        """For people."""
        more = f", and {self.unknown} of unknown size" if self.unknown else ""
        out = [f"{self.name} -> {self.folder}", f"  licence: {self.licence}"]
        if self.accept:
            out.append(f"  to accept by hand: {self.accept}")
        if self.by_hand:
            out.append(f"  first from: {', '.join(map(str, self.by_hand))}")
        for line in self.lines:
            size = "" if line.state == "here" else f"  {format_size(line.size)}"
            hosts = "" if line.state == "here" else f"  from {', then '.join(line.hosts)}"
            out.append(f"  {line.state:>9}  {line.what}{size}{hosts}")
        out.append(f"  to fetch: {format_size(self.size)}{more}; free on this disk: {format_size(self.free)}")
        return "\n".join(out) + "\n"


def make_plan(fetcher: Fetcher, target: Target, jobs: Sequence[Job], missing_images: int | None = None, by_hand: tuple[Path, ...] = ()) -> Plan:
    """Look at what is here, and say what is not.

    Args:
        fetcher: of the target's card.
        target: what was asked for.
        jobs: its files that are named one by one.
        missing_images: images that are not here, where the annotations are and tell.
        by_hand: where the user's own files are, which come before any mirror.
    """
    needed = [job.spec for job in jobs]
    lines = [_file_line(fetcher, spec) for spec in needed]
    archives = {mirror.member.of for spec in needed for mirror in spec.mirrors if mirror.member is not None}
    if isinstance(target, DatasetTarget):
        lines += _image_lines(fetcher, target, missing_images)
    lines += _archive_lines(fetcher, archives, lines)
    return Plan(target.name, fetcher.folder, target.licence, target.files.accept, tuple(lines), fetcher.home.free, by_hand)


def _file_line(fetcher: Fetcher, spec: FileSpec) -> Line:
    if fetcher.present(fetcher.job(spec)) is not None:
        return Line(spec.path, 0, (), "here")
    hosts = tuple(dict.fromkeys(mirror.label for mirror in fetcher.preference.order(spec, fetcher.files.root)))
    return Line(spec.path, spec.weight, hosts, "to fetch")


def _archive_lines(fetcher: Fetcher, archives: set[str], lines: list[Line]) -> list[Line]:
    """Archives that the files may have to be taken from; first where they are the first choice."""
    found = []
    waiting = {line.what: line.hosts for line in lines if line.state == "to fetch"}
    for path in sorted(archives):
        spec = fetcher.files.file(path)
        users = [
            item
            for item in fetcher.files.files
            if item.path in waiting and any(mirror.member is not None and mirror.member.of == path for mirror in item.mirrors)
        ]
        if not users:
            continue
        first = any(fetcher.preference.order(item, fetcher.files.root)[0].member is not None for item in users)
        line = _file_line(fetcher, spec)
        found.append(line if line.state == "here" else Line(line.what, line.size, line.hosts, "to fetch" if first else "if needed"))
    return found


def _image_lines(fetcher: Fetcher, target: DatasetTarget, missing: int | None) -> list[Line]:
    """The images, one by one or from archives; `missing` is None as long as the annotations are not here to tell."""
    folder, images = target.files.folder, target.files.images
    if folder is not None:
        count = f"{folder.images} images and their annotations" if folder.images else "every file"
        return [Line(f"{count} of a Drive folder", parse_size(folder.about), ("drive.google.com",), "to fetch")]
    if images is None:
        return []
    if missing == 0:
        return [Line("images", 0, (), "here")]
    wanted = missing if missing is not None else sum(_expected_images(target, images, split) for split in target.splits)
    archives_first = bool(images.archives) and (wanted > images.archives_above or not images.urls)
    lines = []
    if images.urls:
        one = parse_size(images.about)
        labels = tuple(dict.fromkeys("the addresses in the image list" if url == "{url}" else url.split("/")[2] for url in images.urls))
        what = f"{wanted:,} images" if missing is not None else f"up to {wanted:,} images"
        lines.append(Line(what, None if one is None else one * wanted, labels, "if needed" if archives_first else "to fetch"))
    for path in dict.fromkeys(member.of for member in images.archives):
        archive = fetcher.files.file(path)
        hosts = tuple(mirror.label for mirror in archive.mirrors)
        lines.append(Line(path, archive.weight, hosts, "to fetch" if archives_first else "if needed"))
    return lines


def _expected_images(target: DatasetTarget, images: ImagesSpec, split: str) -> int:
    expected = target.expected(split)
    return images.counts.get(split) or (expected.images if expected is not None else None) or 0
