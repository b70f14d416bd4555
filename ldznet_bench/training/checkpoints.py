"""What is kept of a training while it runs: the last and the best state, as safetensors with a manifest, each whole or not there.

OUTPUT/<recipe>-seed<n>/
  recipe.json     recipe, seed, data fingerprint, hashes of the frozen weights
  log.jsonl       a line per logged step and per validation
  step-000500/    weights, moving average, optimiser; manifest.json
  last.json       names the newest of them, best.json the best
  final/          what `publish` wrote
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ldznet_bench.atomic import acquire, replacing, write_error, write_json
from ldznet_bench.errors import RunError, WeightsError
from ldznet_bench.training.recipe import DEFAULTS

FORMAT = 1
_REMOVE = "Remove the folder of that step: the training continues from an older state, or begins anew."
_DEFAULTS = json.loads(json.dumps(DEFAULTS))


@dataclass(frozen=True)
class State:
    """Everything that a training is continued from.

    Attributes:
        step: steps done.
        network: weights of the network.
        average: of the moving average; empty without one.
        optimiser: moments, ``<parameter>.exp_avg`` and so on.
        best: best validation figure so far, and its step; None before the first.
    """

    step: int
    network: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    optimiser: Mapping[str, Tensor]
    best: tuple[float, int] | None


class Checkpoints:
    """The folder of one training.

    Args:
        folder: made when something is first written.
        identity: what must be equal for a training to be continued: recipe, seed, data and frozen weights.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder, self.identity = folder, json.loads(json.dumps(dict(identity)))

    @property
    def log(self) -> Path:
        """The log's file."""
        return self.folder / "log.jsonl"

    @property
    def final(self) -> Path:
        """Where the published form goes."""
        return self.folder / "final"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out of the folder.

        Raises:
            RunError: one is at work in it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self.folder, error) from error
        lock = filelock.FileLock(self.folder / ".lock")
        try:
            acquire(lock, self.folder, timeout=0)
        except filelock.Timeout as error:
            raise RunError(f"another process is training in {self.folder}.", "Wait for it, or give another --output or --seed.") from error
        try:
            yield
        finally:
            lock.release()

    def begin(self) -> None:
        """Make the folder, or check that what is in it is this training; drop what an interrupted save left.

        Raises:
            RunError: another training is there; what differs is named.
        """
        path = self.folder / "recipe.json"
        if path.is_file():
            there = _json(path)
            if isinstance(recipe := there.get("recipe"), dict):
                there["recipe"] = {**_DEFAULTS, **recipe}  # keys that are younger than the training
            differs = _differences(there, self.identity)
            if differs:
                raise RunError(
                    f"{self.folder} holds another training: {'; '.join(differs[:6])}.", "Give another --output, or remove that folder to begin anew."
                )
        else:
            write_json(path, self.identity)
        for leftover in self.folder.glob(".step-*.part"):
            shutil.rmtree(leftover, ignore_errors=True)

    def save(self, state: State, *, best: bool) -> None:
        """Keep a state as the last one, and as the best one if it is; older ones go."""
        name = f"step-{state.step:06d}"
        aside, target = self.folder / f".{name}.part", self.folder / name
        shutil.rmtree(aside, ignore_errors=True)
        parts = {"network": state.network, "average": state.average, "optimiser": state.optimiser}
        files = {part: _write(aside / f"{part}.safetensors", tensors) for part, tensors in parts.items() if tensors}
        manifest = {"format": FORMAT, "step": state.step, "best": state.best, "files": files}
        write_json(aside / "manifest.json", manifest)
        shutil.rmtree(target, ignore_errors=True)  # of a step that is done again after a kill between rename and pointer
        aside.rename(target)
        for pointer in ("last", *(("best",) if best else ())):
            write_json(self.folder / f"{pointer}.json", {"checkpoint": name})
        keep = {self._pointed("last"), self._pointed("best")}
        for old in self.folder.glob("step-*"):
            if old not in keep:
                shutil.rmtree(old, ignore_errors=True)

    def load(self, which: str = "last") -> State | None:
        """The last (or ``best``) state; None where nothing was saved yet.

        Where the folder of that step is gone, because a user took a damaged one away, it is the newest that is there.

        Raises:
            WeightsError: its files are damaged.
        """
        folder = self._pointed(which)
        if folder is None:
            return None
        if not folder.is_dir():
            others = sorted(self.folder.glob("step-*"), key=lambda path: (len(path.name), path.name))
            if not others:
                return None
            folder = others[-1]
        path = folder / "manifest.json"
        manifest = _json(path)
        try:
            step, best, files = int(manifest["step"]), manifest["best"], dict(manifest["files"])
            tensors = {part: _read(folder / f"{part}.safetensors", files[part]) for part in ("network", *sorted({*files} - {"network"}))}
            best = None if best is None else (float(best[0]), int(best[1]))
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"{path} is damaged: {error!r}.", _REMOVE) from error
        empty: dict[str, Tensor] = {}
        return State(step, tensors["network"], tensors.get("average", empty), tensors.get("optimiser", empty), best)

    def _pointed(self, pointer: str) -> Path | None:
        path = self.folder / f"{pointer}.json"
        if not path.is_file():
            return None
        name = _json(path).get("checkpoint")
        if not isinstance(name, str) or not name.startswith("step-") or "/" in name:
            raise WeightsError(f"{path} is damaged: it names no step.", "Remove that file's folder to begin the training anew.")
        return self.folder / name


def _json(path: Path) -> dict[str, Any]:
    """A JSON object of ours, which a full disk or a hand may have damaged."""
    remedy = _REMOVE if path.name == "manifest.json" else "Remove that file's folder to begin the training anew."
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}.", remedy) from error
    if not isinstance(found, dict):
        raise WeightsError(f"{path} is damaged: it is no JSON object.", remedy)
    return found


def _write(path: Path, tensors: Mapping[str, Tensor]) -> str:
    with replacing(path) as temporary:
        save_file({name: value.detach().to("cpu").contiguous() for name, value in tensors.items()}, temporary)
        return _sha256(temporary)


def _read(path: Path, digest: str) -> dict[str, Tensor]:
    try:
        if _sha256(path) != digest:
            raise WeightsError(f"{path} is not what its manifest says.", f"The disk damaged it. {_REMOVE}")
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read: {error}.", _REMOVE) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _differences(there: Mapping[str, Any], here: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key in sorted({*there, *here}):
        old, new = there.get(key), here.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key} is {old!r} there, {new!r} here")
    return found
