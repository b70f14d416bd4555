"""Every documented quirk, undone: each mistake must move the golden comparison past its tolerance, so that it cannot creep in unseen."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from ldznet_golden import (
    ARCHITECTURE,
    ATOL,
    consumed,
    gap,
    golden,
    inputs,
    ldm,
    parts,
    run,
    segmentation_pass,
    segmenter,
    statistics,
    taps,
    thinned,
    vae,
)
from torch import Tensor, nn

from ldznet_bench.models.sd import FeatureTaps, add_noise, encode_moments, noise_schedule
from ldznet_bench.models.segunet import CONSUMED_TAPS, FusedBlock, SegmentationUNet, TokenModule

Undo = Callable[[nn.Module], None]


def norms(module: nn.Module, *, inside: str) -> Iterator[nn.GroupNorm]:
    for name, child in module.named_modules():
        if isinstance(child, nn.GroupNorm) and inside in name:
            yield child


def set_eps(inside: str, eps: float) -> Undo:
    def undo(module: nn.Module) -> None:
        for norm in norms(module, inside=inside):
            norm.eps = eps

    return undo


def set_heads(heads: int) -> Undo:
    def undo(module: nn.Module) -> None:
        for child in module.modules():
            if hasattr(child, "to_q"):
                child.heads = heads

    return undo


class TanhGEGLU(nn.Module):
    def __init__(self, plain: nn.Module) -> None:
        super().__init__()
        self.proj = plain.proj

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate, approximate="tanh")


def tanh_gelu(module: nn.Module) -> None:
    for child in module.modules():
        if hasattr(child, "ff"):
            child.ff.net[0] = TanhGEGLU(child.ff.net[0])


def sine_first(module: nn.Module) -> None:
    module.unet.time_proj.flip_sin_to_cos = False


def tap_gap(scheme: str, case: str, undo: Undo) -> float:
    wrong = copy.deepcopy(ldm(scheme).unet)
    unet = FeatureTaps(wrong, ldm(scheme).taps, keep_rest=True)
    undo(unet)
    z, noise, t, context = inputs(scheme, case)
    with torch.no_grad():
        features = unet(add_noise(z, noise, t, noise_schedule(ARCHITECTURE.sd)), t, context)
    ours = torch.stack([statistics(feature) for feature in features], dim=1)
    return gap(ours, golden(scheme)[f"{case}.taps"])


@pytest.mark.parametrize(
    ("scheme", "undo"),
    [
        pytest.param("s002", set_eps("attentions", 1e-5), id="transformers-normalise-with-eps-1e-6"),
        pytest.param("s002", set_eps("resnets", 1e-6), id="residual-blocks-normalise-with-eps-1e-5"),
        pytest.param("fanin", tanh_gelu, id="GELU-is-exact"),
        pytest.param("fanin", set_heads(4), id="eight-heads"),
        pytest.param("fanin", sine_first, id="timestep-embedding-has-cosines-first"),
    ],
)
def test_ldm_quirk_shows_in_the_taps(scheme: str, undo: Undo) -> None:
    assert tap_gap(scheme, "ns", undo) > ATOL[scheme]["taps"]


def test_nothing_undone_stays_within_tolerance() -> None:
    assert tap_gap("s002", "ns", lambda _: None) < ATOL["s002"]["taps"]


@pytest.mark.parametrize("network", [ldm("fanin").unet, segmenter("fanin").unet], ids=["ldm", "segmenter"])
def test_eps_of_every_normalisation(network: nn.Module) -> None:
    """The goldens see a wrong eps in a transformer with a margin of two only, so it is also stated."""
    assert {norm.eps for norm in norms(network, inside="attentions")} == {1e-6}
    assert {norm.eps for norm in norms(network, inside="resnets")} == {1e-5}
    assert network.conv_norm_out.eps == 1e-5
    assert {child.eps for child in network.modules() if isinstance(child, nn.LayerNorm)} == {1e-5}


def logits_gap(case: str, undo: Callable[[SegmentationUNet], None]) -> float:
    wrong = copy.deepcopy(segmenter("fanin"))
    undo(wrong)
    z, _, _, context = inputs("fanin", case)
    _, logits = run(wrong, z, context, consumed(taps("fanin", case)))
    return gap(thinned(logits, case), golden("fanin")[f"{case}.logits"])


def token_modules(network: SegmentationUNet) -> list[TokenModule]:
    return [child for child in network.modules() if isinstance(child, TokenModule)]


def four_token_heads(network: SegmentationUNet) -> None:
    for module in token_modules(network):
        module.heads = 4


def only(part: Callable[[Tensor], Tensor]) -> Callable[[SegmentationUNet], None]:
    def undo(network: SegmentationUNet) -> None:
        for module in token_modules(network):
            module.register_forward_hook(lambda _module, _given, tokens: part(tokens))

    return undo


class Resized(TokenModule):
    """Positions resized in another way."""

    how: dict[str, object]

    def _positions(self, height: int, width: int) -> Tensor:
        table, grid = self.positional_embedding, self.grid
        if height * width == grid * grid:
            return table
        resized = F.interpolate(table[None, :, 1:].unflatten(2, (grid, grid)), (height, width), **self.how)
        return torch.cat([table[:, :1], resized[0].flatten(1)], dim=1)


def positions(**how: object) -> Callable[[SegmentationUNet], None]:
    def undo(network: SegmentationUNet) -> None:
        for module in token_modules(network):
            module.__class__ = Resized
            module.how = how

    return undo


class TokensBeforeText(FusedBlock):
    def forward(self, hidden_states: Tensor, attention_mask: None = None, encoder_hidden_states: Tensor | None = None, **_: object) -> Tensor:
        x = hidden_states
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn3(self.norm_sd(x), encoder_hidden_states=self.tokens)
        x = x + self.attn2(self.norm2(x), encoder_hidden_states=encoder_hidden_states)
        return x + self.ff(self.norm3(x))


def tokens_before_text(network: SegmentationUNet) -> None:
    for module in network.modules():
        if isinstance(module, FusedBlock):
            module.__class__ = TokensBeforeText


def no_third_attention(network: SegmentationUNet) -> None:
    for module in network.modules():
        if isinstance(module, FusedBlock):
            module.attn3.to_out[0].weight.zero_()
            module.attn3.to_out[0].bias.zero_()


def timestep(value: int) -> Callable[[SegmentationUNet], None]:
    def undo(network: SegmentationUNet) -> None:
        original = network.unet.get_time_embed
        network.unet.get_time_embed = lambda sample, timestep: original(sample=sample, timestep=value)

    return undo


def resize_by_shape(network: SegmentationUNet) -> None:
    for module in token_modules(network):
        module.match = "shape"


@pytest.mark.parametrize(
    ("case", "undo"),
    [
        pytest.param("sq", tanh_gelu, id="GELU-is-exact"),
        pytest.param("sq", four_token_heads, id="token-module-has-eight-heads"),
        pytest.param("sq", only(lambda tokens: tokens[:, 1:]), id="the-mean-is-a-token"),
        pytest.param("sq", only(lambda tokens: tokens[:, :1]), id="attention-pooling-does-not-pool"),
        pytest.param("ns", positions(mode="bilinear", align_corners=False), id="positions-are-resized-bicubically"),
        pytest.param("ns", positions(mode="bicubic", align_corners=True), id="positions-are-resized-without-aligned-corners"),
        pytest.param("trap", resize_by_shape, id="positions-are-resized-by-count-not-shape"),
        pytest.param("sq", tokens_before_text, id="text-before-tokens"),
        pytest.param("sq", no_third_attention, id="third-attention"),
        pytest.param("sq", timestep(1), id="segmentation-at-t-0-not-1"),
        pytest.param("sq", timestep(400), id="segmentation-at-t-0-not-400"),
    ],
)
def test_segmenter_quirk_shows_in_the_logits(case: str, undo: Callable[[SegmentationUNet], None]) -> None:
    assert logits_gap(case, undo) > ATOL["fanin"]["logits"]


def test_logits_with_nothing_undone() -> None:
    assert logits_gap("trap", lambda _: None) < ATOL["fanin"]["logits"]


def test_each_tap_goes_to_its_own_block() -> None:
    z, _, _, context = inputs("fanin", "sq")
    features = consumed(taps("fanin", "sq"))
    features[2], features[4] = features[4], features[2]
    assert gap(run(segmenter("fanin"), z, context, features)[1], golden("fanin")["sq.logits"]) > 1e-3


def test_segmentation_reads_the_clean_latents() -> None:
    z, noise, t, context = inputs("fanin", "sq")
    noisy = add_noise(z, noise, t, noise_schedule(ARCHITECTURE.sd))
    assert gap(run(segmenter("fanin"), noisy, context, consumed(taps("fanin", "sq")))[1], golden("fanin")["sq.logits"]) > 1e-3


def test_silu_stands_between_the_unet_and_the_head() -> None:
    before, _, _ = segmentation_pass("fanin", "sq")
    assert float(before.min()) >= -0.2785, "SiLU never goes below -0.2785"


def test_ema_weights_are_not_the_raw_ones() -> None:
    _, raw, _ = segmentation_pass("fanin", "sq")
    assert gap(raw[..., ::4, ::4], golden("fanin")["sq.ema_logits_s4"]) > 1e-2


def test_every_consumed_tap_reaches_the_logits() -> None:
    z, _, _, context = inputs("fanin", "sq")
    features = [feature.clone().requires_grad_() for feature in consumed(taps("fanin", "sq"))]
    segmenter("fanin")(z, context, features).sum().backward()
    assert [float(feature.grad.abs().max()) > 0 for feature in features] == [True] * 5


def test_consumed_taps_are_the_papers_blocks_six_to_ten() -> None:
    assert [ldm("fanin").taps.index(tap) + 1 for tap in CONSUMED_TAPS] == [6, 7, 8, 9, 10]


def test_callers_features_are_left_alone() -> None:
    z, _, _, context = inputs("fanin", "sq")
    features = consumed(taps("fanin", "sq"))
    run(segmenter("fanin"), z, context, features)
    assert len(features) == 5


def test_token_grids_are_twelve_and_six() -> None:
    assert [ARCHITECTURE.segmenter.grid(tap) for tap in CONSUMED_TAPS] == [12, 6, 12, 12, 12]


@pytest.mark.parametrize(("height", "width"), [(44, 52), (48, 44)])
def test_sizes_that_do_not_halve_are_refused(height: int, width: int) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        segmenter("fanin")(torch.zeros(1, 4, height, width), torch.zeros(1, 77, 32), [])


def test_trap_is_mended_on_request() -> None:
    config = dataclasses.replace(ARCHITECTURE.segmenter, positions="shape")
    network = SegmentationUNet(config).eval().requires_grad_(False)
    network.load_state_dict(parts("fanin")["segmenter"])
    z, _, _, context = inputs("fanin", "trap")
    _, logits = run(network, z, context, consumed(taps("fanin", "trap")))
    assert 1e-3 < gap(logits[..., ::4, ::4], golden("fanin")["trap.logits"]) < 1e-1


@pytest.mark.parametrize("undo", [pytest.param(set_eps("", 1e-5), id="eps-1e-6"), pytest.param(None, id="pads-right-and-bottom")])
def test_vae_quirk_shows_in_the_moments(undo: Undo | None) -> None:
    wrong = copy.deepcopy(vae("s002"))
    if undo is not None:
        undo(wrong)
    else:
        for block in wrong.encoder.down_blocks[:-1]:
            block.downsamplers[0].padding = 1
            block.downsamplers[0].conv.padding = (1, 1)
    with torch.no_grad():
        moments = encode_moments(wrong, golden("s002")["vae.image"])
    assert gap(moments, golden("s002")["vae.moments"]) > ATOL["s002"]["vae"]
