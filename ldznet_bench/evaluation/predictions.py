"""Predictions that some other model wrote to disk, as a segmenter like any other. Checked at the door; nothing is guessed."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from ldznet_bench.datasets.sample import ImageGroup
from ldznet_bench.errors import PredictionError, unknown_name
from ldznet_bench.evaluation.dumps import by_sample, read_dump
from ldznet_bench.masks import rle
from ldznet_bench.masks.spans import NOTHING, StoredMask, united
from ldznet_bench.models.segmenter import ImageInput, Pair, Segmenter
from ldznet_bench.protocols import Protocol

Missing = Literal["error", "empty", "skip"]
SizeMismatch = Literal["error", "official"]

# What numpy and zipfile raise on files that are damaged, or that claim an array larger than memory.
_UNREADABLE = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError)
_FORMATS = "<sample_id>.png masks, <sample_id>.npy score maps, one .npz of score maps, or COCO RLE .json"
# Modes whose stored values are one number per pixel; anything else (RGB, RGBA, LA) has no single "non-zero".
_MASK_MODES = ("1", "L", "P", "I;16", "I;16B", "I")


Map = npt.NDArray[np.float32] | StoredMask


class Source(ABC):
    """Where predictions come from.

    Attributes:
        binary: the ids whose prediction is a mask; the others are score maps.
    """

    binary: frozenset[str]

    @abstractmethod
    def ids(self) -> Iterable[str]:
        """Every sample id that has a prediction."""

    @abstractmethod
    def read(self, sample_id: str) -> Map:
        """The map of one sample, (h, w), unchecked values; the mask of an answer without instance, whose size nobody states, is (0, 0)."""

    @abstractmethod
    def digest(self) -> str:
        """Sha256 (hex) over names and contents."""


class Predictions(Segmenter):
    """A folder or file of predictions as a segmenter.

    Args:
        name: of the model that made them, as tables will show it.
        path: ``<sample_id>.png`` masks (any non-zero stored value is foreground) and ``<sample_id>.npy`` score maps in a folder, one ``.npz`` of
            score maps by sample id, or a ``.json`` or ``.jsonl`` of COCO RLEs in one of the forms of `ldznet_bench.evaluation.dumps`.
        groups: gives the dataset's images with their samples, for dumps by image and phrase; None allows ids only.
        missing: what a sample without prediction is: an ``error``, an ``empty`` mask, or left out (``skip``, as PhraseCut's evaluator does).
        size_mismatch: what a mask of another size than the annotation is: an ``error``, or ``official``: the truth is drawn at the mask's size.

    Raises:
        PredictionError: there is nothing there that could be predictions, or a sample has two.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        *,
        groups: Callable[[], Iterable[ImageGroup]] | None = None,
        missing: Missing = "error",
        size_mismatch: SizeMismatch = "error",
    ) -> None:
        self.name = name
        self.missing = missing
        self.size_mismatch = size_mismatch
        self._source = open_source(path, groups)
        self._path = path
        self.present = frozenset(self._source.ids())
        self.binary = bool(self._source.binary)
        self.stored = self.binary and self.present == self._source.binary
        self.weights = self._source.digest()
        self.recipe = {"missing": missing, "size_mismatch": size_mismatch}
        self._square: int | None = None

    def check(self, sample_ids: Sequence[str], protocol: Protocol) -> list[str]:
        """Compare with the dataset's ids before anything is counted.

        Args:
            sample_ids: of the dataset's split.
            protocol: its square canvas is a size that masks may have.

        Returns:
            The ids without prediction, in dataset order.

        Raises:
            PredictionError: some are missing under ``missing="error"``, or a prediction has an id that the split has not (under ``skip``
                those are ignored, as PhraseCut's evaluator does).
        """
        self._square = protocol.canvas
        absent = [ident for ident in sample_ids if ident not in self.present]
        extra = sorted(self.present - set(sample_ids))
        if absent and len(absent) == len(sample_ids):
            raise PredictionError(
                f"{self._path} has no prediction for any of the {len(sample_ids)} samples (first expected: {sample_ids[0]!r}"
                + (f"; first found: {extra[0]!r})." if extra else ")."),
                f"Expected {_FORMATS}, named by sample id.",
            )
        if absent and self.missing == "error":
            raise PredictionError(
                f"{self._path}: {len(absent)} of {len(sample_ids)} samples have no prediction ({_some(absent)}).",
                "Add them, or say what a missing one is: --missing empty, or --missing skip as PhraseCut's evaluator does.",
            )
        if extra and self.missing != "skip":
            near = unknown_name("sample id", extra[0], sample_ids if len(sample_ids) < 5000 else ())
            raise PredictionError(
                f"{self._path}: {len(extra)} predictions belong to no sample of this split ({_some(extra)}).",
                near.remedy if near.remedy.startswith("Did") else "Remove them or name the split they belong to.",
            )
        return absent

    def encode_image(self, images: Sequence[ImageInput]) -> Sequence[None]:
        """Nothing: predictions are read, not made."""
        return [None] * len(images)

    def encode_text(self, prompts: Sequence[str]) -> Sequence[None]:
        """Nothing."""
        return [None] * len(prompts)

    def decode(self, pairs: Sequence[Pair]) -> list[Map]:
        """Read the maps; refuse values outside [0, 1], NaN, and masks of a size that no rule explains."""
        return [self._map(pair) for pair in pairs]

    def _map(self, pair: Pair) -> Map:
        if pair.sample_id not in self.present:
            return StoredMask((pair.height, pair.width), NOTHING)
        found = self._source.read(pair.sample_id)
        if isinstance(found, StoredMask):
            if found.shape == (0, 0):
                return StoredMask((pair.height, pair.width), NOTHING)
            self._check_size(pair, found.shape)
        elif found.ndim != 2 or not found.size or not (found.min() >= 0 and found.max() <= 1):
            what = f"{self._path}: the score map of sample {pair.sample_id!r} {_fault(found)}."
            raise PredictionError(what, "Score maps are (h, w) floats in [0, 1].")
        return found

    def _check_size(self, pair: Pair, shape: tuple[int, ...]) -> None:
        allowed = [(pair.height, pair.width)] + ([(self._square, self._square)] if self._square else [])
        if shape not in allowed and (self.size_mismatch == "error" or self._square):
            raise PredictionError(
                f"{self._path}: the mask of sample {pair.sample_id!r} is {shape[1]}x{shape[0]}, "
                f"the annotation is {pair.width}x{pair.height} (width x height).",
                "Save masks at the image's size; --size-mismatch official draws the truth at the mask's size, as PhraseCut's evaluator does.",
            )


