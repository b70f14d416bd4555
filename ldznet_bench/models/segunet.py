"""The segmentation UNet of LD-ZNet, ZNet and RGBNet on diffusers' own Stable Diffusion UNet.

Only what LD-ZNet adds is written here: the token module, the third cross-attention of the fused blocks, the logits head, and RGBNet's
convolutions. Everything else is `UNet2DConditionModel`. One class serves every size: geometry follows from `SegUNetConfig`.

Sources: facts about the official repository (koutilya-pnvr/LD-ZNet @3d28f76) as restated in docs/ldznet.md; LD-ZNet, arXiv 2303.12343.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn

from ldznet_bench.errors import WeightsError

UNet = Any  # diffusers' UNet2DConditionModel, of which mypy sees a stand-in
_make_unet: Any = UNet2DConditionModel
Fusion = Literal["none", "attention", "concat"]
Source = Literal["latent", "rgb"]

# Stable Diffusion v1's UNet. `attention_head_dim=8` is diffusers' old name for eight heads, not for heads of eight channels.
SD_V1_UNET: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "downsample_padding": 1,
    "act_fn": "silu",
}

# The paper's blocks 6-10 counted from 1: the only LDM features that LD-ZNet reads (gradient test on the official network).
CONSUMED_TAPS = (
    "down_blocks.2.attentions.1",
    "mid_block.attentions.0",
    "up_blocks.1.attentions.0",
    "up_blocks.1.attentions.1",
    "up_blocks.1.attentions.2",
)


def transformer_level(unet: Mapping[str, Any], name: str) -> int:
    """How many halvings of a UNet's input grid lie before one of its transformers."""
    deepest = len(unet["block_out_channels"]) - 1
    stage, _, rest = name.partition(".")
    if stage == "mid_block":
        return deepest
    index = int(rest.split(".")[0])
    return index if stage == "down_blocks" else deepest - index


@dataclass(frozen=True)
class SegUNetConfig:
    """Everything that decides the shapes of a segmentation UNet.

    Attributes:
        unet: arguments of `UNet2DConditionModel`; `in_channels` and `out_channels` are set here.
        image_size: side in pixels of the training images; the token grids' size follows from it.
        downsample: pixels per cell of the UNet's input grid; a power of two (8 for Stable Diffusion's latents).
        source: what is segmented: ``latent`` (LD-ZNet, ZNet) or ``rgb`` (RGBNet).
        fusion: how LDM features enter: ``attention`` (LD-ZNet), ``concat`` (the paper's Table 4) or ``none`` (ZNet, RGBNet).
        taps: names of the transformers, in this UNet and in the LDM's, whose features are fused; empty without fusion.
        tap_channels: channels of each LDM feature; None where the LDM has this UNet's own widths.
        positions: when the positional table is used unresized: ``count`` (the official test on the number of tokens, which takes a
            16x9 grid for 12x12) or ``shape`` (mended).
    """

    unet: Mapping[str, Any] = dataclasses.field(default_factory=lambda: SD_V1_UNET)
    image_size: int = 384
    downsample: int = 8
    source: Source = "latent"
    fusion: Fusion = "attention"
    taps: tuple[str, ...] = CONSUMED_TAPS
    tap_channels: tuple[int, ...] | None = None
    positions: Literal["count", "shape"] = "count"

    def __post_init__(self) -> None:
        if (self.fusion == "none") != (not self.taps):
            raise WeightsError(
                f"fusion {self.fusion!r} does not go with {len(self.taps)} taps.", "Use taps with attention or concat, none with 'none'."
            )
        if self.downsample & (self.downsample - 1):
            raise WeightsError(f"downsample is {self.downsample}.", "It must be a power of two: the head doubles its grid.")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels per level, finest first."""
        return tuple(self.unet["block_out_channels"])

    @property
    def multiple(self) -> int:
        """Pixels that each image side must be a multiple of: 64 for Stable Diffusion."""
        return self.downsample << (len(self.widths) - 1)

    def level(self, tap: str) -> int:
        """How many halvings of the input grid lie before a transformer."""
        return transformer_level(self.unet, tap)

    def grid(self, tap: str) -> int:
        """Side of a tap's grid at the training size: 12, and 6 in the middle, for LD-ZNet."""
        return self.image_size // self.downsample >> self.level(tap)

    def width_of_tap(self, index: int) -> int:
        """Channels of the LDM feature at a position in `taps`."""
        return self.widths[self.level(self.taps[index])] if self.tap_channels is None else self.tap_channels[index]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**dataclasses.asdict(self), "unet": dict(self.unet)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SegUNetConfig:
        """From `to_json`'s form.

        Raises:
            WeightsError: a key that this version does not know.
        """
        unknown = set(values) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise WeightsError(f"unknown keys in a segmentation UNet's config: {sorted(unknown)}.", "It was written by another version.")
        tuples = {key: tuple(values[key]) for key in ("taps", "tap_channels") if values.get(key) is not None}
        unet = {key: tuple(value) if isinstance(value, list) else value for key, value in values["unet"].items()}
        return cls(**{**values, **tuples, "unet": unet})


