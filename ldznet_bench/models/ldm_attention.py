"""A segmenter without segmentation weights: where the diffusion UNet looks when it reads the phrase.

One denoising pass of Stable Diffusion on the noised photograph. The cross-attention from every place to the phrase's tokens, averaged over
heads and over the layers of the two coarsest attention levels, is smoothed once by the self-attention of the finer of the two (places that
look at each other share their score), and scaled to [0, 1] within the map. Ours; in the manner of DAAM (arXiv 2210.04885), which averages
over layers, and of the refinement by self-attention that is common since. Nothing was tuned: the levels are the one that LD-ZNet's figure 4
finds best, and the next finer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ldznet_bench.models.devices import pick_device, pick_dtype
from ldznet_bench.models.diffusion import TEMPLATES, Diffusion, DiffusionSegmenter, Recipe
from ldznet_bench.models.diffusion_parts import load_frozen
from ldznet_bench.models.sd import transformer_names
from ldznet_bench.models.segmenter import Pair
from ldznet_bench.models.segunet import transformer_level
from ldznet_bench.models.weight_folders import open_bundle
from ldznet_bench.models.weights import hash_files

if TYPE_CHECKING:
    from ldznet_bench.models.load import LoadRequest

IMAGE_SIZE = 384  # LD-ZNet's, so that the rows share their input; Stable Diffusion itself was trained at 512


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt: its text, its token ids (cut, unpadded), and its hidden states (77, d)."""

    prompt: str
    ids: tuple[int, ...]
    hidden: Tensor


