"""The official network's own inputs and outputs, small configuration, and what each documented quirk is worth.

Tolerances are those of the goldens' own table; every mistake below moves something by more than its tolerance.
"""

from __future__ import annotations

import json

import pytest
import torch
from ldznet_golden import (
    ARCHITECTURE,
    ATOL,
    CASES,
    FILES,
    SCHEMES,
    consumed,
    gap,
    golden,
    hidden,
    inputs,
    ldm,
    ldm_pass,
    loaded,
    parts,
    run,
    segmentation_pass,
    segmenter,
    statistics,
    taps,
    thinned,
    vae,
)
from make_sd import GOLDENS, golden_randn, official_tensors
from torch import Tensor

from ldznet_bench.models.checkpoints import Architecture
from ldznet_bench.models.sd import add_noise, encode_moments, noise_schedule, scaled_latents
from ldznet_bench.models.segunet import SegmentationUNet, znet


@pytest.mark.parametrize("scheme", SCHEMES)
def test_weights_are_the_goldens(scheme: str) -> None:
    tensors = official_tensors("small", scheme)
    for name, check in json.loads((GOLDENS / f"{FILES[scheme]}.json").read_text())["weight_checks"].items():
        assert tensors[name].flatten()[:4].tolist() == pytest.approx(check["first4"], abs=1e-7)
        assert float(tensors[name].double().abs().sum()) == pytest.approx(check["abs_sum"], rel=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_inputs_follow_the_rule_that_the_goldens_state(case: str) -> None:
    z, noise, _, context = inputs("fanin", case)
    assert torch.equal(z, 0.9 * golden_randn(f"golden.{case}.z", tuple(z.shape)))
    assert torch.equal(noise, golden_randn(f"golden.{case}.noise", tuple(noise.shape)))
    assert torch.equal(context, golden_randn(f"golden.{case}.ctx", tuple(context.shape)))


@pytest.mark.parametrize("case", CASES)
def test_noised_latents(case: str) -> None:
    z, noise, t, _ = inputs("fanin", case)
    noisy = add_noise(z, noise, t, noise_schedule(ARCHITECTURE.sd))
    assert gap(statistics(noisy), golden("fanin")[f"{case}.z_noisy_first16"]) < 1e-6


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("index", range(16))
def test_tap(scheme: str, case: str, index: int) -> None:
    assert gap(statistics(taps(scheme, case)[index]), golden(scheme)[f"{case}.taps"][:, index]) < ATOL[scheme]["taps"]


@pytest.mark.parametrize("case", ("sq", "ns"))
@pytest.mark.parametrize("index", (6, 9))
def test_tap_everywhere(case: str, index: int) -> None:
    theirs = golden("fanin")[f"{case}.tap{index}_f16"].float()
    assert torch.allclose(taps("fanin", case)[index], theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_noise_prediction_of_the_whole_ldm(scheme: str, case: str) -> None:
    assert gap(statistics(ldm_pass(scheme, case)[1]), golden(scheme)[f"{case}.eps_stats"]) < ATOL[scheme]["taps"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_map_before_the_head(scheme: str, case: str) -> None:
    assert gap(segmentation_pass(scheme, case)[0], golden(scheme)[f"{case}.out_map"]) < ATOL[scheme]["out_map"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_logits(scheme: str, case: str) -> None:
    assert gap(thinned(segmentation_pass(scheme, case)[1], case), golden(scheme)[f"{case}.logits"]) < ATOL[scheme]["logits"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_segmentation_unets_own_transformers(scheme: str, case: str) -> None:
    # The goldens' table states no tolerance here. Under fanin the fused blocks amplify the taps' 1e-5: measured 2.2e-4 from the goldens,
    # which lie that far from a float64 pass, and 3e-5 between ours and float64.
    assert gap(segmentation_pass(scheme, case)[2], golden(scheme)[f"{case}.segfeats"]) < {"s002": 3e-5, "fanin": 3e-4}[scheme]


@pytest.mark.parametrize("case", ("sq", "ns"))
def test_logits_with_ema_weights(case: str) -> None:
    z, _, _, context = inputs("fanin", case)
    _, logits = run(segmenter("fanin", "ema"), z, context, consumed(taps("fanin", case)))
    assert gap(logits[..., ::4, ::4], golden("fanin")[f"{case}.ema_logits_s4"]) < ATOL["fanin"]["logits"]


@pytest.mark.parametrize("case", CASES)
def test_logits_of_the_derived_znet(case: str) -> None:
    """Not an official output: LD-ZNet's weights without the fused parts."""
    config = znet(ARCHITECTURE.segmenter)
    ours = SegmentationUNet(config).state_dict()
    network = loaded(SegmentationUNet(config), {name: parts("fanin")["segmenter"][name] for name in ours})
    z, _, _, context = inputs("fanin", case)
    _, logits = run(network, z, context, [])
    assert gap(logits[..., ::4, ::4], golden("fanin")[f"{case}.znet_derived_logits_s4"]) < ATOL["fanin"]["logits"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_vae_moments(scheme: str) -> None:
    with torch.no_grad():
        moments = encode_moments(vae(scheme), golden(scheme)["vae.image"])
    assert gap(moments, golden(scheme)["vae.moments"]) < ATOL[scheme]["vae"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_vae_moments_of_an_image_that_is_not_square(scheme: str) -> None:
    with torch.no_grad():
        moments = encode_moments(vae(scheme), torch.tanh(golden_randn("golden.vae.image_ns", (1, 3, 64, 128))))
    assert gap(moments, golden(scheme)["vae.moments_ns"]) < ATOL[scheme]["vae"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_encoder(scheme: str) -> None:
    assert gap(hidden(scheme), golden(scheme)["clip.hidden"]) < ATOL["fanin"]["text"]


def end_to_end(scheme: str) -> tuple[list[Tensor], Tensor]:
    arrays = golden(scheme)
    with torch.no_grad():
        z = scaled_latents(encode_moments(vae(scheme), arrays["vae.image"]), None, 0.18215)
        t = torch.tensor([400])
        features = ldm(scheme)(add_noise(z, arrays["e2e.noise"], t, noise_schedule(ARCHITECTURE.sd)), t, hidden(scheme))
        return features, segmenter(scheme)(z, hidden(scheme), consumed(features))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_image_and_tokens_to_logits(scheme: str) -> None:
    features, logits = end_to_end(scheme)
    assert gap(logits, golden(scheme)["e2e.logits"]) < ATOL[scheme]["logits"]
    ours = torch.stack([statistics(feature) for feature in features], dim=1)
    assert gap(ours, golden(scheme)["e2e.taps"]) < ATOL[scheme]["taps"]


def test_architecture_survives_json() -> None:
    again = Architecture.from_json(json.loads(json.dumps(ARCHITECTURE.to_json())))
    assert again.segmenter == ARCHITECTURE.segmenter
    assert again.sd.multiple == 64