def znet(config: SegUNetConfig) -> SegUNetConfig:
    """The same network without LDM features."""
    return dataclasses.replace(config, fusion="none", taps=(), tap_channels=None)


def rgbnet(config: SegUNetConfig) -> SegUNetConfig:
    """The same network without LDM features, on RGB."""
    return dataclasses.replace(znet(config), source="rgb")


class TokenModule(nn.Module):
    """LDM features to tokens: self-attention over the grid's cells and their mean, all HW+1 of them returned.

    The official class is named for CLIP's attention pooling and does not pool. Names of parameters are the checkpoint's.

    Args:
        channels: of the feature map, C.
        heads: contiguous groups of channels.
        grid: side G of the positional table, (C, G*G+1); column 0 belongs to the mean.
        match: ``count`` or ``shape``; see `SegUNetConfig.positions`.
    """

    def __init__(self, channels: int, heads: int, grid: int, match: Literal["count", "shape"]) -> None:
        super().__init__()
        self.heads, self.grid, self.match = heads, grid, match
        self.positional_embedding = nn.Parameter(torch.randn(channels, grid * grid + 1) / channels**0.5)
        self.qkv_proj = nn.Conv1d(channels, 3 * channels, 1)
        self.c_proj = nn.Conv1d(channels, channels, 1)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, C, h, w) to (B, h*w+1, C)."""
        batch, channels, height, width = feature.shape
        cells = feature.flatten(2)
        tokens = torch.cat([cells.mean(2, keepdim=True), cells], dim=2) + self._positions(height, width)
        query, key, value = self.qkv_proj(tokens).view(batch, 3 * self.heads, channels // self.heads, -1).transpose(2, 3).chunk(3, dim=1)
        mixed = F.scaled_dot_product_attention(query.contiguous(), key.contiguous(), value.contiguous())
        projected: Tensor = self.c_proj(mixed.transpose(2, 3).reshape(batch, channels, -1))
        return projected.transpose(1, 2)

    def _positions(self, height: int, width: int) -> Tensor:
        table, grid = self.positional_embedding, self.grid
        same = height * width == grid * grid if self.match == "count" else (height, width) == (grid, grid)
        if same:
            return table
        cells = table[None, :, 1:].reshape(1, -1, grid, grid)
        resized = F.interpolate(cells, (height, width), mode="bicubic", align_corners=False)
        return torch.cat([table[:, :1], resized[0].flatten(1)], dim=1)


class FusedBlock(BasicTransformerBlock):
    """A transformer block with a third cross-attention, to LDM tokens, between the text's and the feed-forward.

    `tokens`, (B, n, C), is set by `FusedTransformer` before each pass: a keyword argument would reach every block of the UNet.
    """

    def __init__(self, channels: int, heads: int, text_dim: int, token_dim: int) -> None:
        super().__init__(channels, heads, channels // heads, cross_attention_dim=text_dim)
        self.norm_sd = nn.LayerNorm(channels)
        self.attn3 = Attention(query_dim=channels, cross_attention_dim=token_dim, heads=heads, dim_head=channels // heads)
        self.tokens: Tensor | None = None

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        *_: Any,  # noqa: ANN401 - what the base class takes for other networks
        **__: Any,  # noqa: ANN401
    ) -> Tensor:
        """(B, n, C) to the same; the signature is the base class's."""
        x = hidden_states
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), encoder_hidden_states=encoder_hidden_states)
        x = x + self.attn3(self.norm_sd(x), encoder_hidden_states=self.tokens)
        result: Tensor = x + self.ff(self.norm3(x))
        return result


