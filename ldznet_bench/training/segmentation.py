"""LD-ZNet, ZNet and RGBNet: cross-entropy between logits and the mask at image resolution.

Timestep and noise of the diffusion features, the autoencoder's sample and the prompt template are drawn anew for every sample, as the authors
do; features are never kept. Source: docs/training.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from ldznet_bench.errors import BenchError, unknown_name
from ldznet_bench.models.diffusion import TIMESTEPS, Diffusion, Recipe
from ldznet_bench.models.diffusion_parts import load_frozen
from ldznet_bench.models.ldznet import LDZNet
from ldznet_bench.models.sd import FeatureTaps, block_names, encode_moments, scaled_latents, text_hidden
from ldznet_bench.models.segunet import SegmentationUNet, SegUNetConfig, initialise_from_ldm, rgbnet, znet
from ldznet_bench.training.draws import torch_generator
from ldznet_bench.training.labelled import LabelledPairs
from ldznet_bench.training.objective import Objective, Setting, as_part, refuse_unknown, write_parts
from ldznet_bench.training.stand_in import stand_in
from ldznet_bench.training.tokenizer import padded_ids
from ldznet_bench.training.validation import labelled_split, scores_on_val

if TYPE_CHECKING:
    from ldznet_bench.models.segmenter import Segmenter


_LIFT = 4.0  # where silu is as good as linear


@torch.no_grad()
def begin_as_upsampler(network: SegmentationUNet, background: float = -2.0) -> None:
    """Let the head begin by passing the UNet's map through, enlarged, above a background of -2.

    Between the UNet and the logits lie one channel and seven SiLUs. Begun as PyTorch begins layers, they shrink the map a hundredfold; begun around
    zero, a network learns first that most pixels are background, turns its map negative, and no gradient comes through any more (eight samples stood
    at a loss of 0.318 after 60 steps; so begun, at 0.065 after 15). So the map is lifted to where SiLU is linear, and lowered by the last bias.
    """
    layers: list[Any] = [layer for layer in network.final.modules() if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))]
    for layer in layers:
        layer.weight.zero_()
        layer.bias.zero_()
        if isinstance(layer, nn.Conv2d):
            layer.weight[:, :, 1, 1] = 1
        else:
            layer.weight.fill_(1)
    network.unet.conv_out.bias.fill_(_LIFT)
    lifted = network.final(F.silu(torch.full((1, 1, 3, 3), _LIFT)))
    layers[-1].bias.fill_(background - float(lifted.mean()))


class Segmentation(Objective):
    """A `SegmentationUNet` in training."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        recipe = setting.recipe
        self._own = self._sizes()
        self._frozen = self._load_frozen()
        self.network = self.begun(lambda: SegmentationUNet(self._own))
        if recipe.start == "ldm":
            _, ldm = setting.part("unet")
            initialise_from_ldm(self.network, ldm.tensors)
        if recipe.head == "upsampler":
            begin_as_upsampler(self.network)
        if recipe.gradient_checkpointing:
            self.network.unet.enable_gradient_checkpointing()
        self.dataset = labelled_split(recipe.data, setting)
        self._pairs = LabelledPairs(
            self.dataset,
            self._own.image_size,
            setting.seed,
            crop=recipe.crop,
            templates=recipe.templates,
            blank=recipe.phrases == "blank",
        )

    def _sizes(self) -> SegUNetConfig:
        """The recipe's network: sizes from `model`, the UNet's from the diffusion model where the recipe does not change them."""
        _, ldm = self.setting.part("unet")
        values = dict(self.recipe.model)
        unet = {key: value for key, value in ldm.config.items() if not key.startswith("_")} | values.pop("unet", {})
        refuse_unknown(self.recipe, values, {field.name for field in dataclasses.fields(SegUNetConfig)})
        refuse_unknown(self.recipe, unet, {*ldm.config, *signature(UNet2DConditionModel.__init__).parameters}, "model.unet")
        config = SegUNetConfig.from_json({**values, "unet": unet})
        if config.image_size % config.downsample:
            raise BenchError(f"{self.recipe.name}: an image_size of {config.image_size} is no multiple of {config.downsample}.", "Give one that is.")
        for tap in config.taps:
            if tap not in block_names(ldm.config):
                raise unknown_name(f"block in {self.recipe.name}'s taps,", tap, block_names(ldm.config))
        if self.recipe.network == "ldznet":
            return config
        return znet(config) if self.recipe.network == "znet" else rgbnet(config)

    def _load_frozen(self) -> Diffusion:
        setting, own = self.setting, self._own
        frozen = load_frozen(
            self.recipe.name,
            setting.bundles(),
            taps=() if self._has_stand_in() else own.taps,
            vae=own.source == "latent",
            ldm=None,
            home=setting.home,
            device=setting.device,
            dtype=torch.float32,
        ).diffusion
        if self._has_stand_in():
            _, unet = self._stand_in()
            frozen.ldm = FeatureTaps(unet, own.taps).to(setting.device)
        return frozen

    def fingerprint(self) -> str:
        """The train split's."""
        return self.dataset.fingerprint

    def draw(self, positions: Sequence[int]) -> tuple[Any, ...]:
        """Pixels, masks, token ids, timesteps, and the noise of the autoencoder's sample and of the diffusion."""
        pixels, masks, prompts = self._pairs.batch(positions)
        ids = padded_ids(self._frozen.tokenizer, prompts, self._frozen.max_tokens)
        if self._own.source == "rgb":
            return pixels, masks, ids
        draws = [torch_generator(self.setting.seed, "diffusion", position) for position in positions]
        shape = self._frozen.latent_shape(pixels)[1:]
        sampled = torch.stack([torch.randn(shape, generator=draw) for draw in draws])
        noise = torch.stack([torch.randn(shape, generator=draw) for draw in draws])
        timesteps = torch.tensor([int(torch.randint(*TIMESTEPS, (), generator=draw)) for draw in draws])
        return pixels, masks, ids, timesteps, sampled, noise

    def forward(self, pixels: Tensor, masks: Tensor, ids: Tensor, *draws: Tensor) -> Tensor:
        """Binary cross-entropy with logits, averaged over pixels."""
        with torch.no_grad():
            text = text_hidden(self._frozen.text_encoder, ids)
            source, features = self._source(pixels, text, *draws)
        return F.binary_cross_entropy_with_logits(self.network(source, text, features).float(), masks)

    def _source(self, pixels: Tensor, text: Tensor, *draws: Tensor) -> tuple[Tensor, list[Tensor]]:
        if not draws:
            return pixels, []
        timesteps, sampled, noise = draws
        latents = scaled_latents(encode_moments(self._frozen.vae, pixels), sampled, float(self._frozen.config.vae["scaling_factor"]))
        return latents, self._frozen.features(latents, noise, timesteps, text)

    def segmenter(self) -> Segmenter:
        """The network as it is now, in the evaluation loop's form, under its deterministic recipe."""
        name = f"{self.recipe.network}/{self.recipe.variant}"
        return LDZNet(name, self.network, self._frozen, Recipe(), weights=f"training of {self.recipe.name}", options={})

    def validate(self) -> dict[str, float]:
        """Scores on the recipe's validation split."""
        return scores_on_val(self)

    def publish(self, folder: Path, made_from: Mapping[str, Any]) -> None:
        """Write ``segmenter/``, and beside it ``unet/`` where features come from a diffusion model that was never trained."""
        parts = {"segmenter": as_part(self._own.to_json(), self.network.state_dict(), folder)}
        if self._has_stand_in():
            config, unet = self._stand_in()
            parts["unet"] = as_part(config, unet.state_dict(), folder)
        write_parts(folder, parts, made_from)

    def _has_stand_in(self) -> bool:
        return bool(self._own.taps) and self.recipe.ldm != "trained"

    def _stand_in(self) -> tuple[Mapping[str, Any], Any]:
        """A diffusion model that never learned anything, of the trained one's shape: random, or zero throughout."""
        _, ldm = self.setting.part("unet")
        return ldm.config, stand_in(ldm.config, self.setting.seed, zero=self.recipe.ldm == "zero")
