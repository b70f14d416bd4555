"""A folder that transformers' `save_pretrained` wrote: what must be in it, what identifies it, and its network, read without running code.

The networks are transformers' own classes, loaded by its own `from_pretrained`, so that renamed weights and shards are its business. What is
added here is refusal: transformers initialises what it misses at random and says so in a log.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoTokenizer
from transformers.utils import logging as _untyped_logging

from ldznet_bench.errors import BenchWarning, WeightsError
from ldznet_bench.models.devices import pick_device, pick_dtype
from ldznet_bench.models.weights import hash_files, listed

if TYPE_CHECKING:
    from ldznet_bench.models.load import LoadRequest

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PIXELS = ("preprocessor_config.json", "processor_config.json")
TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("vocab.txt",))
transformers_logging: Any = _untyped_logging
# What decides the output beside these, where it is there.
_MORE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "generation_config.json")
_REMEDY = "Give a folder that save_pretrained wrote for the model and for its processor, with safetensors."


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A network of one folder, with what its segmenter is made from.

    Attributes:
        folder: as the user gave it.
        network: of transformers, on its device.
        tokenizer: of the folder.
        options: ``weights`` (sha256 over the files), ``device``, ``precision`` and ``micro_batch``.
    """

    folder: Path
    network: Any
    tokenizer: Any
    options: dict[str, Any]


def open_part(request: LoadRequest, part: str, network: Any, kinds: Iterable[str]) -> Opened:  # noqa: ANN401 - transformers is untyped
    """The only part of a model: a folder with a network that reads images and text.

    Args:
        request: what the factory was given.
        part: its key in the request's weights.
        network: transformers' class.
        kinds: the values of ``model_type`` that may be there.

    Raises:
        WeightsError: the folder lacks a file, or holds weights that are damaged or of another network.
        BenchError: unknown device or precision.
    """
    device = pick_device(request.device)
    pick_dtype(request.precision)
    folder = request.weights[part]
    files = find_files(folder, tokenizer=True)
    check_kind(folder, kinds)
    made = load_network(network, folder, precision=request.precision, device=device)
    tokenizer = load_tokenizer(folder, made.config.text_config.vocab_size)
    weights = hash_files(files, request.home / "hashes.json")
    options = {"weights": weights, "device": device, "precision": request.precision, "micro_batch": request.micro_batch}
    return Opened(folder, made, tokenizer, options)


def find_files(folder: Path, *, tokenizer: bool) -> dict[str, Path]:
    """The files that decide what the network gives: weights, configuration, preprocessing, tokenizer.

    Args:
        folder: as the user gave it.
        tokenizer: whether the network reads text.

    Returns:
        Name to path, for hashing.

    Raises:
        WeightsError: something is missing; it says what, and what is there.
    """
    if not folder.is_dir():
        raise WeightsError(f"{folder} is not a folder.", _REMEDY)
    weights = _weight_files(folder)
    pixels = [name for name in PIXELS if (folder / name).is_file()]
    tokens = [names for names in TOKENIZERS if all((folder / name).is_file() for name in names)] if tokenizer else [()]
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    missing += [] if weights else [WEIGHTS]
    missing += [] if pixels else [" or ".join(PIXELS)]
    missing += [] if tokens else ["the tokenizer: " + ", or ".join(" and ".join(names) for names in TOKENIZERS)]
    if missing:
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:12]) or "nothing"
        raise WeightsError(f"{folder} lacks {'; '.join(missing)} (it holds {there}).", _REMEDY)
    names = ("config.json", *weights, *pixels, *tokens[0])
    extra = (name for name in _MORE if (folder / name).is_file() and (tokenizer or not name.startswith("token")))
    return {name: folder / name for name in dict.fromkeys((*names, *extra))}


def _weight_files(folder: Path) -> list[str]:
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    if not (folder / INDEX).is_file():
        return []
    shards = sorted({str(shard) for shard in read_mapping(folder / INDEX).get("weight_map", {}).values()})
    absent = [shard for shard in shards if Path(shard).name != shard or not (folder / shard).is_file()]
    if absent or not shards:
        raise WeightsError(f"{folder / INDEX} names {listed(absent) or 'no file'}, which is not there.", "Fetch the folder again.")
    return [INDEX, *shards]


def read_mapping(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        WeightsError: it cannot be read, or holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}.", "Fetch it again.") from error
    if not isinstance(values, dict):
        raise WeightsError(f"{path} holds no JSON object.", "Fetch it again.")
    return values


