"""Where the cards and published numbers are: the checkout's top-level folders, or their copies inside the wheel."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

from ldznet_bench.errors import BenchError

Folder = Literal["datasets", "baselines", "results"]


@functools.cache
def share_root() -> Path:
    """The folder that holds ``datasets/``, ``baselines/`` and ``results/``.

    An installed wheel carries them as ``ldznet_bench/_share``, because top-level folders of these names would collide in site-packages;
    in a checkout they stand beside the package, next to ``pyproject.toml``.

    Raises:
        BenchError: neither is there, so the installation is broken.
    """
    package = Path(__file__).resolve().parent
    wheel = package / "_share"
    if wheel.is_dir():
        return wheel
    if (package.parent / "pyproject.toml").is_file() and (package.parent / "datasets").is_dir():
        return package.parent
    raise BenchError(
        f"the cards that belong to ldznet_bench are neither in {wheel} nor beside {package}.",
        "Install the package again, or run it from a complete checkout.",
    )


def shared(folder: Folder) -> Path:
    """One of the three shared folders; read only."""
    return share_root() / folder
