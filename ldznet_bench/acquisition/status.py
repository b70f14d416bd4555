"""How much of what lies under the home, told without looking at a hundred thousand files: each download leaves a note."""

from __future__ import annotations

import json
from pathlib import Path

from ldznet_bench.acquisition.home import Home
from ldznet_bench.acquisition.ledger import Ledger
from ldznet_bench.atomic import write_json


def note_size(home: Home, folder: Path, ledger: Ledger) -> None:
    """Write down what a release or a set of weights takes; by the ledger, whose files were all verified."""
    prefix = f"{home.relative(folder)}/"
    sizes = [arrival.size for path in ledger.paths() if path.startswith(prefix) and (arrival := ledger.last(path)) is not None]
    write_json(_note(home, folder), {"files": len(sizes), "bytes": sum(sizes)})


def size_on_disk(home: Home, folder: Path) -> int | None:
    """Bytes of a release or a set of weights that was downloaded; None if it is not here or did not come by `download`."""
    if not folder.is_dir():
        return None
    try:
        return int(json.loads(_note(home, folder).read_text(encoding="utf-8"))["bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _note(home: Home, folder: Path) -> Path:
    return home.ledger(folder).with_suffix(".size.json")