def open_source(path: Path, groups: Callable[[], Iterable[ImageGroup]] | None = None) -> Source:
    """The predictions at a path, by what they are.

    Raises:
        PredictionError: nothing there, or of no known form.
    """
    if path.is_dir():
        return _Folder(path)
    if not path.exists():
        raise PredictionError(f"{path} does not exist.", f"--predictions takes {_FORMATS}.")
    if path.suffix == ".npz":
        return _Npz(path)
    if path.suffix in (".json", ".jsonl"):
        return _RleFile(path, groups)
    raise PredictionError(f"{path} is neither a folder nor a .npz nor a .json.", f"--predictions takes {_FORMATS}.")


class _Folder(Source):
    def __init__(self, path: Path) -> None:
        self._files: dict[str, str] = {}  # text, as to make a Path of each costs as much as to open it
        others = []
        for name in sorted(os.listdir(path)):  # noqa: PTH208 - names, not paths, as above
            ident, _, extension = name.rpartition(".")
            file = f"{path}{os.sep}{name}"
            if not ident or extension.lower() not in ("png", "npy"):
                others.append(name)
            elif ident in self._files:
                raise PredictionError(f"sample {ident!r} has two predictions: {self._files[ident]} and {file}.", "Keep one of them.")
            else:
                self._files[ident] = file
        if not self._files:
            raise PredictionError(f"{path} holds no .png and no .npy{f' (but {_some(others)})' if others else ''}.", f"Expected {_FORMATS}.")
        self.binary = frozenset(ident for ident, file in self._files.items() if file.lower().endswith(".png"))

    def ids(self) -> Iterable[str]:
        return self._files

    def read(self, sample_id: str) -> Map:
        file = self._files[sample_id]
        return read_png_mask(file) if sample_id in self.binary else _as_scores(_load_numpy(Path(file)), Path(file))

    def digest(self) -> str:
        return _digest((ident, _content(file)) for ident, file in self._files.items())


