"""Pictures passed through the miniature's diffusion model, geometry kept: what makes minicut's `gen` domain, in the role of AIGI.

A picture is encoded, noised to a third of the schedule, denoised under its caption by deterministic DDIM, and decoded (SDEdit, arXiv 2108.01073).
How far was chosen before any segmentation network was trained, by the drift audit alone: see docs/minicut.md.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from ldznet_bench.models.sd import (
    SDConfig,
    add_noise,
    build_text_encoder,
    build_unet,
    build_vae,
    encode_moments,
    noise_schedule,
    scaled_latents,
    text_hidden,
)
from ldznet_bench.models.weight_folders import fill, load_tokenizer, open_bundle
from ldznet_bench.share import shared
from ldznet_bench.training.captions import to_pixels
from ldznet_bench.training.tokenizer import padded_ids

START = 300  # of 1,000 timesteps: how far pictures are noised
STEPS = 10  # of DDIM from there
GUIDANCE = 2.0  # classifier-free

Pictures = npt.NDArray[np.uint8]
_Scheduler: Any = DDIMScheduler  # diffusers' classes are untyped


class Redraw:
    """The diffusion model of a folder, as a function from pictures and captions to pictures.

    Args:
        folder: with ``unet/``, ``vae/``, ``text_encoder/`` and ``tokenizer/``.
    """

    def __init__(self, folder: Path) -> None:
        parts = open_bundle(folder).parts
        self._vae: Any = fill(lambda: build_vae(parts["vae"].config), parts["vae"], "the autoencoder").float()
        self._unet: Any = fill(lambda: build_unet(parts["unet"].config), parts["unet"], "the diffusion UNet").float()
        self._text: Any = fill(lambda: build_text_encoder(parts["text_encoder"].config), parts["text_encoder"], "the text encoder").float()
        self._tokenizer: Any = load_tokenizer(folder / "tokenizer")
        self._length = int(parts["text_encoder"].config["max_position_embeddings"])
        self._scale = float(parts["vae"].config["scaling_factor"])
        self._schedule = noise_schedule(SDConfig())

    @torch.no_grad()
    def __call__(self, images: Pictures, captions: Sequence[str]) -> Pictures:
        """Redraw pictures.

        Args:
            images: uint8 (B, H, W, 3).
            captions: one each.

        Returns:
            uint8 of the same shape; a picture's bytes do not depend on the others but for the order of sums within a batch.
        """
        latents = scaled_latents(encode_moments(self._vae, to_pixels(list(images))), None, self._scale)
        noise = torch.stack([_noise(image, latents.shape[1:]) for image in images])
        noisy = add_noise(latents, noise, torch.full((len(images),), START), self._schedule)
        decoded = self._vae.decoder(self._vae.post_quant_conv(self._denoise(noisy, captions) / self._scale))
        values = ((decoded.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
        return np.ascontiguousarray(values.numpy())

    def _denoise(self, latents: Tensor, captions: Sequence[str]) -> Tensor:
        config = SDConfig()
        scheduler = _Scheduler(
            config.steps, config.beta_start, config.beta_end, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False
        )
        text = self._hidden([*captions, *[""] * len(captions)])
        for timestep in torch.linspace(START, START / STEPS, STEPS).round().long():
            scheduler.num_inference_steps = config.steps * STEPS // START  # the scheduler reads the length of a step from it
            guess, blank = self._unet(torch.cat([latents, latents]), timestep, text, return_dict=False)[0].chunk(2)
            latents = scheduler.step(blank + GUIDANCE * (guess - blank), timestep, latents, return_dict=False)[0]
        return latents

    def _hidden(self, prompts: Sequence[str]) -> Tensor:
        return text_hidden(self._text, padded_ids(self._tokenizer, prompts, self._length))


def _noise(image: Pictures, shape: Sequence[int]) -> Tensor:
    """Noise that depends on the picture alone."""
    seed = int.from_bytes(hashlib.sha256(image.tobytes()).digest()[:8], "big") >> 1
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))


@functools.cache
def _bundled() -> Redraw:
    return Redraw(shared("baselines") / "mini" / "sd")


def by_miniature(images: Pictures, captions: Sequence[str]) -> Pictures:
    """Redraw with the weights that the package carries; see `Redraw`."""
    return _bundled()(images, captions)
