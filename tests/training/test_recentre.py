"""Recentring the text changes what the text encoder says, and nothing of what the diffusion model does."""

import torch
from training_help import HOME

from ldznet_bench.models.diffusion_parts import load_frozen
from ldznet_bench.models.sd import text_hidden
from ldznet_bench.models.weight_folders import open_bundle
from ldznet_bench.training.recentre import recentred_text, spread, statistics
from ldznet_bench.training.tokenizer import padded_ids

PROMPTS = ["a photo of a ball.", "a photo of a cat.", "two red boats on blue water"]


def parts(folders, taps):
    return load_frozen(
        "test",
        [open_bundle(folder) for folder in folders],
        taps=taps,
        vae=False,
        ldm=None,
        home=HOME,
        device=torch.device("cpu"),
        dtype=torch.float32,
    ).diffusion


def test_the_published_unet_and_encoder_together_are_what_was_trained(frozen):
    """The trained weights themselves are in the training's last state; the published pair must give the same features."""
    from safetensors.torch import load_file

    _, clip, ldm = frozen
    taps = ["mid_block.attentions.0", "up_blocks.1.attentions.1"]
    old, new = parts((clip, ldm), taps), parts((ldm, clip), taps)
    trained = load_file(ldm.parent / "step-000004" / "average.safetensors")
    kept = {name: value for name, value in trained.items() if name in old.ldm.unet.state_dict()}
    old.ldm.unet.load_state_dict(kept)
    ids = padded_ids(old.tokenizer, PROMPTS, old.max_tokens)
    noisy, times = torch.randn(3, 4, 24, 24), torch.tensor([10, 400, 900])
    for before, after in zip(
        old.ldm(noisy, times, text_hidden(old.text_encoder, ids)), new.ldm(noisy, times, text_hidden(new.text_encoder, ids)), strict=True
    ):
        torch.testing.assert_close(before, after, rtol=1e-3, atol=1e-4)


def test_hidden_states_are_of_mean_nought_and_deviation_one(frozen):
    _, _, ldm = frozen
    diffusion = parts((ldm,), ["mid_block.attentions.0"])
    from ldznet_bench.minicut import captioned

    ids = padded_ids(diffusion.tokenizer, [captioned("val", i)[1] for i in range(16)], diffusion.max_tokens)
    hidden = text_hidden(diffusion.text_encoder, ids)
    mean, deviation = statistics(hidden)
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-3, rtol=0)
    torch.testing.assert_close(deviation, torch.ones_like(deviation), atol=1e-2, rtol=0)


def test_spread_is_what_words_change():
    same = torch.randn(1, 5, 7).expand(4, 5, 7)
    assert spread(same) == 0
    assert spread(torch.randn(50, 5, 7)) > 0.9
    assert recentred_text({"final_layer_norm.weight": torch.ones(2), "final_layer_norm.bias": torch.ones(2)}, torch.ones(2), torch.full((2,), 2.0))[
        "final_layer_norm.bias"
    ].tolist() == [0.0, 0.0]
