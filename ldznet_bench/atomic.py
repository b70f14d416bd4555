"""Files that appear whole: written aside, flushed to disk, renamed."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldznet_bench.errors import BenchError, RunError

if TYPE_CHECKING:
    from filelock import BaseFileLock


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, which takes its place when the block ends well and vanishes when it does not.

    Raises:
        BenchError: the folder cannot be written, the disk is full, or `path` is a device or a pipe; `path` is then as it was before.
    """
    if _is_special(path):
        raise BenchError(f"{path} is a device or a pipe, which cannot be replaced by a file.", "Name a file.")
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        _flush(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
        _flush(path.parent)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or leave the old one. Devices and pipes (``/dev/stdout``) are written into, never replaced.

    Raises:
        BenchError: see `replacing`.
    """
    if _is_special(path):
        try:
            path.write_bytes(content)
        except OSError as error:
            raise write_error(path, error) from error
        return
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - any JSON-able value
    """Write a JSON file whole; keys keep their order, floats their shortest exact form."""
    write_bytes(path, dump_json(value).encode())


def dump_json(value: Any) -> str:  # noqa: ANN401 - any JSON-able value
    """The one way JSON is written here, so that equal values are equal bytes. NaN is an error, never a token."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_object(path: Path, keys: Sequence[str] = ()) -> dict[str, Any]:
    """A JSON object of a run.

    Args:
        path: the file.
        keys: that it must have.

    Raises:
        RunError: the file is not JSON, no object, or lacks one of the keys.
        OSError: it cannot be read.
    """
    remedy = "It was edited or damaged: remove that run folder and run again."
    try:
        value: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise RunError(f"{path} is not valid JSON ({error}).", remedy) from error
    if lacking := set(keys).difference(value) if isinstance(value, dict) else {"{…}"}:
        raise RunError(f"{path} is no such file of a run: it lacks {', '.join(sorted(lacking))}.", remedy)
    return value


def write_error(path: Path, error: OSError) -> BenchError:
    """The error for a failed write."""
    reason = error.strerror or str(error)
    remedy = "Free some space or choose another place with --output or --home; nothing half-written was left behind."
    return BenchError(f"cannot write {path}: {reason}.", remedy)


def acquire(lock: BaseFileLock, path: Path, timeout: float = -1) -> None:
    """Take a file lock.

    Args:
        lock: the lock.
        path: what it guards, for the error.
        timeout: seconds to wait; negative waits for ever.

    Raises:
        TimeoutError: another process has it.
        BenchError: it cannot be had, which on some shared file systems none can.
    """
    try:
        lock.acquire(timeout=timeout)
    except TimeoutError:
        raise
    except OSError as error:
        raise BenchError(
            f"{path} cannot be locked: {error.strerror or error}.",
            "Processes that share a folder need file locks there. Give each machine a folder of its own, and copy them together when all are done.",
        ) from error


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