class FusedTransformer(Transformer2DModel):
    """A spatial transformer that also reads an LDM feature map, given as `feature` before each pass.

    Args:
        plain: the transformer whose place it takes.
        tap_channels: channels of the feature map.
        grid: of the positional table.
        config: for `fusion` and `positions`.
    """

    def __init__(self, plain: Transformer2DModel, tap_channels: int, grid: int, config: SegUNetConfig) -> None:
        super().__init__(**{key: value for key, value in plain.config.items() if not key.startswith("_")})
        its: Any = self.config
        heads, channels = its.num_attention_heads, its.in_channels
        self.feature: Any = None
        self.fusion = config.fusion
        if config.fusion == "attention":
            self.transformer_blocks[0] = FusedBlock(channels, heads, its.cross_attention_dim, tap_channels)
            self.attentionpool2D = TokenModule(tap_channels, heads, grid, config.positions)
        else:
            self.fuse = _identity_on_first(channels, tap_channels)

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the base class's
        """As the base class; `feature` must have been set."""
        if self.fusion == "concat":
            hidden_states = self.fuse(torch.cat([hidden_states, self.feature], dim=1))
        else:
            self.transformer_blocks[0].tokens = self.attentionpool2D(self.feature)
        return super().forward(hidden_states, *args, **kwargs)


def _identity_on_first(channels: int, extra: int) -> nn.Conv2d:
    """A 1x1 convolution that starts by passing its first inputs through, so that a UNet made from the LDM starts as the LDM."""
    conv = nn.Conv2d(channels + extra, channels, 1)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[:, :channels, 0, 0] = torch.eye(channels)
        conv.bias.zero_()  # type: ignore[union-attr]  # there is one
    return conv


class RGBStem(nn.Sequential):
    """RGBNet's learned convolutions: (B, 3, H, W) to (B, C, H/f, W/f), in the place of the UNet's first convolution.

    The official code was never published. Every halving is a strided 3x3 convolution with SiLU and a 3x3 convolution, widths doubling up to C:
    wide, because a bottleneck of four channels, which would keep the LDM's first convolution, would let z win by construction.
    """

    def __init__(self, channels: int, factor: int) -> None:
        halvings = factor.bit_length() - 1
        widths = [max(channels // 2 ** (halvings - i), 16) for i in range(halvings)] + [channels]
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, padding=1)]
        for before, after in itertools.pairwise(widths):
            layers += [nn.SiLU(), nn.Conv2d(before, after, 3, stride=2, padding=1), nn.SiLU(), nn.Conv2d(after, after, 3, padding=1)]
        super().__init__(*layers)


class LogitsHead(nn.Sequential):
    """One-channel map to logits at `factor` times its size: SiLU, 2x2 transposed convolution, SiLU, 3x3 convolution per doubling."""

    def __init__(self, factor: int) -> None:
        layers: list[nn.Module] = [nn.Conv2d(1, 1, 3, padding=1)]
        for _ in range(factor.bit_length() - 1):
            layers += [nn.SiLU(), nn.ConvTranspose2d(1, 1, 2, stride=2), nn.SiLU(), nn.Conv2d(1, 1, 3, padding=1)]
        super().__init__(*layers)


