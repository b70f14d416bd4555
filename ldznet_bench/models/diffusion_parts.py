"""Putting a diffusion segmenter's frozen parts together from whatever files hold them."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ldznet_bench.errors import BenchWarning, WeightsError
from ldznet_bench.models.checkpoints import LdmWeights
from ldznet_bench.models.diffusion import Diffusion, moved
from ldznet_bench.models.sd import VAE, FeatureTaps, SDConfig, build_text_encoder, build_unet, build_vae, cut_decoder
from ldznet_bench.models.weight_folders import Bundle, Part, fill, load_tokenizer, tokenizer_files, tokenizer_folder

# What a user asks for by name, where the fetched tokenizer lies.
TOKENIZER = "clip-tokenizer"


@dataclass
class Frozen:
    """The frozen parts and what they were made from.

    Attributes:
        diffusion: the networks.
        files: name to path of every file that decides scores, for hashing.
        labels: which weights were taken where there are several, for the recipe.
    """

    diffusion: Diffusion
    files: dict[str, Path] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)


def load_frozen(
    model: str,
    bundles: Sequence[Bundle],
    *,
    taps: Sequence[str],
    vae: bool,
    ldm: LdmWeights | None,
    home: Path,
    device: torch.device,
    dtype: torch.dtype,
) -> Frozen:
    """The text encoder and tokenizer, and the autoencoder and the tapped UNet where they are wanted.

    Args:
        model: full name, for messages.
        bundles: where to look, best first.
        taps: names of transformers whose features are wanted; none means no diffusion UNet.
        vae: whether latents are wanted.
        ldm: which of the UNet's two sets of weights; None takes what there is.
        home: fetched tokenizers lie in its ``weights/clip-tokenizer``.
        device: of all of them.
        dtype: of their weights.

    Raises:
        WeightsError: a part is missing, or does not fit.
    """
    finder = _Finder(model, bundles)
    text = finder.part("text_encoder")
    encoder = moved(fill(lambda: build_text_encoder(text.config), text, "the text encoder of its config"), device, dtype)
    config = SDConfig(text=encoder.config.to_dict())
    autoencoder = unet = None
    if vae:
        autoencoder = moved(_autoencoder(finder.part("vae")), device, dtype)
        config = dataclasses.replace(config, vae=dict(autoencoder.config))
    if taps:
        schedule, part = finder.ldm(ldm)
        unet = moved(FeatureTaps(fill(lambda: build_unet(part.config), part, "the UNet of its config"), taps), device, dtype)
        config = dataclasses.replace(config, unet=dict(unet.unet.config), **schedule)
        del part
    folder = finder.tokenizer(home)
    tokenizer = load_tokenizer(folder)
    if len(tokenizer) > config.text["vocab_size"]:
        raise WeightsError(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens, the text encoder {config.text['vocab_size']}.", "Give CLIP's own."
        )
    frozen = Diffusion(config, encoder, tokenizer, vae=autoencoder, ldm=unet, device=device, dtype=dtype)
    return Frozen(frozen, {**finder.files, **tokenizer_files(folder)}, finder.labels)


def _autoencoder(part: Part) -> VAE:
    vae = fill(lambda: build_vae(part.config), part, "the autoencoder of its config")
    cut_decoder(vae)
    return vae


class _Finder:
    """Takes parts out of bundles, and remembers which files they came from."""

    def __init__(self, model: str, bundles: Sequence[Bundle]) -> None:
        self.model, self.bundles = model, bundles
        self.files: dict[str, Path] = {}
        self.labels: dict[str, str] = {}

    def part(self, name: str) -> Part:
        """The first that is there."""
        for bundle in self.bundles:
            if name in bundle.parts:
                return self._take(bundle, name)
        raise self._missing(name)

    def ldm(self, wanted: LdmWeights | None) -> tuple[dict[str, Any], Part]:
        """The diffusion UNet with the wanted weights, or with weights of which nothing says which they are; and its noise schedule."""
        found = [bundle for bundle in self.bundles if "unet" in bundle.parts]
        if not found:
            raise self._missing("unet")
        labels = [bundle.parts["unet"].label for bundle in found]
        fitting = [i for i, label in enumerate(labels) if wanted is None or label in (wanted, "")] or [
            i for i, label in enumerate(labels) if label == "unlabelled"
        ]
        if not fitting:
            raise WeightsError(
                f"{self.model} wants the {wanted} weights of the diffusion UNet, {found[0].parts['unet'].where} holds the {labels[0]} ones.",
                "Give sd-v1-4-full-ema.ckpt or unet/diffusion_pytorch_model.non_ema.safetensors, or ask for the variant full-ldm-ema.",
            )
        bundle, label = found[fitting[0]], labels[fitting[0]]
        part = self._take(bundle, "unet")
        if wanted is not None and label == "unlabelled":
            warnings.warn(
                f"{self.model}: nothing says whether {part.where} holds EMA or non-EMA weights (wanted: {wanted}); CompVis' default file and "
                "sd-v1-4.ckpt hold the EMA ones, LD-ZNet was trained on the others.",
                BenchWarning,
                stacklevel=2,
            )
        self.labels["ldm_weights"] = label or "only"
        return dict(bundle.schedule), part

    def tokenizer(self, home: Path) -> Path:
        """The tokenizer's folder."""
        places = [bundle.tokenizer for bundle in self.bundles] + [tokenizer_folder(home / "weights" / TOKENIZER)]
        for place in places:
            if place is not None:
                return place
        where = ", ".join(str(bundle.where) for bundle in self.bundles)
        raise WeightsError(
            f"{self.model} finds no tokenizer: no tokenizer/ with vocab.json and merges.txt (or tokenizer.json) in or beside {where}.",
            "A single-file checkpoint has none: put the tokenizer folder of openai/clip-vit-large-patch14 beside it.",
        )

    def _take(self, bundle: Bundle, name: str) -> Part:
        part = bundle.parts.pop(name)
        self.files.update(part.files)
        return part

    def _missing(self, name: str) -> WeightsError:
        what = {"text_encoder": "text encoder", "vae": "autoencoder", "unet": "diffusion UNet"}[name]
        where = ", ".join(str(bundle.where) for bundle in self.bundles)
        return WeightsError(
            f"{self.model} needs a {what}, and {where} holds none.",
            "Give Stable Diffusion v1.4 as --weights sd=PATH: sd-v1-4-full-ema.ckpt or the diffusers repository.",
        )
