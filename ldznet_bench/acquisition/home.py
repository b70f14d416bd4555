"""Where downloads, prepared sets and weights live."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ldznet_bench.places import home_folder


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds everything this project fetches and makes.

    Attributes:
        root: the folder itself.
    """

    root: Path

    @property
    def datasets(self) -> Path:
        """Releases, each laid out as its authors lay it out; usable as ``--data-root``."""
        return self.root / "datasets"

    @property
    def weights(self) -> Path:
        """Model files, one folder per card root."""
        return self.root / "weights"

    @property
    def archives(self) -> Path:
        """Archives on their way to being unpacked (kept with ``--keep-archives``)."""
        return self.root / "archives"

    @property
    def prepared(self) -> Path:
        """Prepared sets; `ldznet_bench.datasets` writes them."""
        return self.root / "prepared"

    @property
    def free(self) -> int:
        """Bytes free on the disk that the home is, or will be, on."""
        existing = next(parent for parent in (self.root, *self.root.parents) if parent.exists())
        return shutil.disk_usage(existing).free

    def prepared_set(self, full_name: str) -> Path:
        """Where the prepared forms of a dataset split lie."""
        return self.prepared / quote(full_name, safe="+:@ ", encoding="utf-8")

    def ledger(self, folder: Path) -> Path:
        """What arrived in a folder: sizes, hashes, mirrors; the first hash seen of each file is its pin."""
        return self.root / "ledger" / f"{self.relative(folder).replace('/', '--')}.jsonl"

    def listing(self, folder: Path) -> Path:
        """What a Drive folder held when it was last asked."""
        return self.root / "ledger" / f"{self.relative(folder).replace('/', '--')}.listing.json"

    def partial(self, path: Path) -> Path:
        """Where a file grows until it is whole; on the same disk, so that it can be renamed into place."""
        return self.root / "partial" / _short(self, path)

    def lock(self, path: Path) -> Path:
        """The lock of a file: whoever holds it fetches, the others wait and find it there."""
        return self.root / "locks" / f"{_short(self, path)}.lock"

    def relative(self, path: Path) -> str:
        """The path as the ledger names it."""
        return path.relative_to(self.root).as_posix()


def find_home(option: str | Path | None = None) -> Home:
    """The home of ``--home``, of ``LDZNET_BENCH_HOME``, or the default one; absolute, symbolic links left as the user wrote them."""
    return Home(home_folder(option).expanduser().absolute())


def _short(home: Home, path: Path) -> str:
    # A flat name with the file's own in it, for whoever looks; the hash keeps two files of one name apart.
    digest = hashlib.sha256(home.relative(path).encode()).hexdigest()[:12]
    return f"{digest}-{path.name[-80:]}"
