"""Weight files: what they hash to, and whether their tensors are finite and fit a network. Does not import torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldznet_bench.atomic import write_json
from ldznet_bench.errors import BenchError, WeightsError

if TYPE_CHECKING:
    import torch

_NAMED = 6  # tensors that an error names before it says how many more there are


def hash_files(files: Mapping[str, Path], cache: Path | None = None) -> str:
    """The identity of a set of files: sha256 (hex) over their names and contents, whatever folder they are in.

    Args:
        files: name -> path; names count, paths do not.
        cache: JSON file that remembers the hash of large files by their stat, so that 600 MB are read once and not in every run.

    Returns:
        Sha256 over the lines ``<sha256 of the content>  <name>``, sorted by name (the format of ``sha256sum``).

    Raises:
        WeightsError: a file cannot be read.
    """
    known = _read_cache(cache)
    seen = dict(known)
    hashes = {name: _hash_file(path, known) for name, path in files.items()}
    if cache is not None and known != seen:
        _write_cache(cache, known)
    return hashlib.sha256("".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes)).encode()).hexdigest()


def check_finite(tensors: Mapping[str, torch.Tensor], where: Path) -> None:
    """Refuse weights that hold NaN or infinity.

    Raises:
        WeightsError: naming the tensors.
    """
    bad = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not bool(tensor.isfinite().all())]
    if bad:
        raise WeightsError(f"{where} holds NaN or infinite values in {listed(bad)}.", "The file is damaged or training diverged; fetch it again.")


def check_shapes(found: Mapping[str, Any], expected: Mapping[str, Any], where: Path, network: str) -> None:
    """Refuse weights that are not exactly the network's.

    Args:
        found: tensors of the file, by name.
        expected: tensors (or anything with a shape) of the network, by name.
        where: the file.
        network: in words, for the message.

    Raises:
        WeightsError: listing the names that are missing or too many, and the shapes that differ.
    """
    missing = [f"{name} {_shape(expected[name])}" for name in expected if name not in found]
    unknown = [f"{name} {_shape(found[name])}" for name in found if name not in expected]
    other = [
        f"{name} {_shape(found[name])}, expected {_shape(expected[name])}"
        for name in expected
        if name in found and tuple(found[name].shape) != tuple(expected[name].shape)
    ]
    problems = (("missing", missing), ("not of this network", unknown), ("of another shape", other))
    text = "; ".join(f"{what}: {listed(names)}" for what, names in problems if names)
    if text:
        raise WeightsError(
            f"{where} does not fit {network}. {text}.", "Give weights of this architecture, with the config.json that belongs to them."
        )


def listed(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return ", ".join(every[:_NAMED]) + more


def _shape(tensor: Any) -> str:  # noqa: ANN401 - anything with a shape
    return "x".join(map(str, tensor.shape)) or "scalar"


def _hash_file(path: Path, known: dict[str, list[str]]) -> str:
    try:
        stat = path.stat()
        # Content can change under an old modification time (cp -p, rsync), but not without a new change time.
        state = f"{stat.st_dev} {stat.st_ino} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
        key = str(path.resolve())
        if known.get(key, [""])[0] != state:
            with path.open("rb") as file:
                known[key] = [state, hashlib.file_digest(file, "sha256").hexdigest()]
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}.", "Check the file and its permissions.") from error
    return known[key][1]


def _read_cache(cache: Path | None) -> dict[str, list[str]]:
    if cache is None or not cache.is_file():
        return {}
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # a cache that cannot be read is no cache: the files are hashed again
    if not isinstance(content, dict):
        return {}
    return {key: value for key, value in content.items() if isinstance(value, list) and len(value) == 2}


def _write_cache(cache: Path, known: dict[str, list[str]]) -> None:
    try:
        write_json(cache, {key: known[key] for key in sorted(known) if Path(key).exists()})
    except BenchError:
        return  # a read-only home only costs hashing again; the hash itself is right
