"""Finding a release, and the images that belong to it, in the layouts that people really have."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

from ldznet_bench.errors import DataError

_SHOWN = 8  # entries of a folder that an error lists


def check_root(root: Path) -> None:
    """Refuse a ``--data-root`` that is no folder.

    Raises:
        DataError: it is absent, a file, or may not be read.
    """
    try:
        os.scandir(root).close()
    except OSError as error:
        raise DataError(
            f"the data root {root} cannot be read: {error.strerror}.", "Give --data-root the folder of a release, or of several."
        ) from error


def find_folder(root: Path, below: Iterable[str], holds: Callable[[Path], bool]) -> Path | None:
    """The first of a few known places below a root for which `holds` is true; ``""`` is the root itself."""
    return next((root / place if place else root for place in below if holds(root / place)), None)


def not_found(what: str, root: Path, below: Iterable[str], expected: str, instead: str = "") -> DataError:
    """The error for a release that is in none of the known places.

    Args:
        what: the dataset in words.
        root: where was looked.
        below: the places below it.
        expected: what would have been recognised, as a sentence.
        instead: what was found in its stead, as a sentence; may be empty.
    """
    looked = ", ".join(str(root / place) if place else str(root) for place in below)
    found = instead or f"There is {describe(root)}."
    return DataError(f"{what} was not found: looked in {looked}. {found}", expected)


def describe(folder: Path) -> str:
    """What a folder holds, in short: ``images/, refer_test.json and 3 more``."""
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in os.scandir(folder))
    if not names:
        return "nothing in it"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


class ImageFinder:
    """Paths of images by file name.

    Args:
        folders: where to look, in order; those that do not exist are skipped. An image that is in none of them is expected in the first
            that exists, or in the first of all.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        # normpath, not resolve: "release/../images" should name the user's own path even through symbolic links.
        distinct = list(dict.fromkeys(os.path.normpath(folder) for folder in folders))
        self.folders = [folder for folder in distinct if Path(folder).is_dir()] or distinct[:1]

    def __call__(self, name: str) -> Path:
        """The path of an image; it may be absent.

        Args:
            name: file name, possibly with folders, as a source file states it.

        Raises:
            DataError: the name is absolute or climbs out of the image folder.
        """
        if not name or name.startswith("/") or ".." in PurePosixPath(name).parts or "\0" in name:
            raise DataError(f"{name!r} is no file name of an image.", "Image names are relative to the image folder and stay inside it.")
        for folder in self.folders:
            path = f"{folder}/{name}"
            if os.path.isfile(path):  # noqa: PTH113 - ten times faster than Path, and called per image
                return Path(path)
        return Path(self.folders[0], name)
