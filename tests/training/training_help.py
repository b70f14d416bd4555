"""What tests of training share."""

from __future__ import annotations

import atexit
import dataclasses
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

from ldznet_bench.training.recipe import load_recipe
from ldznet_bench.training.start import Order, make_trainer

UNET = {"block_out_channels": [8, 16, 16], "attention_head_dim": [1, 2, 2], "norm_num_groups": 4, "sample_size": 24}
SIZES = {
    "autoencoder": {"block_out_channels": [8, 8, 8], "norm_num_groups": 4},
    "clip": {
        "projection_dim": 16,
        "text": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 32},
        "vision": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 96, "patch_size": 16},
    },
    "ldm": UNET,
    "clipseg": {"extract_layers": [0, 1], "reduce_dim": 16, "decoder_num_attention_heads": 2, "decoder_intermediate_size": 16},
}


def tiny(name, **changes):
    """A recipe of the miniature with sizes and lengths for a test."""
    recipe = load_recipe(name)
    few = {"steps": 4, "batch_size": 2, "checkpoint_every": 2, "validate_every": 2, "warmup": 1, "images": None, "held_out": 4}
    few |= {"validate_limit": 4 if recipe.validate_on else None}
    return dataclasses.replace(recipe, model={**recipe.model, **SIZES.get(recipe.network, {})}, **{**few, **changes})


# One home for all tests of a process: preparing minicut's train split takes seconds.
HOME = Path(tempfile.mkdtemp(prefix="training-home-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)


def order(recipe, output: Path, frozen=(), seed=0):
    return Order(recipe, seed, Path(output), tuple(frozen), HOME)


class Silent:
    def step(self, *_):
        pass

    def validated(self, *_):
        pass


class Remembers(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.figures = {}

    def validated(self, step, figures, best):
        self.figures[step] = dict(figures)


def run(its, watcher=None):
    return make_trainer(its, watcher or Silent()).run()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor below a folder, by file and name."""
    return {f"{file.relative_to(folder)}:{name}": value for file in sorted(folder.rglob("*.safetensors")) for name, value in load_file(file).items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())
