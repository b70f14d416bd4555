"""Finding finished runs under a RUNS folder."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldznet_bench.atomic import read_object
from ldznet_bench.errors import BenchWarning, RunError, UnfinishedError, unknown_name


@dataclass(frozen=True)
class Run:
    """A finished run, as its two JSON files say.

    Attributes:
        path: the run folder.
        about: ``run.json``.
        summary: ``summary.json``.
    """

    path: Path
    about: dict[str, Any]
    summary: dict[str, Any]

    @property
    def dataset(self) -> str:
        """Expanded dataset name."""
        return str(self.summary["dataset"])

    @property
    def protocol(self) -> str:
        """Full protocol name."""
        return str(self.summary["protocol"])

    @property
    def model(self) -> str:
        """Full model name."""
        return str(self.summary["model"])

    @property
    def control(self) -> str | None:
        """The phrase control that it was made under; None for a plain run."""
        found = self.about.get("data", {}).get("control")
        return None if found is None else str(found)

    @property
    def limited(self) -> bool:
        """Whether it covers a sample of the split only."""
        return self.summary.get("limit") is not None


def find_runs(root: Path) -> tuple[list[Run], list[Path]]:
    """Finished runs under a folder, by path, and the folders of unfinished ones. Of a damaged one it is said that it is left out.

    Raises:
        RunError: the folder does not exist.
    """
    if not root.is_dir():
        raise RunError(f"{root} is not a folder of runs.", "Name one with --output, or make runs with `ldznet-bench run`.")
    finished, unfinished = [], []
    for path in sorted(_run_folders(root)):
        try:
            if is_finished(path):
                finished.append(read_run(path))
            else:
                unfinished.append(path)
        except RunError as error:
            warnings.warn(f"left out: {error}", BenchWarning, stacklevel=2)
    return finished, unfinished


def _run_folders(root: Path) -> Iterator[Path]:
    """Folders with a run.json, behind links too; none twice."""
    seen = set()
    for folder, below, files in os.walk(root, followlinks=True):
        try:
            place = Path(folder).stat()
        except FileNotFoundError:  # a journal that was merged and dropped meanwhile
            continue
        if (place.st_dev, place.st_ino) in seen:
            below.clear()
            continue
        seen.add((place.st_dev, place.st_ino))
        if "run.json" in files:
            yield Path(folder)


def is_finished(path: Path) -> bool:
    """Whether the run in a folder is.

    Raises:
        RunError: its ``run.json`` cannot be read.
    """
    return bool(_read(path / "run.json", ("status",))["status"] == "complete")


def read_run(path: Path) -> Run:
    """A finished run by its folder.

    Raises:
        RunError: its files cannot be read.
    """
    about = _read(path / "run.json", ("identity", "identity_digest", "data", "provenance", "rules"))
    return Run(path, about, _read(path / "summary.json", ("dataset", "protocol", "model", "metrics", "slices", "n_samples", "n_images")))


def choose(runs: Sequence[Run], *, models: Sequence[str] = (), datasets: Sequence[str] = (), protocols: Sequence[str] = ()) -> list[Run]:
    """The runs whose names begin with one of the given ones; an empty list admits all. ``clipseg`` admits ``clipseg/full+hf``.

    Runs under a phrase control (``clipseg/full+hf~blank``) and those that draw one thing anew (``…~noise1``) are admitted by their full name only:
    what a model does with other words, or by chance, is no row of a comparison.
    """
    wanted = ((models, "model", "/+"), (datasets, "dataset", ":-"), (protocols, "protocol", "@"))
    runs = [run for run in runs if "~" not in run.model or run.model in models]
    return [run for run in runs if all(not names or _named(getattr(run, key), names, cut) for names, key, cut in wanted)]


def _named(value: str, names: Sequence[str], cut: str) -> bool:
    return any(value == name or (value.startswith(name) and value[len(name)] in cut) for name in names)


def _read(path: Path, keys: Sequence[str] = ()) -> dict[str, Any]:
    try:
        return read_object(path, keys)
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error}).", "Remove that run folder and run again.") from error


def find_run(root: Path, text: str) -> list[Run]:
    """The finished runs that a text names: a run folder, an identity (12 hex digits or the first of them), or a model.

    Raises:
        RunError: the folder of runs cannot be read.
        UnfinishedError: only unfinished runs answer to it.
        BenchError: nothing answers to it; the nearest model is named.
    """
    path = Path(text)
    if (path / "run.json").is_file():
        if not is_finished(path):
            raise UnfinishedError([path])
        return [read_run(path)]
    runs, unfinished = find_runs(root)
    found = choose(runs, models=[text]) or [run for run in runs if _identified(run.path, text)]
    if found:
        return found
    if begun := [path for path in unfinished if _identified(path, text) or _named(str(_read(path / "run.json").get("model")), [text], "/+")]:
        raise UnfinishedError(begun)
    raise unknown_name("run", text, {run.model for run in runs})


def _identified(path: Path, text: str) -> bool:
    return len(text) >= 4 and path.name.startswith(text)


def read_ids(path: Path) -> frozenset[str]:
    """Ids from a text file, one a line; blank lines and ``#`` comments do not count.

    Raises:
        RunError: the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read ({error}).", "Give a text file with one id a line.") from error
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))
