"""A Google Drive folder of any length, with folders in it, from a host that says nothing of sizes and hashes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from ldznet_bench.acquisition.failures import MirrorFailure
from ldznet_bench.acquisition.network import Network
from ldznet_bench.acquisition.pages import explain_page, folder_entries
from ldznet_bench.acquisition.sources import Source, drive_folder_address
from ldznet_bench.acquisition.specs import FileSpec, Mirror, check_drive_id, check_relative
from ldznet_bench.acquisition.transfer import fetch_page
from ldznet_bench.atomic import write_json

MAX_DEPTH = 8
MAX_ENTRIES = 20_000


@dataclass(frozen=True, slots=True)
class FolderFile:
    """One file of a folder.

    Attributes:
        path: posix, relative to the folder, safe to write to.
        file_id: on Drive.
    """

    path: str
    file_id: str

    @property
    def spec(self) -> FileSpec:
        """As a file to fetch."""
        return FileSpec(self.path, (Mirror(drive=self.file_id),))


def list_folder(network: Network, folder_id: str) -> list[FolderFile]:
    """Every file below a folder, sorted by path.

    Raises:
        MirrorFailure: Drive gives no listing, or one that no honest folder has (too deep, too long, names that climb out).
    """
    found: list[FolderFile] = []
    seen: set[str] = set()
    queue = [("", folder_id, 0)]
    while queue:
        prefix, current, depth = queue.pop(0)
        if current in seen:
            continue
        seen.add(current)
        if depth > MAX_DEPTH:
            raise MirrorFailure(f"its folders are nested deeper than {MAX_DEPTH}")
        for entry_id, name, is_folder in _entries(network, current):
            path = f"{prefix}{_safe(name)}"
            if is_folder:
                queue.append((f"{path}/", entry_id, depth + 1))
            else:
                found.append(FolderFile(path, entry_id))
        if len(found) + len(queue) > MAX_ENTRIES:
            raise MirrorFailure(f"it holds more than {MAX_ENTRIES:,} entries")
    return _apart(found)


def remember_listing(path: Path, files: list[FolderFile]) -> None:
    """Keep a listing, so that a later command needs no network to know what belongs to the release."""
    write_json(path, [asdict(file) for file in files])


def recall_listing(path: Path) -> list[FolderFile]:
    """A kept listing; empty if there is none or it cannot be read."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        files = [FolderFile(str(entry["path"]), str(entry["file_id"])) for entry in entries]
        for file in files:
            check_relative(file.path)
            check_drive_id(file.file_id)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return files


def _entries(network: Network, folder_id: str) -> list[tuple[str, str, bool]]:
    address = drive_folder_address(folder_id)
    page, _ = fetch_page(network, Source(address, address))
    entries = folder_entries(page)
    if not entries and b"flip-entr" not in page:
        raise MirrorFailure(explain_page(page, address, address, {}))
    return entries


def _safe(name: str) -> str:
    """A Drive name as a file name; on Drive a slash is a character like any other."""
    plain = name.replace("/", "_")
    try:
        check_relative(plain)
    except ValueError as error:
        raise MirrorFailure(f"it holds an entry that cannot be a file name: {name[:80]!r}") from error
    if plain in (".", "..") or len(plain.encode()) > 255:
        raise MirrorFailure(f"it holds an entry that cannot be a file name: {name[:80]!r}")
    return plain


def _apart(files: list[FolderFile]) -> list[FolderFile]:
    """Drive allows several files of one name in a folder; the second and further get a number."""
    counts: dict[str, int] = {}
    apart = []
    for file in sorted(files, key=lambda one: (one.path, one.file_id)):
        counts[file.path] = counts.get(file.path, 0) + 1
        number = counts[file.path]
        path = PurePosixPath(file.path)
        apart.append(file if number == 1 else FolderFile(str(path.with_stem(f"{path.stem} ({number})")), file.file_id))
    return apart
