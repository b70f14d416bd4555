"""The segmenter that needs no segmentation weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusion_models import TINY, given, model, pairs, write_weights

from ldznet_bench.models.ldm_attention import LDMAttention, read_layers
from ldznet_bench.models.sd import add_noise


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def attention(weights: Path) -> LDMAttention:
    return model(weights, "ldm-attention")


def test_reads_the_two_coarsest_attention_levels_without_the_middle() -> None:
    coarse, fine = read_layers(TINY.sd.unet)
    assert {name.rsplit(".", 1)[0] for name in coarse} == {"down_blocks.2.attentions", "up_blocks.1.attentions"}
    assert {name.rsplit(".", 1)[0] for name in fine} == {"down_blocks.1.attentions", "up_blocks.2.attentions"}


@torch.no_grad()
def plainly(weights: Path, attention: LDMAttention, pair: object, positions: list[int]) -> torch.Tensor:
    """From q and k of every layer, softmax written out, one head after the other, loops over everything."""
    unet = UNet2DConditionModel.from_pretrained(weights / "sd" / "unet", variant="non_ema").eval()
    seen: dict[str, torch.Tensor] = {}

    def listen(name: str) -> object:
        def hook(module: torch.nn.Module, args: tuple[torch.Tensor, ...], kwargs: dict[str, torch.Tensor]) -> None:
            x = args[0]
            context = kwargs.get("encoder_hidden_states")
            q, k = module.to_q(x)[0], module.to_k(x if context is None else context)[0]
            width = q.shape[1] // module.heads
            heads = [
                torch.softmax(q[:, i * width : (i + 1) * width] @ k[:, i * width : (i + 1) * width].T / width**0.5, dim=-1)
                for i in range(module.heads)
            ]
            seen[name] = sum(heads) / len(heads)

        return hook

    coarse, fine = read_layers(TINY.sd.unet)
    for name in (*coarse, *fine):
        for kind in ("attn1", "attn2"):
            unet.get_submodule(f"{name}.transformer_blocks.0.{kind}").register_forward_pre_hook(listen(f"{name}.{kind}"), with_kwargs=True)
    latents, noise = pair.image.source[None], pair.image.noise[None]
    time = torch.tensor([400])
    unet(add_noise(latents, noise, time, attention._diffusion.schedule), time, pair.text.hidden[None])
    side = latents.shape[-1] // 2
    looks = []
    for name in (*coarse, *fine):
        its = seen[f"{name}.attn2"]
        grid = round(len(its) ** 0.5)
        one = sum(its[:, position] for position in positions) / len(positions)
        looks.append(torch.nn.functional.interpolate(one.view(1, 1, grid, grid), (side, side), mode="bilinear")[0, 0])
    mean = sum(looks) / len(looks)
    kin = [seen[f"{name}.attn1"] for name in fine if name.startswith("up")]
    smooth = (sum(kin) / len(kin)) @ mean.flatten()
    return ((smooth - smooth.min()) / (smooth.max() - smooth.min())).view(side, side)


def test_maps_are_those_of_attention_written_out(weights: Path, attention: LDMAttention) -> None:
    pair = pairs(attention, given(), ("cat",))[0]
    assert attention._phrase_tokens(pair) == [10, 11, 12]
    expected = plainly(weights, attention, pair, [10, 11, 12])
    assert torch.allclose(attention.predict([pair])[0], expected, atol=2e-4)


@pytest.mark.parametrize(("phrase", "tokens"), [("cat", [10, 11, 12]), ("a c", [10, 11]), ("", [11])])
def test_phrase_tokens_are_found_in_the_prompt(attention: LDMAttention, phrase: str, tokens: list[int]) -> None:
    """The tiny vocabulary spells: 'aphotoofa' and the bos token come first; an empty phrase is read at the end token."""
    assert attention._phrase_tokens(pairs(attention, given(), (phrase,))[0]) == tokens


def test_phrase_tokens_are_found_in_every_template(weights: Path) -> None:
    segmenter = model(weights, "ldm-attention", "paper-stochastic")
    image = given()
    for seed in range(40):
        pair = pairs(segmenter, image, ("cat",), seed=seed)[0]
        positions = segmenter._phrase_tokens(pair)
        assert [segmenter._diffusion.tokenizer.convert_ids_to_tokens(pair.text.ids[i]) for i in positions] == ["c", "a", "t</w>"]


@pytest.mark.filterwarnings("ignore::ldznet_bench.errors.BenchWarning")
def test_phrase_that_is_cut_keeps_the_tokens_that_are_left(attention: LDMAttention) -> None:
    assert attention._phrase_tokens(pairs(attention, given(), ("x" * 300,))[0]) == list(range(10, 76))


@pytest.mark.parametrize("recipe", ["paper-deterministic", "demo-stochastic"])
def test_maps_fill_zero_to_one_on_the_finer_grid(weights: Path, recipe: str) -> None:
    segmenter = model(weights, "ldm-attention", recipe)
    scores = segmenter.predict(pairs(segmenter, given(height=90, width=120), ("cat",)))[0]
    assert scores.shape == {"p": (24, 24), "d": (20, 24)}[recipe[0]]
    assert float(scores.min()) == 0
    assert float(scores.max()) == 1


def test_micro_batch_changes_scores_by_rounding_only(weights: Path, attention: LDMAttention) -> None:
    phrases = ("cat", "a red car", "hill")
    together = model(weights, "ldm-attention", micro_batch=4)
    alone = [attention.predict([pair])[0] for pair in pairs(attention, given(), phrases)]
    assert torch.allclose(torch.stack(together.predict(pairs(together, given(), phrases))), torch.stack(alone), atol=1e-4)


def test_image_size_is_that_of_ldznet_unless_the_ldm_is_smaller(weights: Path, attention: LDMAttention) -> None:
    assert attention.image_size == 384


def test_either_set_of_ldm_weights_will_do(attention: LDMAttention) -> None:
    assert attention.recipe["ldm_weights"] == "non-ema"