class _Npz(Source):
    binary = frozenset()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._archive: Any = _load_numpy(path)
        duplicates = _repeated(self._archive.files)
        if duplicates:
            raise PredictionError(f"{path} holds {duplicates[0]!r} twice.", "Keep one of them.")

    def ids(self) -> Iterable[str]:
        return list(self._archive.files)

    def read(self, sample_id: str) -> npt.NDArray[np.float32]:
        try:
            return _as_scores(self._archive[sample_id], self._path)
        except _UNREADABLE as error:
            raise PredictionError(f"{self._path}: sample {sample_id!r} cannot be read ({error}).", "Write the file again.") from error

    def digest(self) -> str:
        return _digest([("npz", self._path.read_bytes())])


class _RleFile(Source):
    def __init__(self, path: Path, groups: Callable[[], Iterable[ImageGroup]] | None) -> None:
        self._path = path
        self._sha = _digest([(path.suffix[1:].removesuffix("l"), path.read_bytes())])
        self._codes = by_sample(path, read_dump(path), None if groups is None else groups())
        self.binary = frozenset(self._codes)

    def ids(self) -> Iterable[str]:
        return self._codes

    def read(self, sample_id: str) -> Map:
        try:
            codes = [rle.from_coco(code, error=PredictionError) for code in self._codes[sample_id]]
            spans = [rle.spans(code, PredictionError) for code in codes]
        except PredictionError as error:
            raise PredictionError(f"{self._path}: sample {sample_id!r}: {error.what}", error.remedy) from error
        sizes = {(code.height, code.width) for code in codes} or {(0, 0)}
        if len(sizes) > 1:
            raise PredictionError(f"{self._path}: sample {sample_id!r} has masks of several sizes.", "Instances of one answer share their image.")
        return StoredMask(sizes.pop(), spans[0] if len(spans) == 1 else united(spans))

    def digest(self) -> str:
        return self._sha


def read_png_mask(path: str | Path) -> StoredMask:
    """A mask image: any non-zero stored value (of a palette image: any non-zero index) is foreground.

    Raises:
        PredictionError: unreadable, or with several channels.
    """
    stored = decode_png(path)
    height, width = stored.shape
    return StoredMask((height, width), bits=np.packbits(stored.reshape(-1), bitorder="little"))


def decode_png(path: str | Path) -> npt.NDArray[Any]:
    """What an image with one channel stores: bool or integers, (h, w).

    Raises:
        PredictionError: as `read_png_mask`.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in _MASK_MODES:
                raise PredictionError(f"{path} has mode {image.mode}, several values per pixel.", "Save a mask with one channel (mode 1, L or P).")
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PredictionError(f"{path} cannot be decoded ({error}).", "Write the file again.") from error


def _load_numpy(path: Path) -> Any:  # noqa: ANN401 - an array or an archive
    try:
        return np.load(path, allow_pickle=False)
    except _UNREADABLE as error:
        raise PredictionError(f"{path} cannot be read ({error}).", "Write it with numpy.save or numpy.savez, without objects.") from error


def _as_scores(array: npt.NDArray[Any], path: Path) -> npt.NDArray[np.float32]:
    if array.dtype.kind not in "fbui":
        raise PredictionError(f"{path} holds {array.dtype} values.", "Score maps are floats in [0, 1].")
    return np.ascontiguousarray(array, dtype=np.float32)


def _fault(scores: npt.NDArray[np.float32]) -> str:
    if scores.ndim != 2 or not scores.size:
        return f"has shape {scores.shape}"
    if np.isnan(scores).any():
        return f"has {int(np.isnan(scores).sum())} NaN values"
    return f"has values from {scores.min():g} to {scores.max():g}"


def _content(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - and no buffer, either of which costs as much as reading a small file
        return file.readall()


def _digest(items: Iterable[tuple[str, bytes]]) -> str:
    total = hashlib.sha256()
    for name, content in items:
        total.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return total.hexdigest()


def _repeated(names: Sequence[str]) -> list[str]:
    seen: set[str] = set()
    return [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
