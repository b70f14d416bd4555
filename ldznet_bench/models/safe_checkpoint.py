"""Reading torch checkpoints without running anything in them.

A torch checkpoint is a zip with one pickle and one uncompressed file of bytes per storage. The pickle is read by an unpickler that knows how
to make tensors, ordered dicts and nothing else: every other global that it names becomes an inert placeholder, and is reported. So the files
that Lightning writes (`sd-v1-4-full-ema.ckpt` pickles callbacks and NumPy scalars) are readable without trusting whoever wrote them.

Tensors are views of the memory-mapped file: reading 12 GB of names and shapes costs milliseconds and no memory.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ldznet_bench.errors import WeightsError

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_MAX_PICKLE = 1 << 28  # LD-ZNet's 2,677 tensors take 0.4 MB of pickle; a pickle of a quarter gigabyte is no checkpoint's
_MAX_DEPTH = 64

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        path: the file.
        tensors: name to tensor, in the file's order; views of the mapped file, never to be written to.
        placeholders: globals other than tensors' that the pickle named, ``module.name``, sorted; none of them was imported.
        others: top-level entries beside the state dict (``epoch``, ``optimizer_states``), which were not used.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    placeholders: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the state dict of a ``.ckpt``, ``.pt``, ``.pth``, ``.bin`` or ``.safetensors`` file.

    Raises:
        WeightsError: the file is missing, empty, truncated, of another kind, or holds no tensors.
    """
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}.", "Check the path, or fetch it with `ldznet-bench download`.")
    if path.suffix == ".safetensors":
        return Checkpoint(path, read_safetensors(path))
    with path.open("rb") as file:
        magic = file.read(4)
    if magic != b"PK\x03\x04":
        raise WeightsError(f"{path} is not a torch checkpoint: {_looks_like(magic, path)}.", _AGAIN)
    return _read_zip(path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a file that has no business to hold anything else: published weights, without a training's state around them.

    Raises:
        WeightsError: as `read_checkpoint`; or its pickle names anything but tensors.
    """
    checkpoint = read_checkpoint(path)
    if checkpoint.placeholders:
        named = ", ".join(checkpoint.placeholders[:5])
        raise WeightsError(f"{path} is no plain file of tensors: its pickle names {named} (not run).", "Use weights from a source you trust.")
    return dict(checkpoint.tensors)


# What the pickle of a damaged or hostile file raises depends on its bytes.
_GARBAGE = (
    *(pickle.UnpicklingError, ValueError, TypeError, KeyError, IndexError, AttributeError),
    *(struct.error, OverflowError, MemoryError, RecursionError, RuntimeError),
)
_AGAIN = "Fetch the file again, or load it with a torch that you trust it with and save it with torch.save or as safetensors."


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, memory-mapped.

    Raises:
        WeightsError: the file is missing, truncated or of another kind.
    """
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path} cannot be read as safetensors: {error}.", "It is missing, truncated or of another kind: fetch it again."
        ) from error


def _looks_like(magic: bytes, path: Path) -> str:
    if not path.stat().st_size:
        return "it is empty"
    if magic[:1] == b"<":
        return "it is a web page, as a full download quota or a login gives"
    if magic[:1] == b"\x80":
        return "it is a bare pickle, as torch before 1.6 wrote it"
    return f"it begins with {magic!r}, not with a zip's PK"


def _read_zip(path: Path) -> Checkpoint:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl") or name == "data.pkl"]
            if len(names) != 1:
                raise WeightsError(f"{path} is a zip without one data.pkl, so no torch checkpoint.", _AGAIN)
            prefix = names[0].removesuffix("data.pkl")
            records = {
                info.filename.removeprefix(prefix + "data/"): info for info in archive.infolist() if info.filename.startswith(prefix + "data/")
            }
            _check_order(archive, prefix, path)
            if archive.getinfo(names[0]).file_size > _MAX_PICKLE:
                raise WeightsError(f"{path} has a pickle of over {_MAX_PICKLE >> 20} MB.", _AGAIN)
            body = archive.read(names[0])
            _check_memo(body)
            reader = _Reader(io.BytesIO(body), _Storages(path, records))
            content = reader.load()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError) as error:
        raise WeightsError(f"{path} ({path.stat().st_size:,} bytes) is truncated or damaged: {error}.", _AGAIN) from error
    except _GARBAGE as error:
        raise WeightsError(f"{path} has a pickle that is no checkpoint's: {type(error).__name__}: {error}.", _AGAIN) from error
    return _checkpoint(path, content, reader.placeholders)


def _check_memo(body: bytes) -> None:
    """Refuse a pickle that numbers an object past its own length: C's unpickler would allocate (and touch) a table up to that number."""
    for opcode, argument, _ in pickletools.genops(body):
        if opcode.name in ("PUT", "LONG_BINPUT") and argument is not None and int(argument) > len(body):
            raise pickle.UnpicklingError(f"object number {argument} in a pickle of {len(body)} bytes")


def _check_order(archive: zipfile.ZipFile, prefix: str, path: Path) -> None:
    name = prefix + "byteorder"
    if name in archive.namelist() and archive.read(name) != b"little":
        raise WeightsError(f"{path} was written on a big-endian machine.", "Save it again on a little-endian one.")


def _checkpoint(path: Path, content: Any, placeholders: set[str]) -> Checkpoint:  # noqa: ANN401 - whatever was pickled
    state = content
    others: tuple[str, ...] = ()
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        state, others = content["state_dict"], tuple(str(key) for key in content if key != "state_dict")
    tensors = dict(_flatten(state)) if isinstance(state, Mapping) else {}
    if not tensors:
        what = f"a {type(state).__name__}" if not isinstance(state, Mapping) else f"a dict of {len(state)} entries, none of them tensors"
        named = f" It names {', '.join(sorted(placeholders)[:5])}." if placeholders else ""
        raise WeightsError(f"{path} holds no tensors but {what}.{named}", "Give the file that holds the network's weights.")
    return Checkpoint(path, tensors, tuple(sorted(placeholders)), others)