class LDMAttention(DiffusionSegmenter):
    """Cross-attention maps as score maps, on the finer attention grid: 24x24 for 384 px."""

    output = "probabilities"
    reads_features = True

    def __init__(self, name: str, diffusion: Diffusion, recipe: Recipe, *, image_size: int, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(name, diffusion, recipe, image_size=image_size, multiple=diffusion.config.multiple, **settings)
        ldm: Any = diffusion.ldm
        coarse, fine = read_layers(diffusion.config.unet)
        self._cross = [_record(ldm.unet, layer, "attn2") for layer in dict.fromkeys((*coarse, *fine))]  # one level serves as both
        self._self = [_record(ldm.unet, layer, "attn1") for layer in fine if layer.startswith("up_blocks")]

    def _encode_text(self, prompt: str) -> EncodedPrompt:
        ids = self._tokens(prompt)
        return EncodedPrompt(prompt, tuple(ids), self._diffusion.hidden(ids))

    def _segment(self, pairs: Sequence[Pair]) -> Tensor:
        latents = torch.stack([pair.image.source for pair in pairs])
        self._features(pairs, latents, torch.stack([pair.text.hidden for pair in pairs]))
        height, width = (side // 2**self._fine_level for side in latents.shape[-2:])
        looks = torch.stack([self._looks(recorder.take(), latents, (height, width)) for recorder in self._cross]).mean(0)
        maps = torch.stack([looks[i, self._phrase_tokens(pair)].mean(0) for i, pair in enumerate(pairs)])
        kinship = torch.stack([recorder.take() for recorder in self._self]).mean(0)
        smoothed = (kinship @ maps.flatten(1)[..., None])[..., 0]
        return _unit_range(smoothed).view(len(pairs), height, width)

    @property
    def _fine_level(self) -> int:
        return transformer_level(self._diffusion.config.unet, read_layers(self._diffusion.config.unet)[1][0])

    @staticmethod
    def _looks(attention: Tensor, latents: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, places, tokens) of one layer to (B, tokens, h, w) on the common grid."""
        places = attention.shape[1]
        shrink = round((latents.shape[-2] * latents.shape[-1] / places) ** 0.5)
        grid = attention.transpose(1, 2).reshape(len(attention), -1, latents.shape[-2] // shrink, latents.shape[-1] // shrink)
        return grid if grid.shape[-2:] == size else F.interpolate(grid, size, mode="bilinear", align_corners=False)

    def _phrase_tokens(self, pair: Pair) -> list[int]:
        """Positions of the phrase's tokens in its prompt; of the end token where the phrase has none (it sums up the prompt)."""
        text: EncodedPrompt = pair.text
        prefix = next(template.split("{}")[0] for template in TEMPLATES if template.replace("{}", pair.phrase) == text.prompt)
        first = len(self._diffusion.tokens(prefix.rstrip())[0]) - 1
        end = min(len(self._diffusion.tokens(prefix + pair.phrase)[0]), len(text.ids)) - 1
        return list(range(first, end)) or [len(text.ids) - 1]


def read_layers(config: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Transformers at the coarsest attention level, and at the next finer one. Without the middle: its 6x6 grid places nothing."""
    names = [name for name in transformer_names(config) if not name.startswith("mid_block")]
    levels = sorted({transformer_level(config, name) for name in names})
    at = {level: tuple(name for name in names if transformer_level(config, name) == level) for level in levels}
    return at[levels[-1]], at[levels[-2] if len(levels) > 1 else levels[-1]]


class _Recorder:
    """An attention processor of diffusers that keeps what it attended to: (B, queries, keys), averaged over heads."""

    def __init__(self) -> None:
        self._seen: Tensor | None = None

    def __call__(
        self,
        attn: Any,  # noqa: ANN401 - diffusers' Attention
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *_: Any,  # noqa: ANN401 - time embeddings of other networks
    ) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (attn.head_to_batch_dim(x) for x in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)))
        shares = attn.get_attention_scores(query, key, attention_mask)
        self._seen = shares.unflatten(0, (-1, attn.heads)).float().mean(1)
        mixed = attn.batch_to_head_dim(torch.bmm(shares, value))
        result: Tensor = attn.to_out[1](attn.to_out[0](mixed))
        return result

    def take(self) -> Tensor:
        """What was seen in the last pass."""
        seen, self._seen = self._seen, None
        if seen is None:
            raise RuntimeError("no pass was made")
        return seen


def _record(unet: Any, layer: str, attention: str) -> _Recorder:  # noqa: ANN401 - diffusers' UNet
    recorder = _Recorder()
    unet.get_submodule(f"{layer}.transformer_blocks.0.{attention}").set_processor(recorder)
    return recorder


def _unit_range(maps: Tensor) -> Tensor:
    """Each map's own minimum to 0 and maximum to 1; a flat map is 0.5 throughout, since it prefers nothing."""
    low, high = maps.amin(1, keepdim=True), maps.amax(1, keepdim=True)
    return torch.where(high > low, (maps - low) / (high - low).clamp_min(torch.finfo(maps.dtype).tiny), torch.full_like(maps, 0.5)).clamp(0, 1)


def load(request: LoadRequest) -> LDMAttention:
    """The factory of ``baselines/ldm-attention.yaml``.

    Raises:
        WeightsError: files that are missing, damaged, or of another network.
        BenchError: unknown device, precision or recipe.
    """
    device, dtype = pick_device(request.device), pick_dtype(request.precision)
    bundle = open_bundle(next(iter(request.weights.values())), ldm="ema")  # what everybody generates with; a file with the other set will do
    last = None if "unet" not in bundle.parts else read_layers(bundle.parts["unet"].config)[1][-1]
    frozen = load_frozen(
        str(request.name), [bundle], taps=[last or "mid_block.attentions.0"], vae=True, ldm=None, home=request.home, device=device, dtype=dtype
    )
    config = frozen.diffusion.config
    native = config.unet.get("sample_size")
    return LDMAttention(
        str(request.name),
        frozen.diffusion,
        Recipe.named(request.name.recipe),
        image_size=min(IMAGE_SIZE, native * config.downsample) if native else IMAGE_SIZE,
        weights=hash_files(frozen.files, request.home / "hashes.json"),
        options={**frozen.labels, "rule": 1},
        precision=request.precision,
        micro_batch=request.micro_batch,
    )
