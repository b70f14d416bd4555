"""What tensors of diffusers and transformers are called in CompVis' and LD-ZNet's checkpoints.

diffusers has converters the other way. They are not used to load, only to test against, because they drop what they do not know without a
word and turn a file that holds only EMA weights into an empty dict; here every tensor is accounted for. From our names to theirs, because
theirs lose their dots in EMA and cannot be turned back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_RESNET = (
    ("norm1.", "in_layers.0."),
    ("conv1.", "in_layers.2."),
    ("time_emb_proj.", "emb_layers.1."),
    ("norm2.", "out_layers.0."),
    ("conv2.", "out_layers.3."),
    ("conv_shortcut.", "skip_connection."),
)
_UNET_ENDS = (
    ("time_embedding.linear_1.", "time_embed.0."),
    ("time_embedding.linear_2.", "time_embed.2."),
    ("conv_in.", "input_blocks.0.0."),
    ("conv_norm_out.", "out.0."),
    ("conv_out.", "out.2."),
)
_VAE_ATTENTION = (("group_norm.", "norm."), ("to_q.", "q."), ("to_k.", "k."), ("to_v.", "v."), ("to_out.0.", "proj_out."))
# Names of diffusers before 0.17, which the hub's Stable Diffusion v1.4 still has in its VAE.
_OLD_ATTENTION = (("query.", "to_q."), ("key.", "to_k."), ("value.", "to_v."), ("proj_attn.", "to_out.0."))


def official_unet_name(name: str, layers_per_block: int, up_block_types: Sequence[str]) -> str:
    """A name in `UNet2DConditionModel` as an official checkpoint has it behind ``model.diffusion_model.``.

    What LD-ZNet adds inside a block keeps its own name.

    Args:
        name: ``up_blocks.1.resnets.0.conv1.weight``.
        layers_per_block: residual blocks per level on the way down.
        up_block_types: diffusers' classes of the up blocks: an up-sampler is numbered behind the transformer, if there is one.
    """
    match = re.match(r"(down_blocks|up_blocks|mid_block)\.(?:(\d+)\.)?(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", name)
    if not match:
        return _first(name, _UNET_ENDS)
    side, kind, layer = match[1], match[3], int(match[4])
    rest = _first(match[5], _RESNET) if kind == "resnets" else match[5]
    if side == "mid_block":
        return f"middle_block.{2 * layer + (kind == 'attentions')}.{rest}"
    stage = int(match[2])
    first = stage * (layers_per_block + 1)
    if kind == "downsamplers":
        return f"input_blocks.{first + layers_per_block + 1}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        return f"output_blocks.{first + layers_per_block}.{2 if 'CrossAttn' in up_block_types[stage] else 1}.{rest}"
    number, blocks = (first + layer + 1, "input_blocks") if side == "down_blocks" else (first + layer, "output_blocks")
    return f"{blocks}.{number}.{int(kind == 'attentions')}.{rest}"


def official_vae_name(name: str, levels: int) -> str:
    """A name in `AutoencoderKL` as an official checkpoint has it behind ``first_stage_model.``."""
    head, attention, rest = name.partition("mid_block.attentions.0.")
    if attention:
        return f"{head}mid.attn_1.{_first(rest, _VAE_ATTENTION)}"
    new = name.replace("conv_shortcut.", "nin_shortcut.").replace("conv_norm_out.", "norm_out.")
    new = re.sub(r"mid_block\.resnets\.(\d)\.", lambda m: f"mid.block_{int(m[1]) + 1}.", new)
    new = re.sub(r"down_blocks\.(\d+)\.", r"down.\1.", new)
    new = re.sub(r"up_blocks\.(\d+)\.", lambda m: f"up.{levels - 1 - int(m[1])}.", new)
    return new.replace(".resnets.", ".block.").replace(".downsamplers.0.", ".downsample.").replace(".upsamplers.0.", ".upsample.")


def official_text_name(name: str) -> str:
    """A name in transformers' `CLIPTextModel` (of 4 or 5) as an official checkpoint has it behind ``cond_stage_model.transformer.``."""
    return "text_model." + name.removeprefix("text_model.")


def ema_name(name: str) -> str:
    """How the authors' EMA stores ``model.NAME``: all dots dropped (there are no collisions among 760 names)."""
    return "model_ema." + name.removeprefix("model.").replace(".", "")


def modern_vae_name(name: str) -> str:
    """A diffusers autoencoder's name with the attention names of diffusers before 0.17 brought up to date."""
    head, attention, rest = name.partition("mid_block.attentions.0.")
    return head + attention + _first(rest, _OLD_ATTENTION) if attention else name


def official_unet_namer(config: Any) -> Any:  # noqa: ANN401 - a mapping in, a function out
    """`official_unet_name` for a UNet's config."""
    layers, ups = config["layers_per_block"], config["up_block_types"]
    return lambda name: official_unet_name(name, layers, ups)


def _first(name: str, rules: Sequence[tuple[str, str]]) -> str:
    """The name with the first rule applied whose left side it starts with."""
    for old, new in rules:
        if name.startswith(old):
            return new + name[len(old) :]
    return name
