"""The frozen parts: schedule, taps and the cut behind them, and the miniature's geometry from the same classes."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from make_sd import GOLDENS, seed_module, tiny_architecture
from torch import Tensor

from ldznet_bench.errors import WeightsError
from ldznet_bench.models.sd import FeatureTaps, SDConfig, add_noise, build_unet, noise_schedule, scaled_latents, transformer_names
from ldznet_bench.models.segunet import (
    CONSUMED_TAPS,
    FusedTransformer,
    SegmentationUNet,
    SegUNetConfig,
    initialise_from_ldm,
    parameters_of,
    rgbnet,
    znet,
)

TINY = tiny_architecture()


@pytest.mark.parametrize("timestep", [0, 300, 400, 499, 999])
def test_schedule_is_the_goldens(timestep: int) -> None:
    expected = json.loads((GOLDENS / "ldznet_small_fanin.json").read_text())["q_sample"][str(timestep)]
    alpha = noise_schedule(SDConfig())[timestep]
    assert [float(alpha.sqrt()), float((1 - alpha).sqrt())] == pytest.approx(expected, abs=1e-7)


def test_noise_is_added_with_each_images_own_timestep() -> None:
    latents, noise = torch.ones(2, 1, 1, 1), torch.full((2, 1, 1, 1), 2.0)
    schedule = noise_schedule(SDConfig())
    noisy = add_noise(latents, noise, torch.tensor([300, 499]), schedule)
    assert noisy.flatten().tolist() == pytest.approx([float(schedule[t].sqrt() + 2 * (1 - schedule[t]).sqrt()) for t in (300, 499)])


def test_log_variances_are_clamped() -> None:
    moments = torch.tensor([0.0, 100.0]).view(1, 2, 1, 1)
    sampled = scaled_latents(moments, torch.ones(1, 1, 1, 1), 1.0)
    assert float(sampled) == pytest.approx(np.exp(10))


def unet(seed: int = 0) -> torch.nn.Module:
    return seed_module(build_unet(TINY.sd.unet), seed)


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 4, 16, 24, generator=generator), torch.tensor([300, 450]), torch.randn(2, 77, 16, generator=generator)


def test_taps_are_sixteen_in_the_order_of_the_pass() -> None:
    names = transformer_names(TINY.sd.unet)
    assert len(names) == 16
    assert [names.index(tap) for tap in CONSUMED_TAPS] == [5, 6, 7, 8, 9]


@torch.no_grad()
@pytest.mark.parametrize("last", transformer_names(TINY.sd.unet))
def test_cutting_behind_a_tap_changes_no_bit_of_it(last: str) -> None:
    whole = FeatureTaps(unet(), [last], keep_rest=True)
    cut = FeatureTaps(unet(), [last])
    assert torch.equal(whole(*inputs())[0], cut(*inputs())[0])
    assert sum(p.numel() for p in cut.parameters()) < sum(p.numel() for p in whole.parameters())


@torch.no_grad()
def test_features_come_in_the_order_of_the_taps() -> None:
    forwards, backwards = FeatureTaps(unet(), CONSUMED_TAPS), FeatureTaps(unet(), CONSUMED_TAPS[::-1])
    assert all(torch.equal(a, b) for a, b in zip(forwards(*inputs()), reversed(backwards(*inputs())), strict=True))


# --- the segmentation UNet at other sizes ---------------------------------------------------------------------------------------------------

MINI = SegUNetConfig(
    unet={
        **TINY.segmenter.unet,
        "block_out_channels": (16, 32, 32),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
    },
    image_size=96,
    downsample=4,
    taps=("down_blocks.2.attentions.0", "mid_block.attentions.0", "up_blocks.0.attentions.1", "up_blocks.1.attentions.0"),
    tap_channels=(24, 24, 24, 12),
)


def features_for(config: SegUNetConfig, batch: int, side: int) -> list[Tensor]:
    grid = side // config.downsample
    sizes = [grid // 2 ** config.level(tap) for tap in config.taps]
    return [torch.randn(batch, config.width_of_tap(i), size, size) for i, size in enumerate(sizes)]


@pytest.mark.parametrize("fusion", ["attention", "concat"])
@pytest.mark.parametrize("side", [96, 64])
def test_miniature_uses_the_same_classes(fusion: str, side: int) -> None:
    """Latents at a quarter, three levels, an LDM of other widths: the grids follow from the config."""
    config = dataclasses.replace(MINI, fusion=fusion)
    assert [config.grid(tap) for tap in config.taps] == [6, 6, 6, 12]
    assert config.multiple == 16
    logits = SegmentationUNet(config)(torch.randn(2, 4, side // 4, side // 4), torch.randn(2, 77, 16), features_for(config, 2, side))
    assert logits.shape == (2, 1, side, side)


def test_rgbnet_reads_pixels() -> None:
    logits = SegmentationUNet(rgbnet(MINI))(torch.randn(1, 3, 96, 64), torch.randn(1, 77, 16))
    assert logits.shape == (1, 1, 96, 64)


def test_rgbnet_refuses_sizes_that_do_not_halve() -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        SegmentationUNet(rgbnet(MINI))(torch.randn(1, 3, 96, 72), torch.randn(1, 77, 16))


def test_wrong_number_of_features_is_refused() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        SegmentationUNet(MINI)(torch.randn(1, 4, 24, 24), torch.randn(1, 77, 16), [])


@pytest.mark.parametrize("config", [MINI, znet(MINI), rgbnet(MINI), SegUNetConfig()], ids=["ldznet", "znet", "rgbnet", "full"])
def test_config_survives_json(config: SegUNetConfig) -> None:
    assert SegUNetConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_unknown_config_key_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"unknown keys .*'colour'"):
        SegUNetConfig.from_json({**MINI.to_json(), "colour": 1})


@pytest.mark.parametrize(("fusion", "taps"), [("none", CONSUMED_TAPS), ("attention", ())])
def test_fusion_and_taps_must_agree(fusion: str, taps: tuple[str, ...]) -> None:
    with pytest.raises(WeightsError, match="does not go with"):
        SegUNetConfig(fusion=fusion, taps=taps)


@pytest.mark.parametrize(
    ("config", "parameters"),
    [(SegUNetConfig(), 925_882_936), (znet(SegUNetConfig()), 859_512_376), (rgbnet(SegUNetConfig()), 861_317_176)],
    ids=["ldznet", "znet", "rgbnet"],
)
def test_full_size_parameters(config: SegUNetConfig, parameters: int) -> None:
    assert parameters_of(config) == parameters


@torch.no_grad()
def test_concatenation_starts_as_the_network_without_features() -> None:
    """So that weights made from the LDM are worth something from the first step."""
    config = dataclasses.replace(MINI, fusion="concat")
    with_features = SegmentationUNet(config).eval()
    without = SegmentationUNet(znet(MINI)).eval()
    without.load_state_dict({name: value for name, value in with_features.state_dict().items() if ".fuse." not in name})
    source, text = torch.randn(1, 4, 24, 24), torch.randn(1, 77, 16)
    assert torch.allclose(with_features(source, text, features_for(config, 1, 96)), without(source, text), atol=1e-6)


# --- initialisation from the LDM ---------------------------------------------------------------------------------------------------------------


def test_initialisation_copies_what_fits_and_names_what_is_new() -> None:
    ldm = unet().state_dict()
    network = SegmentationUNet(TINY.segmenter)
    copied, new = initialise_from_ldm(network, ldm)
    assert len(copied) == len(ldm) == 686
    assert {name.split(".")[-2] if "positional" not in name else "positional" for name in new if name.startswith("unet.")} == {
        *("positional", "qkv_proj", "c_proj", "to_q", "to_k", "to_v", "0", "norm_sd"),
    }
    assert sum(name.startswith("final.") for name in new) == 14
    state = network.state_dict()
    assert torch.equal(state["unet.conv_out.weight"], ldm["conv_out.weight"][:1])
    assert torch.equal(state["unet.conv_in.weight"], ldm["conv_in.weight"])


def test_rgbnet_keeps_its_own_first_convolutions() -> None:
    copied, new = initialise_from_ldm(SegmentationUNet(rgbnet(TINY.segmenter)), unet().state_dict())
    assert not [name for name in copied if name.startswith("unet.conv_in")]
    assert [name for name in new if name.startswith("unet.conv_in")]
    assert len(copied) == 684


def test_initialisation_from_another_size_is_refused() -> None:
    with pytest.raises(WeightsError, match="the LDM's"):
        initialise_from_ldm(
            SegmentationUNet(
                dataclasses.replace(MINI, unet={**TINY.segmenter.unet, "block_out_channels": (16, 32, 64, 64)}, taps=CONSUMED_TAPS, tap_channels=None)
            ),
            unet().state_dict(),
        )


# --- training's needs ----------------------------------------------------------------------------------------------------------------------------


def test_gradients_reach_every_parameter() -> None:
    network = SegmentationUNet(MINI)
    network(torch.randn(2, 4, 24, 24), torch.randn(2, 77, 16), features_for(MINI, 2, 96)).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    network = seed_module(SegmentationUNet(MINI), 0).train()
    source, text, features = torch.randn(1, 4, 24, 24), torch.randn(1, 77, 16), features_for(MINI, 1, 96)

    def gradients() -> list[Tensor]:
        network.zero_grad()
        network(source, text, features).square().mean().backward()
        return [p.grad.clone() for p in network.parameters()]

    plain = gradients()
    network.unet.enable_gradient_checkpointing()
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(plain, gradients(), strict=True))


def test_features_are_let_go_after_a_pass_without_gradients() -> None:
    network = SegmentationUNet(MINI)
    with torch.no_grad():
        network(torch.randn(1, 4, 24, 24), torch.randn(1, 77, 16), features_for(MINI, 1, 96))
    assert all(child.feature is None for child in network.modules() if isinstance(child, FusedTransformer))
