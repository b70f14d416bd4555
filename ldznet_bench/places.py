"""Where downloads, prepared sets, weights and caches live."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path

HOME_VARIABLE = "LDZNET_BENCH_HOME"


def home_folder(chosen: str | PathLike[str] | None = None) -> Path:
    """``--home``, else ``LDZNET_BENCH_HOME``, else ``~/.cache/ldznet_bench``."""
    return Path(chosen or os.environ.get(HOME_VARIABLE) or Path("~/.cache/ldznet_bench").expanduser())
