"""LD-ZNet, ZNet and RGBNet as segmenters.

Source: LD-ZNet, arXiv 2303.12343, and the facts about its repository in docs/ldznet.md. ZNet and RGBNet were never published: they are the
same network without diffusion features, on latents and on RGB.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ldznet_bench.errors import WeightsError
from ldznet_bench.models.checkpoints import LdmWeights
from ldznet_bench.models.devices import pick_device, pick_dtype
from ldznet_bench.models.diffusion import Diffusion, DiffusionSegmenter, Recipe, moved, wrong_caption
from ldznet_bench.models.diffusion_parts import load_frozen
from ldznet_bench.models.segmenter import Pair
from ldznet_bench.models.segunet import SegmentationUNet, SegUNetConfig
from ldznet_bench.models.weight_folders import fill, open_bundle, segmenter_config
from ldznet_bench.models.weights import hash_files

if TYPE_CHECKING:
    from ldznet_bench.models.load import LoadRequest


STABLE_DIFFUSION = ("sd", "mini-sd")  # the cards' parts that hold the frozen networks; the other part is the segmentation network


class LDZNet(DiffusionSegmenter):
    """A segmentation UNet with its frozen parts; which of the three models follows from the network's config."""

    output = "logits"

    def __init__(self, name: str, network: SegmentationUNet, diffusion: Diffusion, recipe: Recipe, **settings: Any) -> None:  # noqa: ANN401
        config = network.config
        self.source = config.source
        self.reads_features = config.fusion != "none"
        self._captions: dict[str, Tensor] = {}
        self._network: SegmentationUNet = moved(network, diffusion.device, diffusion.dtype)
        super().__init__(name, diffusion, recipe, image_size=config.image_size, multiple=config.multiple, **settings)

    def networks(self) -> Sequence[nn.Module]:
        """The frozen networks and the segmentation network."""
        return [*super().networks(), self._network]

    def _segment(self, pairs: Sequence[Pair]) -> Tensor:
        sources = torch.stack([pair.image.source for pair in pairs])
        text = torch.stack([pair.text for pair in pairs])
        features = self._features(pairs, sources, text if self._recipe.caption == "given" else self._wrong(pairs))
        logits: Tensor = self._network(sources.to(self._diffusion.dtype), text, features)[:, 0].float()
        if not bool(logits.isfinite().all()):
            self._blame()
        return logits

    def _wrong(self, pairs: Sequence[Pair]) -> Tensor:
        """Hidden states (B, n, d) of captions that are wrong for their samples; there are eight of them."""
        prompts = [self.prompt(wrong_caption(pair.sample_id, pair.phrase), 0) for pair in pairs]
        for prompt in set(prompts) - set(self._captions):
            self._captions[prompt] = self.encode_text([prompt])[0]
        return torch.stack([self._captions[prompt] for prompt in prompts])

    def _blame(self) -> None:
        """Name weights that are not finite; without any, the sealed `predict` names the sample."""
        modules = {"segmenter": self._network, "unet": self._diffusion.ldm, "vae": self._diffusion.vae, "text_encoder": self._diffusion.text_encoder}
        bad = [
            f"{part}/{name}"
            for part, module in modules.items()
            if module is not None
            for name, value in module.state_dict().items()
            if not bool(value.isfinite().all())
        ]
        if bad:
            more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
            raise WeightsError(
                f"{self.name}: NaN or infinite weights in {', '.join(bad[:3])}{more}.", "The file is damaged: fetch or convert it again."
            )


def load_ldznet(request: LoadRequest) -> LDZNet:
    """The factory of ``baselines/ldznet.yaml``, ``znet.yaml`` and ``rgbnet.yaml``.

    Raises:
        WeightsError: files that are missing, damaged, or of another network.
        BenchError: unknown device, precision or recipe.
    """
    device, dtype = pick_device(request.device), pick_dtype(request.precision)
    recipe = Recipe.named(request.name.recipe)
    family, variant = request.name.family, request.name.variant or "full"
    ldm: LdmWeights = "ema" if variant.endswith("ldm-ema") else "non-ema"
    own = open_bundle(next(path for part, path in request.weights.items() if part not in STABLE_DIFFUSION), ldm=ldm)
    others = [open_bundle(path, ldm=ldm) for part, path in request.weights.items() if part in STABLE_DIFFUSION]
    if "segmenter" not in own.parts:
        raise WeightsError(
            f"{own.where} holds no segmentation network.", f"Give {family}'s checkpoint, or the folder that `ldznet-bench convert` made of it."
        )
    if own.report is not None:
        own.report.refuse(own.where)
    part = own.parts.pop("segmenter")
    config, label, files = segmenter_config(part), part.label or "only", part.files
    _check_family(family, config, part.where)
    network = moved(fill(lambda: SegmentationUNet(config), part, f"{family}'s network"), device, dtype)
    del part
    frozen = load_frozen(
        str(request.name), [own, *others], taps=config.taps, vae=config.source == "latent", ldm=ldm, home=request.home, device=device, dtype=dtype
    )
    return LDZNet(
        str(request.name),
        network,
        frozen.diffusion,
        recipe,
        weights=hash_files({**files, **frozen.files}, request.home / "hashes.json"),
        options={**frozen.labels, "segmenter_weights": label, **({"positions": config.positions} if config.taps else {})},
        precision=request.precision,
        micro_batch=request.micro_batch,
    )


def _check_family(family: str, config: SegUNetConfig, where: Path) -> None:
    """ZNet's weights under LD-ZNet's name would be a false row."""
    found = "rgbnet" if config.source == "rgb" else "ldznet" if config.fusion != "none" else "znet"
    if found != family:
        raise WeightsError(f"{where} holds {found}'s network, {family} was asked for.", f"Ask for {found}, or give {family}'s weights.")
