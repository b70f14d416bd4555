"""The small decoder of a probe: equal for all blocks but for the width that it reads."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 24
_BACKGROUND = -2.0  # most pixels are; begun at 0, that is the first thing learned


class ProbeDecoder(nn.Module):
    """Mask logits from one feature map and the text, on the latent grid.

    The map is normalised without parameters, so that the scale of a block's (or of an untrained model's) features decides nothing; an
    attention over the tokens makes one text vector, which scales and shifts the map's channels; two convolutions follow on one grid for all blocks.

    Args:
        channels: of the feature map.
        text: width of the text's hidden states.
    """

    def __init__(self, channels: int, text: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels, affine=False)
        self.enter = nn.Conv2d(channels, WIDTH, 1)
        self.attend = nn.Linear(text, 1)
        self.read = nn.Linear(text, 2 * WIDTH)
        self.one, self.two = nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.leave = nn.Conv2d(WIDTH, 1, 1)
        nn.init.constant_(self.leave.bias, _BACKGROUND)  # type: ignore[arg-type]

    def forward(self, features: Tensor, text: Tensor, grid: tuple[int, int]) -> Tensor:
        """Logits (B, 1, *grid) of features (B, C, h, w) and hidden states (B, n, d)."""
        vector = (self.attend(text).softmax(1) * text).sum(1)
        scale, shift = self.read(vector)[..., None, None].chunk(2, 1)
        found = F.silu(self.enter(self.norm(features)) * (1 + scale) + shift)
        found = F.interpolate(found, grid, mode="bilinear", align_corners=False)
        logits: Tensor = self.leave(F.silu(self.two(F.silu(self.one(found)))))
        return logits