def check_kind(folder: Path, kinds: Iterable[str]) -> str:
    """The ``model_type`` of ``config.json``, which must be one of these.

    Raises:
        WeightsError: the folder holds another model.
    """
    kind = read_mapping(folder / "config.json").get("model_type")
    if kind not in (known := tuple(kinds)):
        raise WeightsError(f"{folder / 'config.json'} is for a model of type {kind!r}, not {' or '.join(map(repr, known))}.", "Give its folder.")
    return str(kind)


def load_network(network: Any, folder: Path, *, precision: str, device: torch.device) -> Any:  # noqa: ANN401 - transformers is untyped
    """A network of transformers with the folder's weights: evaluation mode, no gradients.

    Args:
        network: its class.
        folder: of `find_files`.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        device: where it goes.

    Raises:
        WeightsError: the weights are damaged, hold NaN or infinity, or are not exactly the network's.
    """
    try:
        with _quiet():
            model, info = network.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True, dtype=torch.float32, trust_remote_code=False
            )
    except ImportError as error:
        raise WeightsError(
            f"the network in {folder} needs a library that is not here: {_first_line(error)}.", "Install it, or take another."
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, SafetensorError, StrictDataclassError) as error:
        raise WeightsError(f"the network in {folder} cannot be read: {_first_line(error)}.", "Fetch it again.") from error
    missing, other = sorted(info["missing_keys"]), sorted(str(key) for key in info["mismatched_keys"])
    unknown = sorted(info["unexpected_keys"])
    text = "; ".join(f"{what}: {listed(keys)}" for what, keys in (("missing", missing), ("not of it", unknown), ("of another shape", other)) if keys)
    if text:
        raise WeightsError(f"the weights in {folder} do not fit the network of their config.json. {text}.", "Fetch the folder again.")
    bad = [name for name, tensor in model.state_dict().items() if tensor.is_floating_point() and not bool(tensor.isfinite().all())]
    if bad:
        raise WeightsError(f"{folder} holds NaN or infinite values in {listed(bad)}.", "The file is damaged; fetch it again.")
    return model.eval().requires_grad_(False).to(device=device, dtype=pick_dtype(precision))


def load_tokenizer(folder: Path, vocabulary: int) -> Any:  # noqa: ANN401 - transformers is untyped
    """The folder's tokenizer.

    Args:
        folder: of `find_files`.
        vocabulary: rows of the network's table of embeddings.

    Raises:
        WeightsError: it cannot be read, or has tokens that the network has no row for.
    """
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(f"the tokenizer in {folder} cannot be read: {_first_line(error)}.", "Fetch its files again.") from error
    if len(tokenizer) > vocabulary:
        raise WeightsError(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens, the network {vocabulary}.", "Give the tokenizer that belongs to the weights."
        )
    return tokenizer


def load_pixels(processor: Any, folder: Path) -> Any:  # noqa: ANN401 - transformers is untyped
    """One of transformers' Pillow image processors with the folder's values.

    Raises:
        WeightsError: they cannot be read.
    """
    try:
        with _quiet():
            return processor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(f"the image processor in {folder} cannot be read: {_first_line(error)}.", "Fetch its files again.") from error


class Notes(dict[str, int]):
    """What should be said once per run, with how often it happened; distinct occurrences are counted once, so that padding adds nothing."""

    def __init__(self, model: str) -> None:
        super().__init__()
        self._model = model
        self._seen: set[tuple[str, object]] = set()

    def add(self, what: str, key: object, example: str = "") -> None:
        """Count an occurrence.

        Args:
            what: in words.
            key: tells occurrences apart.
            example: said with the first one, after a colon.
        """
        if (what, key) in self._seen:
            return
        self._seen.add((what, key))
        self[what] = self.get(what, 0) + 1
        if self[what] == 1:
            more = f" (first: {example})" if example else ""
            warnings.warn(f"{self._model}: {what}{more}; this is said once.", BenchWarning, stacklevel=3)

    def clear(self) -> None:
        """Nothing has happened yet."""
        super().clear()
        self._seen.clear()


def part_files(parts: Mapping[str, Mapping[str, Path]]) -> dict[str, Path]:
    """The files of several folders under one set of names: ``sam2/config.json``."""
    return {f"{part}/{name}": path for part, files in parts.items() for name, path in files.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' log lines and progress bars: what they say is checked here, and refused."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
    return lines[0].rstrip(".")[:300]
