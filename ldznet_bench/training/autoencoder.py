"""The KL autoencoder whose latents everything else works in: reconstruction in L1, with a little Kullback-Leibler.

Stable Diffusion's own was trained with a perceptual and an adversarial term too; the miniature does without either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from ldznet_bench.models.sd import SD_V1_VAE, build_vae, encode_moments
from ldznet_bench.training.captions import Captions
from ldznet_bench.training.draws import torch_generator
from ldznet_bench.training.objective import Objective, Setting, as_part, refuse_unknown, write_parts

_MEASURED = 4  # batches of held-out images that the latents' scale is measured on


class Autoencoder(Objective):
    """An `AutoencoderKL` in training."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._config = {**SD_V1_VAE, **setting.recipe.model}
        refuse_unknown(setting.recipe, setting.recipe.model, signature(AutoencoderKL.__init__).parameters)
        self.network = self.begun(lambda: build_vae(self._config))
        self._train = Captions(setting.recipe.data, "train", setting.seed, setting.recipe.images)
        self._val = Captions(setting.recipe.data, "val", setting.seed, None)

    def draw(self, positions: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Images and the noise of their posterior samples."""
        images, _ = self._train.batch(positions)
        factor = 2 ** (len(self._config["block_out_channels"]) - 1)
        shape = (int(self._config["latent_channels"]), images.shape[2] // factor, images.shape[3] // factor)
        noise = [torch.randn(shape, generator=torch_generator(self.setting.seed, "posterior", position)) for position in positions]
        return images, torch.stack(noise)

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        """Mean absolute error of the reconstruction plus the weighted KL term, per value."""
        mean, log_variance = encode_moments(self.network, images).chunk(2, dim=1)
        log_variance = log_variance.clamp(-30, 20)
        decoded = self._decode(mean + torch.exp(0.5 * log_variance) * noise)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        loss: Tensor = (decoded - images).abs().mean() + self.recipe.kl_weight * divergence
        return loss

    def _decode(self, latents: Tensor) -> Tensor:
        decoded: Tensor = self.network.decoder(self.network.post_quant_conv(latents))
        return decoded

    def validate(self) -> dict[str, float]:
        """Peak signal-to-noise ratio in dB of held-out images through the posterior's mode, and their mean absolute error."""
        images, _ = self._val.batch(range(self.recipe.held_out))
        with torch.no_grad():
            device = next(self.network.parameters()).device
            mean = encode_moments(self.network, images.to(device)).chunk(2, dim=1)[0]
            error = self._decode(mean).cpu() - images
        psnr = (10 * torch.log10(4 / error.square().mean((1, 2, 3)))).mean()
        return {"psnr": float(psnr), "l1": float(error.abs().mean())}

    def publish(self, folder: Path, made_from: Mapping[str, Any]) -> None:
        """Write ``vae/``; the scale that makes its latents of unit variance goes into the config, as in Stable Diffusion."""
        config = {**self._config, "scaling_factor": self.scale()}
        write_parts(folder, {"vae": as_part(config, self.network.state_dict(), folder)}, made_from)

    def scale(self) -> float:
        """One over the standard deviation of held-out latents, to five digits."""
        with torch.no_grad():
            device = next(self.network.parameters()).device
            batches = [range(i * self.recipe.held_out, (i + 1) * self.recipe.held_out) for i in range(_MEASURED)]
            latents = [encode_moments(self.network, self._val.batch(places)[0].to(device)).chunk(2, dim=1)[0].cpu() for places in batches]
        return float(f"{1 / torch.cat(latents).std().item():.5g}")