class SegmentationUNet(nn.Module):
    """Latents (or RGB), text and LDM features to mask logits.

    Attributes:
        config: what it was built from.
        unet: diffusers' UNet with fused transformers at `config.taps`.
        final: the head.
    """

    def __init__(self, config: SegUNetConfig) -> None:
        super().__init__()
        self.config = config
        self.unet: UNet = _make_unet(**{**config.unet, "in_channels": config.unet["in_channels"], "out_channels": 1})
        for index, tap in enumerate(config.taps):
            fused = FusedTransformer(self.unet.get_submodule(tap), config.width_of_tap(index), config.grid(tap), config)
            parent, _, last = tap.rpartition(".")
            self.unet.get_submodule(parent)[int(last)] = fused
        if config.source == "rgb":
            self.unet.conv_in = RGBStem(config.widths[0], config.downsample)
        self.final = LogitsHead(config.downsample)

    def forward(self, source: Tensor, text: Tensor, features: Sequence[Tensor] = ()) -> Tensor:
        """Logits at pixel resolution.

        Args:
            source: clean scaled latents (B, 4, h, w), or RGB in [-1, 1], (B, 3, H, W), for RGBNet. Never the noised latents.
            text: hidden states of the text encoder, (B, n, d).
            features: LDM features in the order of `config.taps`, each (B, C, h', w').

        Returns:
            (B, 1, H, W), no activation.

        Raises:
            ValueError: sides that do not halve evenly down to the deepest level (the official network fails at a skip connection, diffusers
                would resize and return something else), or the wrong number of features.
        """
        multiple = self.config.multiple // (1 if self.config.source == "rgb" else self.config.downsample)
        if source.shape[-2] % multiple or source.shape[-1] % multiple:
            raise ValueError(f"input of {tuple(source.shape[-2:])}: both sides must be multiples of {multiple}")
        fused = [self.unet.get_submodule(tap) for tap in self.config.taps]
        for transformer, feature in zip(fused, features, strict=True):
            transformer.feature = feature
        # The segmentation UNet always runs at t = 0: its time path is a learned constant.
        noise = self.unet(source, 0, text, return_dict=False)[0]
        if not torch.is_grad_enabled():
            self._forget(fused)
        logits: Tensor = self.final(F.silu(noise))
        return logits

    @staticmethod
    def _forget(fused: Sequence[Any]) -> None:
        """Let go of the batch's features. Training keeps them until the next pass, for gradient checkpointing's second forward."""
        for transformer in fused:
            transformer.feature = None
            if transformer.fusion == "attention":
                transformer.transformer_blocks[0].tokens = None


def initialise_from_ldm(network: SegmentationUNet, ldm: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
    """Copy Stable Diffusion's weights into a segmentation UNet wherever they fit, as the authors start their training.

    The output convolution takes the first of the LDM's four output channels. What stays as it was made is new: the fused parts, the head,
    RGBNet's convolutions.

    Args:
        network: changed in place.
        ldm: state dict of the LDM's `UNet2DConditionModel`.

    Returns:
        Names of the network's tensors that were copied, and of those that are new.

    Raises:
        WeightsError: the LDM is of another size.
    """
    copied, new = [], []
    with torch.no_grad():
        for name, parameter in network.state_dict().items():
            value = ldm.get(name.removeprefix("unet."))
            if value is None or (network.config.source == "rgb" and name.startswith("unet.conv_in")):
                new.append(name)
                continue
            value = value[:1] if name.startswith("unet.conv_out") else value
            if value.shape != parameter.shape:
                raise WeightsError(f"{name} has shape {tuple(parameter.shape)}, the LDM's {tuple(value.shape)}.", "Give an LDM of the same size.")
            parameter.copy_(value)
            copied.append(name)
    return copied, new


def parameters_of(config: SegUNetConfig) -> int:
    """How many parameters a network of this config has, without making any."""
    with torch.device("meta"):
        network = SegmentationUNet(config)
    return sum(math.prod(parameter.shape) for parameter in network.parameters())
