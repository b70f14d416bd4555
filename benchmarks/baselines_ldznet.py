"""LD-ZNet as one writes it down with diffusers: every passage from the start for every (image, phrase), the whole diffusion UNet included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


@torch.no_grad()
def plain_sequence(
    vae: Any, ldm: Any, network: Any, text_encoder: Any, tokenize: Any, pixels: torch.Tensor, noise: torch.Tensor, prompts: Sequence[str]
) -> list[torch.Tensor]:
    """Logits (h, w) per prompt. `ldm` is a whole UNet2DConditionModel, hooked at the network's taps."""
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        ldm.get_submodule(tap).register_forward_hook(lambda _module, _given, output, tap=tap: seen.__setitem__(tap, output[0]))
        for tap in network.config.taps
    ]
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alpha = torch.cumprod(1 - betas, 0)[400]
    maps = []
    for prompt in prompts:
        text = text_encoder(input_ids=tokenize(prompt)).last_hidden_state
        latents = 0.18215 * vae.encode(pixels).latent_dist.mode()
        noisy = alpha.sqrt().float() * latents + (1 - alpha).sqrt().float() * noise
        ldm(noisy, torch.tensor([400]), text)
        maps.append(network(latents, text, [seen[tap] for tap in network.config.taps])[0, 0])
    for hook in hooks:
        hook.remove()
    return maps
