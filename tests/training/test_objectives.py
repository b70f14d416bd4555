"""Each network's objective: gradients where they belong, frozen parts untouched, and what is published loads as a model."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file
from training_help import HOME, Silent, order, run, tiny

from ldznet_bench.errors import BenchError, WeightsError
from ldznet_bench.models.load import load_model
from ldznet_bench.training.start import estimate, make_trainer

SEGMENTERS = [
    "mini-znet",
    "mini-znet-long",
    "mini-znet-blind",
    "mini-znet-scratch",
    "mini-rgbnet",
    "mini-rgbnet-scratch",
    "mini-ldznet",
    "mini-ldznet-random",
    "mini-ldznet-zero",
    "mini-ldznet-concat",
    "mini-clipseg",
]
ALL = ["mini-ldm", *SEGMENTERS]


@pytest.mark.parametrize("name", ALL)
def test_gradients_reach_every_trained_parameter_and_no_frozen_one(name, quick):
    objective = make_trainer(quick(name), Silent()).objective
    # The zero features of a control leave the weights that read them without a gradient from a single batch only where both factors are zero.
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in objective.network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn_like(parameter))
    objective(*objective.draw(range(4))).backward()
    without = [key for key, value in objective.network.named_parameters() if value.requires_grad and (value.grad is None or not value.grad.any())]
    assert not [key for key in without if not (name == "mini-ldznet-zero" and "attentionpool2D" in key)]
    frozen = getattr(objective, "_frozen", None)
    for module in () if frozen is None else (frozen.text_encoder, frozen.vae, frozen.ldm):
        if module is not None:
            assert all(value.grad is None and not value.requires_grad for value in module.parameters())
    if name == "mini-clipseg":
        assert all(value.grad is None for value in objective.network.clip.parameters())


@pytest.mark.parametrize("name", SEGMENTERS)
def test_what_is_published_loads_under_its_variant_and_scores_as_validated(name, quick, frozen, tmp_path):
    its = quick(name)
    folder = run(its)
    family, variant = its.recipe.network, its.recipe.variant
    given = {f"{family}/{variant}": folder}
    if family != "clipseg":
        given["mini-sd"] = joined(frozen, tmp_path / "sd")
    model = load_model(f"{family}/{variant}", weights=given, home=tmp_path)
    assert model.name.startswith(f"{family}/{variant}")
    lines = [json.loads(line) for line in its.folder.joinpath("log.jsonl").read_text().splitlines()]
    logged = [line["validation"] for line in lines if "validation" in line][-1]
    from ldznet_bench.api import evaluate

    summary = evaluate(model, "minicut-photo:val", output=tmp_path / "runs", home=HOME, limit=4).summary()
    assert summary["metrics"]["miou"] == pytest.approx(logged["miou"], abs=1e-6)


def joined(folders, target):
    """The frozen networks in one folder, as the package carries them."""
    from ldznet_bench.models.weight_folders import Bundle, open_bundle, write_folder

    parts, tokenizer = {}, None
    for folder in folders:
        bundle = open_bundle(folder)
        parts |= bundle.parts
        tokenizer = bundle.tokenizer or tokenizer
    write_folder(target, Bundle(target, parts, bundle.schedule, tokenizer), {})
    return target


def test_from_the_diffusion_model_or_from_scratch(quick, frozen):
    ldm = load_file(frozen[2] / "unet" / "diffusion_pytorch_model.safetensors")
    started = make_trainer(quick("mini-znet"), Silent()).objective.network.state_dict()
    scratch = make_trainer(quick("mini-znet-scratch"), Silent()).objective.network.state_dict()
    name = "mid_block.resnets.0.conv1.weight"
    assert torch.equal(started[f"unet.{name}"], ldm[name])
    assert not torch.equal(scratch[f"unet.{name}"], ldm[name])


def test_fresh_timesteps_and_noise_at_every_place(quick):
    objective = make_trainer(quick("mini-ldznet"), Silent()).objective
    *_, times, sampled, noise = objective.draw(range(6))
    assert bool(((times >= 300) & (times < 500)).all())
    assert len(set(times.tolist())) > 1
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(sampled, noise)
    again = objective.draw(range(6))
    assert torch.equal(again[-1], noise)


def test_missing_frozen_networks_are_named(tmp_path):
    with pytest.raises(WeightsError, match="mini-znet needs a unet"):
        make_trainer(order(tiny("mini-znet"), tmp_path), Silent())


def test_an_encoder_is_missing(tmp_path, frozen):
    with pytest.raises(WeightsError, match="needs a text-image encoder"):
        make_trainer(order(tiny("mini-clipseg"), tmp_path, frozen[:1]), Silent())


def test_an_ldm_of_other_sizes_is_named_by_tensor_and_shape(quick):
    its = quick("mini-znet", model={**tiny("mini-znet").model, "unet": {"block_out_channels": [16, 16, 16]}})
    with pytest.raises(WeightsError, match=r"unet\.conv_in\.weight has shape \(16, 4, 3, 3\), the LDM's \(8, 4, 3, 3\)"):
        make_trainer(its, Silent())


def test_a_dry_run_measures_and_writes_nothing(quick):
    its = quick("mini-ldznet")
    said = estimate(its)
    assert said["trained_parameters"] == said["parameters"] > 1000
    assert said["state_bytes"] == said["trained_parameters"] * 4 * 5
    assert said["seconds_per_step"] > 0
    assert not its.folder.exists()


def test_too_little_memory_or_disk_is_met_before_the_first_step(quick, monkeypatch):
    from ldznet_bench.training import start

    its = quick("mini-znet")
    monkeypatch.setattr(start, "_memory_free", lambda: 1000)
    with pytest.raises(BenchError, match="GB are free"):
        start.refuse_if_too_small(its, 10_000_000)
    monkeypatch.undo()
    monkeypatch.setattr(start.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(BenchError, match="three checkpoints"):
        start.refuse_if_too_small(its, 10_000_000)


def test_the_text_vectors_that_clipseg_is_conditioned_on_differ_in_all_of_their_length(tmp_path, frozen):
    objective = make_trainer(order(tiny("mini-clipseg"), tmp_path, frozen), Silent()).objective
    ids = torch.cat([objective.draw([position])[2] for position in range(512)])
    with torch.no_grad():
        pooled = objective.network.clip.text_model(input_ids=ids).pooler_output
    torch.testing.assert_close(pooled.mean(0), torch.zeros(pooled.shape[1]), atol=1e-3, rtol=0)
    torch.testing.assert_close(pooled.std(0), torch.ones(pooled.shape[1]), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("name", "model", "said"),
    [
        ("mini-ldznet", {"taps": ["mid_block.attentions.9"]}, "Did you mean 'mid_block.attentions.0'"),
        ("mini-znet", {"image_sise": 96}, "Did you mean 'image_size'"),
        ("mini-znet", {"image_size": 50}, "no multiple of 4"),
        ("mini-znet", {"unet": {"layers": 1}}, "unknown key in mini-znet's model.unet, 'layers'"),
        ("mini-clipseg", {"reduce_dims": 16}, "Did you mean 'reduce_dim'"),
        ("mini-clipseg", {"reduce_dim": "wide"}, "make no network"),
    ],
)
def test_sizes_that_make_no_network_are_said(name, model, said, frozen, tmp_path):
    recipe = tiny(name)
    with pytest.raises(BenchError, match=said):
        make_trainer(order(dataclasses.replace(recipe, model={**recipe.model, **model}), tmp_path, frozen), Silent())
