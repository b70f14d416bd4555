"""The goldens' small network, and what the official one gave for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch
from make_sd import GOLDENS, official_tensors, small_architecture
from torch import Tensor

from ldznet_bench.models.checkpoints import map_official
from ldznet_bench.models.safe_checkpoint import Checkpoint
from ldznet_bench.models.sd import (
    FeatureTaps,
    add_noise,
    build_text_encoder,
    build_unet,
    build_vae,
    noise_schedule,
    text_hidden,
    transformer_names,
)
from ldznet_bench.models.segunet import CONSUMED_TAPS, SegmentationUNet

ATOL = {
    "s002": {"taps": 1.5e-5, "out_map": 1e-5, "vae": 5e-6, "logits": 1e-8},
    "fanin": {"taps": 5e-5, "out_map": 8e-5, "vae": 2e-5, "logits": 2e-6, "text": 1e-5},
}
SCHEMES = ("s002", "fanin")
CASES = ("sq", "ns", "trap")
ARCHITECTURE = small_architecture()
FILES = {"s002": "ldznet_small", "fanin": "ldznet_small_fanin"}


@cache
def golden(scheme: str) -> Mapping[str, Tensor]:
    with np.load(GOLDENS / f"{FILES[scheme]}.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@cache
def parts(scheme: str, segmenter: str = "raw") -> Mapping[str, Mapping[str, Tensor]]:
    mapped = map_official(Checkpoint(Path(f"{scheme}.ckpt"), official_tensors("small", scheme)), ARCHITECTURE, segmenter=segmenter)
    assert mapped.report.complete
    return mapped.parts


def loaded(module: torch.nn.Module, state: Mapping[str, Tensor]) -> torch.nn.Module:
    module.load_state_dict(state, strict=True)
    return module.eval().requires_grad_(False)


@cache
def ldm(scheme: str) -> FeatureTaps:
    unet = loaded(build_unet(ARCHITECTURE.sd.unet), parts(scheme)["unet"])
    return FeatureTaps(unet, transformer_names(ARCHITECTURE.sd.unet), keep_rest=True)


@cache
def segmenter(scheme: str, which: str = "raw") -> SegmentationUNet:
    return loaded(SegmentationUNet(ARCHITECTURE.segmenter), parts(scheme, which)["segmenter"])


def inputs(scheme: str, case: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    arrays = golden(scheme)
    return arrays[f"{case}.z"], arrays[f"{case}.noise"], arrays[f"{case}.t"], arrays[f"{case}.ctx"]


@cache
@torch.no_grad()
def ldm_pass(scheme: str, case: str) -> tuple[list[Tensor], Tensor]:
    """All sixteen taps, and the noise prediction."""
    z, noise, t, context = inputs(scheme, case)
    seen: list[Tensor] = []
    hook = ldm(scheme).unet.register_forward_hook(lambda _module, _given, output: seen.append(output[0]))
    features = ldm(scheme)(add_noise(z, noise, t, noise_schedule(ARCHITECTURE.sd)), t, context)
    hook.remove()
    return features, seen[0]


def taps(scheme: str, case: str) -> list[Tensor]:
    return ldm_pass(scheme, case)[0]


def consumed(features: list[Tensor]) -> list[Tensor]:
    names = transformer_names(ARCHITECTURE.sd.unet)
    return [features[names.index(tap)] for tap in CONSUMED_TAPS]


def statistics(feature: Tensor) -> Tensor:
    flat = feature.flatten(1)
    return torch.cat([flat.mean(1, keepdim=True), flat.std(1, keepdim=True, correction=0), flat[:, :16]], dim=1)


@torch.no_grad()
def run(network: SegmentationUNet, z: Tensor, context: Tensor, features: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The map before the head, and the logits."""
    before: list[Tensor] = []
    hook = network.final.register_forward_pre_hook(lambda _module, given: before.append(given[0]))
    try:
        logits = network(z, context, features)
    finally:
        hook.remove()
    return before[0], logits


def gap(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max())


def thinned(logits: Tensor, case: str) -> Tensor:
    return logits[..., ::4, ::4] if case == "trap" else logits


@cache
def segmentation_pass(scheme: str, case: str) -> tuple[Tensor, Tensor, Tensor]:
    """The map before the head, the logits, and statistics of the network's own sixteen transformers."""
    network, seen = segmenter(scheme), {}
    names = transformer_names(ARCHITECTURE.sd.unet)
    hooks = [network.unet.get_submodule(n).register_forward_hook(lambda _m, _i, out, n=n: seen.__setitem__(n, out[0])) for n in names]
    z, _, _, context = inputs(scheme, case)
    before, logits = run(network, z, context, consumed(taps(scheme, case)))
    for hook in hooks:
        hook.remove()
    return before, logits, torch.stack([statistics(seen[name]) for name in names], dim=1)


@cache
def vae(scheme: str) -> torch.nn.Module:
    return loaded(build_vae(ARCHITECTURE.sd.vae), parts(scheme)["vae"])


@cache
@torch.no_grad()
def hidden(scheme: str) -> Tensor:
    encoder = loaded(build_text_encoder(ARCHITECTURE.sd.text), parts(scheme)["text_encoder"])
    return text_hidden(encoder, golden(scheme)["clip.ids"])
