"""The frozen parts of Stable Diffusion v1 that LD-ZNet reads: autoencoder, text encoder, schedule, and the UNet tapped at its transformers.

All of them are diffusers' and transformers' own modules. `FeatureTaps` only listens, and cuts off what lies behind the last tap.
Sources: docs/ldznet.md; the schedule is Stable Diffusion v1's `scaled_linear`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from ldznet_bench.errors import WeightsError
from ldznet_bench.models.segunet import SD_V1_UNET, UNet

# For mypy, which sees stand-ins where diffusers and transformers import their classes lazily.
VAE = Any
TextEncoder = Any
_UNet: Any = UNet2DConditionModel
_VAE: Any = AutoencoderKL

SD_V1_VAE: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "norm_num_groups": 32,
    "act_fn": "silu",
    "scaling_factor": 0.18215,
}

SD_V1_TEXT: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "bos_token_id": 49406,
    "eos_token_id": 49407,
    "pad_token_id": 49407,
}


@dataclass(frozen=True)
class SDConfig:
    """Shapes and schedule of a latent diffusion model.

    Attributes:
        unet: arguments of `UNet2DConditionModel`.
        vae: arguments of `AutoencoderKL`, ``scaling_factor`` among them.
        text: arguments of `CLIPTextConfig`.
        beta_start: first beta of the ``scaled_linear`` schedule.
        beta_end: last one.
        steps: number of timesteps.
    """

    unet: Mapping[str, Any] = dataclasses.field(default_factory=lambda: SD_V1_UNET)
    vae: Mapping[str, Any] = dataclasses.field(default_factory=lambda: SD_V1_VAE)
    text: Mapping[str, Any] = dataclasses.field(default_factory=lambda: SD_V1_TEXT)
    beta_start: float = 0.00085
    beta_end: float = 0.012
    steps: int = 1000

    @property
    def downsample(self) -> int:
        """Pixels per latent cell: 8."""
        return int(2 ** (len(self.vae["block_out_channels"]) - 1))

    @property
    def multiple(self) -> int:
        """Pixels that each image side must be a multiple of: 64."""
        return int(self.downsample * 2 ** (len(self.unet["block_out_channels"]) - 1))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**dataclasses.asdict(self), "unet": dict(self.unet), "vae": dict(self.vae), "text": dict(self.text)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SDConfig:
        """From `to_json`'s form.

        Raises:
            WeightsError: a key that this version does not know.
        """
        unknown = set(values) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise WeightsError(f"unknown keys in a diffusion model's config: {sorted(unknown)}.", "It was written by another version.")
        return cls(**values)


def build_unet(config: Mapping[str, Any]) -> UNet:
    """A `UNet2DConditionModel` of a config; keys that begin with an underscore (diffusers' bookkeeping) are passed over."""
    return _UNet.from_config(dict(config))


def build_vae(config: Mapping[str, Any]) -> VAE:
    """An `AutoencoderKL` of a config."""
    return _VAE.from_config(dict(config))


def build_text_encoder(config: Mapping[str, Any]) -> TextEncoder:
    """A `CLIPTextModel` of a config."""
    return CLIPTextModel(CLIPTextConfig(**config))


def noise_schedule(config: SDConfig) -> Tensor:
    """Cumulative products of 1 - beta, float64 (steps,)."""
    betas = torch.linspace(config.beta_start**0.5, config.beta_end**0.5, config.steps, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, dim=0)


def add_noise(latents: Tensor, noise: Tensor, timesteps: Tensor, schedule: Tensor) -> Tensor:
    """z_t = sqrt(a_t) z + sqrt(1 - a_t) n, with each image's own timestep; both roots are taken in float64, as in the authors' buffers.

    Args:
        latents: scaled latents (B, C, h, w), float32.
        noise: the same shape, standard normal.
        timesteps: (B,), integers.
        schedule: of `noise_schedule`, on the CPU.
    """
    alpha = schedule[timesteps.cpu()].view(-1, 1, 1, 1)
    signal, share = alpha.sqrt().to(latents), (1 - alpha).sqrt().to(latents)
    return signal * latents + share * noise


def scaled_latents(moments: Tensor, noise: Tensor | None, scaling_factor: float) -> Tensor:
    """Latents of the autoencoder's posterior: its mode, or a sample when standard normal `noise` is given.

    Args:
        moments: (B, 2C, h, w): means, then log-variances, which are clamped to [-30, 20].
        noise: (B, C, h, w) or None.
        scaling_factor: 0.18215 for Stable Diffusion v1.
    """
    mean, log_variance = moments.chunk(2, dim=1)
    if noise is None:
        return scaling_factor * mean
    return scaling_factor * (mean + torch.exp(0.5 * log_variance.clamp(-30, 20)) * noise)


def encode_moments(vae: VAE, image: Tensor) -> Tensor:
    """Posterior moments (B, 2C, h, w), unclamped, of images (B, 3, H, W) in [-1, 1]."""
    moments: Tensor = vae.quant_conv(vae.encoder(image))
    return moments


def transformer_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of a UNet's transformers in the order of the pass: the official taps 0-15 of Stable Diffusion."""
    layers = config["layers_per_block"]
    down = [f"down_blocks.{i}.attentions.{j}" for i, kind in enumerate(config["down_block_types"]) if "CrossAttn" in kind for j in range(layers)]
    up = [f"up_blocks.{i}.attentions.{j}" for i, kind in enumerate(config["up_block_types"]) if "CrossAttn" in kind for j in range(layers + 1)]
    return (*down, "mid_block.attentions.0", *up)


def block_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of a UNet's blocks in the order of the pass: each residual block, or the transformer behind it where it has one."""
    layers, attended = config["layers_per_block"], set(transformer_names(config))

    def stage(name: str, count: int) -> list[str]:
        pairs = [(f"{name}.attentions.{index}", f"{name}.resnets.{index}") for index in range(count)]
        return [attention if attention in attended else residual for attention, residual in pairs]

    down = [block for index in range(len(config["down_block_types"])) for block in stage(f"down_blocks.{index}", layers)]
    up = [block for index in range(len(config["up_block_types"])) for block in stage(f"up_blocks.{index}", layers + 1)]
    return (*down, "mid_block.attentions.0", *up)


class FeatureTaps(nn.Module):
    """A diffusers UNet of which only the features after some transformers are wanted.

    What comes after the last tap is removed from the UNet: for LD-ZNet's five taps the pass shrinks from 382 to 202 GFLOP at 384 px, and
    those weights are never read from disk.

    Args:
        unet: changed in place.
        taps: names of transformers, in any order.
        keep_rest: keep the whole UNet, for its noise prediction.
    """

    def __init__(self, unet: UNet, taps: Sequence[str], *, keep_rest: bool = False) -> None:
        super().__init__()
        self.unet, self.taps = unet, tuple(taps)
        self._seen: dict[str, Tensor] = {}
        if not keep_rest:
            order = transformer_names(unet.config)
            cut_after(unet, max(self.taps, key=order.index))
        for tap in self.taps:
            unet.get_submodule(tap).register_forward_hook(self._listener(tap))

    def _listener(self, tap: str) -> Any:  # noqa: ANN401 - a hook
        def listen(_module: nn.Module, _inputs: object, output: Any) -> None:  # noqa: ANN401 - what the block returns
            self._seen[tap] = output if isinstance(output, Tensor) else output[0]

        return listen

    def forward(self, noisy: Tensor, timesteps: Tensor, text: Tensor) -> list[Tensor]:
        """Features (B, C, h', w') after each tap, in the order of `taps`.

        Args:
            noisy: z_t, (B, 4, h, w).
            timesteps: (B,).
            text: hidden states (B, n, d).
        """
        self.unet(noisy, timesteps, text, return_dict=False)
        seen, self._seen = self._seen, {}
        return [seen[tap] for tap in self.taps]


def cut_after(unet: UNet, tap: str) -> None:
    """Remove everything behind a transformer, so that a pass ends there; the UNet's own output means nothing any more."""
    unet.conv_norm_out, unet.conv_out = None, nn.Identity()
    stage, *index = tap.split(".attentions.")[0].split(".")
    last = int(tap.rsplit(".", 1)[1]) + 1
    if stage == "up_blocks":
        unet.up_blocks = unet.up_blocks[: int(index[0]) + 1]
        block = unet.up_blocks[-1]
        block.upsamplers = None
    elif stage == "mid_block":
        unet.up_blocks = nn.ModuleList()
        block = unet.mid_block
    else:
        unet.up_blocks, unet.mid_block = nn.ModuleList(), None
        unet.down_blocks = unet.down_blocks[: int(index[0]) + 1]
        block = unet.down_blocks[-1]
        block.downsamplers = None
    # The middle begins with a residual block more than it has transformers, and runs each transformer together with the block behind it.
    block.attentions, block.resnets = block.attentions[:last], block.resnets[: last + (stage == "mid_block")]


def cut_decoder(vae: VAE) -> None:
    """Remove the half of an autoencoder that makes images."""
    vae.decoder, vae.post_quant_conv = None, None


def text_hidden(encoder: TextEncoder, ids: Tensor) -> Tensor:
    """Hidden states (B, n, d) after the final layer norm; no attention mask but the causal one, as the authors call it."""
    hidden: Tensor = encoder(input_ids=ids).last_hidden_state
    return hidden
