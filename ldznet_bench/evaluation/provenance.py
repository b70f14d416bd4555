"""Where, when and with what a run was made. None of it decides a number."""

from __future__ import annotations

import datetime
import os
import platform
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ldznet_bench.share import share_root

_PACKAGES = ("ldznet-bench", "numpy", "pyarrow", "torch", "transformers", "diffusers")


def now() -> str:
    """The time, UTC, to the second, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def provenance() -> dict[str, Any]:
    """Commit and dirty flag of a checkout (null in an installed package), host, platform, versions, threads and command."""
    return {
        "started": now(),
        "commit": _git("rev-parse", "HEAD"),
        "dirty": _dirty(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": packages(),
        "threads": threads(),
        "command": sys.argv,
    }


def packages() -> dict[str, str | None]:
    """Versions of the libraries that compute; null for those that are not installed."""
    return {name: _version(name) for name in _PACKAGES}


def _git(*arguments: str) -> str | None:
    folder = share_root()
    if folder.name == "_share":  # an installed wheel, not a checkout
        return None
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _dirty() -> bool | None:
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return None if changes is None else bool(changes)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def threads() -> int | None:
    """Threads of torch, or processors where no network was loaded."""
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch is not None else os.cpu_count()