def _flatten(values: Mapping[Any, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    for key, value in values.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{key}", value
        elif isinstance(value, Mapping) and depth < _MAX_DEPTH:
            yield from _flatten(value, f"{prefix}{key}.", depth + 1)


class _Storages:
    """Storages of a checkpoint as slices of one private mapping of its file."""

    def __init__(self, path: Path, records: Mapping[str, zipfile.ZipInfo]) -> None:
        self.path, self.records = path, records
        self.size = path.stat().st_size
        self.whole = torch.UntypedStorage.from_file(str(path), False, self.size)

    def __getitem__(self, key: str) -> torch.UntypedStorage:
        info = self.records.get(key)
        if info is None:
            raise WeightsError(f"{self.path} lacks the bytes of storage {key!r}.", _AGAIN)
        if info.compress_type != zipfile.ZIP_STORED:
            raise WeightsError(f"{self.path} holds compressed tensors.", "Unpack and pack it again without compression.")
        start = self._start(info)
        if start + info.file_size > self.size:
            raise WeightsError(f"{self.path} is truncated: storage {key!r} ends at byte {start + info.file_size:,} of {self.size:,}.", _AGAIN)
        part: torch.UntypedStorage = self.whole[start : start + info.file_size]
        return part

    def _start(self, info: zipfile.ZipInfo) -> int:
        """Where a record's bytes begin: behind its local header, whose name and padding may differ from the directory's."""
        with self.path.open("rb") as file:
            file.seek(info.header_offset)
            fields = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        return info.header_offset + _LOCAL_HEADER.size + int(fields[-2]) + int(fields[-1])


class Placeholder:
    """What stands for an object of a class that is not imported. Takes anything, does nothing, holds nothing."""

    def __new__(cls, *_: object, **__: object) -> Placeholder:
        """An instance, whatever the arguments."""
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None: ...

    def __call__(self, *_: object, **__: object) -> Placeholder:
        """Calling one gives another."""
        return self

    def __setstate__(self, _: object) -> None: ...

    def __setitem__(self, *_: object) -> None: ...

    def append(self, _: object) -> None:
        """Takes an item and drops it."""

    def extend(self, _: object) -> None:
        """Takes items and drops them."""

    def add(self, _: object) -> None:
        """Takes an item and drops it."""


@dataclass(frozen=True)
class _StorageType:
    """Stands for torch's storage classes."""

    dtype: torch.dtype


@dataclass(frozen=True)
class _Storage:
    """A storage as a pickle names it: bytes and the type that its old-style class implies."""

    data: torch.UntypedStorage
    dtype: torch.dtype


class _Reader(pickle.Unpickler):
    """An unpickler that makes tensors and nothing else.

    Attributes:
        placeholders: ``module.name`` of every other global.
    """

    def __init__(self, file: Any, storages: _Storages) -> None:  # noqa: ANN401 - a binary file
        super().__init__(file)
        self.storages = storages
        self.placeholders: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - a stand-in
        """A stand-in for a global; nothing is imported."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name in _REBUILDERS:
            return _REBUILDERS[name]
        if module in ("torch", "torch.storage"):
            if name in _STORAGES:
                return _StorageType(_STORAGES[name])
            if name == "UntypedStorage":
                return _StorageType(torch.uint8)
            if isinstance(getattr(torch, name, None), torch.dtype):
                return getattr(torch, name)
        self.placeholders.add(f"{module}.{name}")
        return type(name, (Placeholder,), {"__module__": "placeholder"})

    def persistent_load(self, pid: Any) -> _Storage:  # noqa: ANN401 - from the pickle
        """The storage that a persistent id ``('storage', class, key, location, size)`` names."""
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and isinstance(pid[1], _StorageType) and isinstance(pid[2], str)):
            raise pickle.UnpicklingError(f"unknown persistent id {str(pid)[:80]}")
        return _Storage(self.storages[pid[2]], pid[1].dtype)


class _RebuildTensor:
    """Stands for ``torch._utils._rebuild_tensor``: a bounds-checked view of a storage. Slots, so that no pickle can set attributes on it."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, size: Any, stride: Any, *_: object) -> Tensor:  # noqa: ANN401 - from the pickle
        if not isinstance(storage, _Storage):
            raise pickle.UnpicklingError("a tensor without a storage")
        sizes, strides = tuple(int(n) for n in size), tuple(int(n) for n in stride)
        if len(sizes) != len(strides) or min((*sizes, *strides, int(offset))) < 0:
            raise pickle.UnpicklingError(f"a tensor of sizes {sizes} and strides {strides}")
        last = int(offset) + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True)) if 0 not in sizes else -1
        if (last + 1) * storage.dtype.itemsize > storage.data.nbytes():
            raise pickle.UnpicklingError(f"a tensor of shape {sizes} reaches past the end of its storage")
        return torch.empty(0, dtype=storage.dtype).set_(storage.data, int(offset), sizes, strides)


class _RebuildParameter:
    """Stands for ``torch._utils._rebuild_parameter``: the tensor itself."""

    __slots__ = ()

    def __call__(self, data: Any, *_: object) -> Any:  # noqa: ANN401 - from the pickle
        return data


_REBUILDERS = {"_rebuild_tensor": _RebuildTensor(), "_rebuild_tensor_v2": _RebuildTensor(), "_rebuild_parameter": _RebuildParameter()}
