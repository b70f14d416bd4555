"""The text-conditional latent diffusion model: noise prediction, with the text encoder and the autoencoder frozen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import Tensor

from ldznet_bench.models.diffusion import Diffusion
from ldznet_bench.models.diffusion_parts import load_frozen
from ldznet_bench.models.sd import add_noise, build_unet, encode_moments, scaled_latents, text_hidden
from ldznet_bench.models.segunet import SD_V1_UNET
from ldznet_bench.training.captions import Captions
from ldznet_bench.training.draws import numpy_generator, torch_generator
from ldznet_bench.training.objective import Objective, Setting, as_part, refuse_unknown, write_parts
from ldznet_bench.training.recentre import compensated_unet, recentred_text, statistics
from ldznet_bench.training.tokenizer import padded_ids

_BLANK = 0.1  # share of captions left empty, so that classifier-free guidance is possible
_TIMESTEPS = (100, 300, 500, 700, 900)  # of the validation


class LatentDiffusion(Objective):
    """A `UNet2DConditionModel` in training."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._frozen: Diffusion = load_frozen(
            setting.recipe.name, setting.bundles(), taps=(), vae=True, ldm=None, home=setting.home, device=setting.device, dtype=torch.float32
        ).diffusion
        self._config = {**SD_V1_UNET, **setting.recipe.model, "cross_attention_dim": int(self._frozen.config.text["hidden_size"])}
        refuse_unknown(setting.recipe, setting.recipe.model, signature(UNet2DConditionModel.__init__).parameters)
        self.network = self.begun(lambda: build_unet(self._config))
        if setting.recipe.gradient_checkpointing:
            self.network.enable_gradient_checkpointing()
        self._train = Captions(setting.recipe.data, "train", setting.seed, setting.recipe.images)
        self._val = Captions(setting.recipe.data, "val", setting.seed, None)
        self._known: dict[int, Any] = {}  # posterior moments and caption per image: 18 KB each at the miniature's size

    def draw(self, positions: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Latents, token ids, timesteps and noise. Latents are samples of the posterior, drawn anew each time."""
        moments, captions = self._encoded(positions)
        draws = [torch_generator(self.setting.seed, "diffusion", position) for position in positions]
        sampled = torch.stack([torch.randn(moments.shape[1] // 2, *moments.shape[2:], generator=draw) for draw in draws])
        noise = torch.stack([torch.randn(sampled.shape[1:], generator=draw) for draw in draws])
        timesteps = torch.tensor([int(torch.randint(self._frozen.config.steps, (), generator=draw)) for draw in draws])
        blank = [numpy_generator(self.setting.seed, "blank", position).random() < _BLANK for position in positions]
        prompts = ["" if empty else caption for empty, caption in zip(blank, captions, strict=True)]
        return self._scaled(moments, sampled), self._ids(prompts), timesteps, noise

    def _encoded(self, positions: Sequence[int]) -> tuple[Tensor, list[str]]:
        """Posterior moments and captions; an image is drawn and encoded once where the stream repeats."""
        indices = [self._train.index(position) for position in positions]
        new = [place for place, index in enumerate(indices) if index not in self._known]
        if new:
            images, captions = self._train.batch([positions[place] for place in new])
            with torch.no_grad():
                moments = encode_moments(self._frozen.vae, images.to(self.setting.device)).cpu()
            self._known |= {indices[place]: found for place, *found in zip(new, moments, captions, strict=True)}
        rows = [self._known[index] for index in indices]
        if self.recipe.images is None:
            self._known.clear()
        return torch.stack([moments for moments, _ in rows]), [caption for _, caption in rows]

    def _scaled(self, moments: Tensor, noise: Tensor | None) -> Tensor:
        return scaled_latents(moments, noise, float(self._frozen.config.vae["scaling_factor"]))

    def _ids(self, prompts: Sequence[str]) -> Tensor:
        return padded_ids(self._frozen.tokenizer, prompts, self._frozen.max_tokens)

    def forward(self, latents: Tensor, ids: Tensor, timesteps: Tensor, noise: Tensor) -> Tensor:
        """Mean squared error of the predicted noise."""
        with torch.no_grad():
            text = text_hidden(self._frozen.text_encoder, ids)
        noisy = add_noise(latents, noise, timesteps, self._frozen.schedule)
        return F.mse_loss(self.network(noisy, timesteps, text, return_dict=False)[0].float(), noise)

    def validate(self) -> dict[str, float]:
        """Minus the loss on held-out images at five timesteps, and how much worse it is under another image's caption."""
        images, captions = self._val.batch(range(self.recipe.held_out))
        device = self.setting.device
        with torch.no_grad():
            latents = self._scaled(encode_moments(self._frozen.vae, images.to(device)), None)
            losses = [self._loss_at(latents, captions, timestep) for timestep in _TIMESTEPS]
            swapped = [self._loss_at(latents, [*captions[1:], captions[0]], timestep) for timestep in _TIMESTEPS]
        mean, wrong = sum(losses) / len(losses), sum(swapped) / len(swapped)
        return {"minus_loss": -mean, "loss": mean, "wrong_caption_costs": wrong - mean}

    def _loss_at(self, latents: Tensor, captions: Sequence[str], timestep: int) -> float:
        noise = torch.randn(latents.shape, generator=torch_generator(0, "validation", timestep)).to(latents.device)
        timesteps = torch.full((len(latents),), timestep)
        return float(self.forward(latents, self._ids(captions).to(latents.device), timesteps.to(latents.device), noise))

    def publish(self, folder: Path, made_from: Mapping[str, Any]) -> None:
        """Write ``unet/`` and ``scheduler/``, and beside them the text encoder with its hidden states recentred, which the UNet then expects."""
        state = as_part(self._config, self.network.state_dict(), folder)
        bundle, text = self.setting.part("text_encoder")
        mean, deviation = statistics(self._hidden_of_captions())
        unet = dataclasses.replace(state, tensors=compensated_unet(state.tensors, mean, deviation))
        encoder = dataclasses.replace(text, tensors=recentred_text({name: value.float() for name, value in text.tensors.items()}, mean, deviation))
        write_parts(folder, {"unet": unet, "text_encoder": encoder}, made_from, bundle.tokenizer)

    def _hidden_of_captions(self) -> Tensor:
        """Hidden states (B, n, d) of held-out captions."""
        _, captions = self._val.batch(range(4 * self.recipe.held_out))
        with torch.no_grad():
            return text_hidden(self._frozen.text_encoder, self._ids(captions).to(self.setting.device)).cpu()
