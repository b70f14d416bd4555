"""A diffusion model that never learned anything, in the place of a trained one: the control of every claim about its features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldznet_bench.models.sd import build_unet
from ldznet_bench.training.draws import draw_seed
from ldznet_bench.training.objective import seeded


def stand_in(config: Mapping[str, Any], seed: int, *, zero: bool = False) -> Any:  # noqa: ANN401 - a UNet
    """A frozen UNet of a trained one's shape, with weights as diffusers begins them.

    Args:
        config: of the trained one.
        seed: of the training that reads it.
        zero: all weights are 0, so that every feature is.
    """
    unet = seeded(draw_seed(seed, "random ldm"), lambda: build_unet(config)).eval().requires_grad_(False)
    if zero:
        for value in unet.parameters():
            value.zero_()
    return unet
