"""Seeded Stable-Diffusion-like weights for tests: golden weights by name, checkpoints in the official layout, and hub-style folders.

Nothing here is trained. Sizes go from a few thousand parameters to the real ones; `python tests/make_sd.py DIR --full` writes the real ones.
"""

from __future__ import annotations

import argparse
import json
import math
import zipfile
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from ldznet_bench.models.checkpoints import Architecture
from ldznet_bench.models.official_names import ema_name, official_text_name, official_unet_namer, official_vae_name
from ldznet_bench.models.sd import SD_V1_TEXT, SD_V1_VAE, SDConfig, build_text_encoder, build_unet, build_vae, noise_schedule
from ldznet_bench.models.segunet import SD_V1_UNET, SegmentationUNet, SegUNetConfig
from ldznet_bench.models.weight_folders import Bundle, Part, write_folder

GOLDENS = Path(__file__).parent / "goldens" / "ldznet"
_DTYPES = {"float32": torch.float32, "int64": torch.int64, "int32": torch.int32}


def golden_randn(key: str, shape: tuple[int, ...]) -> Tensor:
    """The rule of the goldens: a tensor is a function of its name and shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))


def golden_weight(key: str, shape: tuple[int, ...], scheme: str) -> Tensor:
    """A weight of scheme ``s002`` or ``fanin``, by its name in the official checkpoint."""
    r = golden_randn(key, shape)
    norm = len(shape) == 1 and key.endswith("weight")
    if scheme == "s002":
        return 1 + 0.02 * r if norm else 0.02 * r
    if norm:
        return 1 + 0.1 * r
    return 0.1 * r if len(shape) < 2 else r / math.sqrt(math.prod(shape[1:]))


def manifest(size: str) -> list[tuple[str, tuple[int, ...], str, str]]:
    """(key, shape, dtype, kind) of every tensor of the official checkpoint, ``small`` or ``full``, in its order."""
    content = json.loads((GOLDENS / f"ldznet_{size}_state_dict.json").read_text())
    return [(key, tuple(shape), dtype, kind) for key, shape, dtype, kind in content["tensors"]]


def official_tensors(size: str, scheme: str) -> dict[str, Tensor]:
    """The official checkpoint's state dict with golden weights."""
    return dict(iterate_official(size, scheme))


def iterate_official(size: str, scheme: str) -> Iterator[tuple[str, Tensor]]:
    """The same, one tensor at a time: the full one has 11.7 GB."""
    for key, shape, dtype, kind in manifest(size):
        yield key, _buffer(key, shape, dtype) if kind == "buffer" else golden_weight(key, shape, scheme)


def meta_tensors(size: str) -> dict[str, Tensor]:
    """The official checkpoint's names, shapes and types without values."""
    return {key: torch.empty(shape, dtype=_DTYPES[dtype], device="meta") for key, shape, dtype, _ in manifest(size)}


def _buffer(key: str, shape: tuple[int, ...], dtype: str) -> Tensor:
    name = key.rsplit(".", 1)[-1]
    if name == "position_ids":
        return torch.arange(shape[-1])[None]
    if name == "alphas_cumprod":
        return noise_schedule(SDConfig()).float()
    if name == "betas":
        return (torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2).float()
    return torch.full(shape, 0.9999 if name == "decay" else 0, dtype=_DTYPES[dtype])


def small_architecture() -> Architecture:
    """The goldens' small configuration."""
    return scaled_architecture(channels=32, context=32, vae=32, vocabulary=100, layers=2)


def scaled_architecture(
    *, channels: int, context: int, vae: int, vocabulary: int, layers: int, image_size: int = 384, groups: int = 32, heads: int = 8
) -> Architecture:
    """Stable Diffusion's and LD-ZNet's structure at another width."""
    widths = tuple(channels * m for m in (1, 2, 4, 4))
    unet = {**SD_V1_UNET, "block_out_channels": widths, "cross_attention_dim": context, "norm_num_groups": groups, "attention_head_dim": heads}
    text = {
        **SD_V1_TEXT,
        "vocab_size": vocabulary,
        "hidden_size": context,
        "intermediate_size": 4 * context,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1,
    }
    autoencoder = {**SD_V1_VAE, "block_out_channels": tuple(vae * m for m in (1, 2, 4, 4)), "norm_num_groups": groups}
    return Architecture(SDConfig(unet, autoencoder, text), SegUNetConfig(unet=unet, image_size=image_size))


def tiny_architecture() -> Architecture:
    """The smallest that has every part: half a million parameters, 128 px, and a vocabulary that `write_tokenizer` makes."""
    return scaled_architecture(channels=8, context=16, vae=8, vocabulary=len(_vocabulary()), layers=1, image_size=128, groups=4, heads=2)


