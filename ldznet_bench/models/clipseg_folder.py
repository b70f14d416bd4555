"""CLIPSeg as transformers publishes it: a folder with config.json, weights, a tokenizer and a processor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import AutoTokenizer, CLIPSegConfig, CLIPSegForImageSegmentation

from ldznet_bench.errors import BenchError, WeightsError
from ldznet_bench.models.clipseg_pixels import HfPixels
from ldznet_bench.models.safe_checkpoint import read_tensors
from ldznet_bench.models.weights import check_finite, check_shapes

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
TOKENIZER_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"))
EXTRA_TOKENIZER_FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")

# Tables that transformers kept in checkpoints before 4.31 and now makes itself.
_BUFFERS = "position_ids"


@dataclass(frozen=True)
class Published:
    """A CLIPSeg, read from its files.

    Attributes:
        model: transformers' network with the files' weights.
        tokenizer: transformers'.
        pixels: its image processor; None where the recipe brings its own.
        files: name to path of everything that decides its output, for hashing.
    """

    model: CLIPSegForImageSegmentation
    tokenizer: Any
    pixels: HfPixels | None
    files: Mapping[str, Path]


def read_folder(folder: Path, *, processor: bool) -> Published:
    """What `save_pretrained` wrote for the model and for its processor.

    Args:
        folder: of the files.
        processor: whether its image processor is needed.

    Raises:
        WeightsError: the folder lacks a file, or holds weights that are damaged or of another architecture.
    """
    if not folder.is_dir():
        raise WeightsError(f"{folder} is not a folder.", "Give the folder that save_pretrained wrote: --weights clipseg=DIR.")
    files = _published_files(folder)
    config = read_config(folder)
    pixels = HfPixels.from_folder(folder) if processor else None
    weights = next(files[name] for name in WEIGHT_FILES if name in files)
    return Published(build(config, read_tensors(weights), weights), read_tokenizer(folder, config.text_config), pixels, files)


def _published_files(folder: Path) -> dict[str, Path]:
    """The files that decide the network's output: weights (safetensors first, as transformers does), config, tokenizer.

    Raises:
        WeightsError: one is missing; it says which and what else was found.
    """
    weights = [name for name in WEIGHT_FILES if (folder / name).is_file()]
    tokens = [names for names in TOKENIZER_FILES if all((folder / name).is_file() for name in names)]
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    missing += [] if weights else [" or ".join(WEIGHT_FILES)]
    missing += [] if tokens else ["the tokenizer: tokenizer.json, or vocab.json and merges.txt"]
    if missing:
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:12]) or "nothing"
        raise WeightsError(
            f"{folder} lacks {'; '.join(missing)} (it holds {there}).",
            "Write it with model.save_pretrained(DIR) and processor.save_pretrained(DIR).",
        )
    names = ("config.json", weights[0], *tokens[0])
    return {name: folder / name for name in (*names, *(name for name in EXTRA_TOKENIZER_FILES if (folder / name).is_file()))}


def read_config(folder: Path) -> CLIPSegConfig:
    """``config.json`` as transformers' configuration.

    Raises:
        WeightsError: it is unreadable, of another model, or asks for what the decoder cannot do.
    """
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        kind = values.get("model_type")
        if kind != "clipseg":
            raise WeightsError(f"{path} is for a model of type {kind!r}, not 'clipseg'.", "Give the folder of a CLIPSeg model.")
        config = CLIPSegConfig.from_dict(values)
    except (OSError, ValueError, TypeError, AttributeError, StrictDataclassError) as error:
        raise WeightsError(f"{path} cannot be read: {error}.", "Fetch it again.") from error
    vision: Any = config.vision_config
    layers = vision.num_hidden_layers
    wrong = [layer for layer in config.extract_layers if not 0 <= layer < layers]
    if wrong or not config.extract_layers:
        raise WeightsError(
            f"{path}: extract_layers is {list(config.extract_layers)} but the image tower has layers 0 to {layers - 1}.",
            "Give the config.json that belongs to the weights.",
        )
    return config


def build(config: CLIPSegConfig, tensors: Mapping[str, Tensor], where: Path) -> CLIPSegForImageSegmentation:
    """The network with these weights in float32; nothing is initialised at random first and nothing is left over.

    Raises:
        WeightsError: names or shapes differ, or there is NaN among them.
    """
    wanted = {name: tensor for name, tensor in tensors.items() if not name.endswith(_BUFFERS)}
    with torch.device("meta"):
        model = CLIPSegForImageSegmentation(config)
    expected = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith(_BUFFERS)}
    check_shapes(wanted, expected, where, "the network of its config.json")
    check_finite(wanted, where)
    # Mapped tensors stay where the file has them, as in transformers: matrix products round otherwise at another alignment to 64 bytes.
    model.load_state_dict({name: tensor.float() for name, tensor in wanted.items()}, assign=True, strict=False)
    for name, buffer in list(model.named_buffers()):
        owner = model.get_submodule(name.rpartition(".")[0])
        if not name.endswith(_BUFFERS):
            raise BenchError(f"this version of transformers keeps a buffer {name!r} that is not known here.", "Use the pinned version.")
        owner.position_ids = torch.arange(buffer.shape[-1]).expand((1, -1))
    return model


def read_tokenizer(folder: Path, text: Any) -> Any:  # noqa: ANN401 - transformers is untyped
    """The folder's tokenizer, held against the text encoder's config.

    Raises:
        WeightsError: it cannot be read, or belongs to another model: the encoder would read the wrong token as the end.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"the tokenizer in {folder} cannot be read: {error}.", "Fetch its files again.") from error
    # 2 is the end token that transformers wrote into configs before 4.31; it then looks for the highest id instead.
    if len(tokenizer) > text.vocab_size or text.eos_token_id not in (2, tokenizer.eos_token_id):
        raise WeightsError(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens and ends phrases with id {tokenizer.eos_token_id}; "
            f"config.json says {text.vocab_size} and {text.eos_token_id}.",
            "Give the tokenizer that belongs to the weights.",
        )
    return tokenizer