def seed_module(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Fan-in weights from a seed, in place; norms near one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in sorted(module.state_dict().items()):
            r = torch.randn(value.shape, generator=generator)
            norm = value.dim() == 1 and name.endswith("weight")
            value.copy_(1 + 0.1 * r if norm else 0.1 * r if value.dim() < 2 else r / math.sqrt(math.prod(value.shape[1:])))
    return module.eval()


def write_repository(folder: Path, config: SDConfig, seed: int = 0, sets: str = "non-ema") -> Path:
    """A Stable Diffusion repository as `save_pretrained` writes it, tokenizer included.

    Args:
        folder: made here.
        config: sizes.
        seed: of the weights.
        sets: which UNet weights: ``plain`` (the default file), ``non-ema`` (the same weights as a variant), or ``both``, as CompVis has it:
            the variant and, in the default file, others (EMA).
    """
    unet, vae, text = build_unet(config.unet), build_vae(config.vae), build_text_encoder(config.text)
    for offset, module in enumerate((unet, vae, text)):
        seed_module(module, seed + offset)
    unet.save_pretrained(folder / "unet", variant=None if sets == "plain" else "non_ema")
    if sets == "both":
        seed_module(unet, seed + 100).save_pretrained(folder / "unet")
    vae.save_pretrained(folder / "vae")
    text.save_pretrained(folder / "text_encoder")
    write_tokenizer(folder / "tokenizer")
    write_scheduler(folder / "scheduler", config)
    return folder


def write_segmenter(folder: Path, config: SegUNetConfig, seed: int = 7) -> Path:
    """A folder of ours that holds a segmentation network alone."""
    network = seed_module(SegmentationUNet(config), seed)
    part = Part(config.to_json(), network.state_dict(), "ema", folder, {})
    write_folder(folder, Bundle(folder, {"segmenter": part}), {"made": "by tests"})
    return folder


def single_file_tensors(repository: Path, config: SDConfig, *, ema: bool = True) -> dict[str, Tensor]:
    """The same weights as a repository's, under the names of CompVis' ``sd-v1-4-full-ema.ckpt`` (or, without EMA, ``sd-v1-4.ckpt``)."""
    name = official_unet_namer(config.unet)
    tensors = {
        f"model.diffusion_model.{name(key)}": value
        for key, value in load_file(repository / "unet/diffusion_pytorch_model.non_ema.safetensors").items()
    }
    if ema:
        other = load_file(repository / "unet/diffusion_pytorch_model.safetensors")
        tensors |= {ema_name(f"model.diffusion_model.{name(key)}"): value for key, value in other.items()}
        tensors |= {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(0, dtype=torch.int32)}
    levels = len(config.vae["block_out_channels"])
    for key, value in load_file(repository / "vae/diffusion_pytorch_model.safetensors").items():
        conv = "attentions" in key and value.dim() == 2
        tensors["first_stage_model." + official_vae_name(key, levels)] = value[:, :, None, None] if conv else value
    for key, value in load_file(repository / "text_encoder/model.safetensors").items():
        tensors["cond_stage_model.transformer." + official_text_name(key)] = value
    tensors["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(config.text["max_position_embeddings"])[None]
    tensors["alphas_cumprod"] = noise_schedule(config).float()
    return tensors


def save_lightning(tensors: dict[str, Tensor], path: Path) -> Path:
    """A checkpoint as Lightning writes it: beside the state dict, objects whose classes a reader should not import."""
    path.parent.mkdir(parents=True, exist_ok=True)
    callbacks = {"ModelCheckpoint": {"best": np.float64(0.5), "path": PurePosixPath("a")}}
    torch.save({"epoch": 3, "global_step": 500, "callbacks": callbacks, "state_dict": tensors, "optimizer_states": [Fraction(1, 2)]}, path)
    return path


def write_scheduler(folder: Path, config: SDConfig) -> None:
    """A ``scheduler_config.json`` as Stable Diffusion's."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "_class_name": "PNDMScheduler",
        "beta_schedule": "scaled_linear",
        "prediction_type": "epsilon",
        "beta_start": config.beta_start,
        "beta_end": config.beta_end,
        "num_train_timesteps": config.steps,
    }
    (folder / "scheduler_config.json").write_text(json.dumps(values))


def write_full_checkpoint(path: Path, scheme: str = "fanin") -> Path:
    """The official checkpoint at full size (11.7 GB), one tensor at a time in memory.

    torch writes the pickle and empty records; the bytes of each tensor then go to where its record lies. Zip checksums are those of zeros.
    """
    entries = manifest("full")
    untouched = {key: torch.empty(shape, dtype=_DTYPES[dtype]) for key, shape, dtype, _ in entries}  # pages that are never used
    with torch.serialization.skip_data():
        torch.save({"epoch": 1, "state_dict": untouched}, path)
    del untouched
    with zipfile.ZipFile(path) as archive, path.open("r+b") as file:
        records = {info.filename.rsplit("/", 1)[1]: info for info in archive.infolist() if "/data/" in info.filename}
        for number, (_, value) in enumerate(iterate_official("full", scheme)):
            header = records[str(number)].header_offset
            file.seek(header + 26)
            names = int.from_bytes(file.read(2), "little") + int.from_bytes(file.read(2), "little")
            file.seek(header + 30 + names)
            file.write(value.contiguous().numpy().tobytes())
    return path


def _vocabulary() -> dict[str, int]:
    """CLIP's byte alphabet, plain and word-final, and its two special tokens: everything else is spelt."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    return {token: i for i, token in enumerate([*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"])}


def write_tokenizer(folder: Path) -> Path:
    """A CLIP tokenizer without merges, in the two files that CLIP's has."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(_vocabulary()), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": "<|endoftext|>"})
    )
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--full", action="store_true", help="the real sizes (4.3 GB)")
    arguments = parser.parse_args()
    write_repository(arguments.folder, (Architecture() if arguments.full else tiny_architecture()).sd)
