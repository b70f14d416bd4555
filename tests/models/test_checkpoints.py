"""Official checkpoints: every tensor has its place, and what does not fit is listed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from make_sd import GOLDENS, manifest, meta_tensors, small_architecture
from torch import Tensor

from ldznet_bench.errors import WeightsError
from ldznet_bench.models.checkpoints import Mapped, map_official
from ldznet_bench.models.official_names import ema_name, official_unet_namer, official_vae_name
from ldznet_bench.models.safe_checkpoint import Checkpoint
from ldznet_bench.models.segunet import SD_V1_UNET
from ldznet_bench.models.weight_folders import read_json

KEYMAP = read_json(GOLDENS / "keymap_official_to_diffusers.json")


def mapped(tensors: dict[str, Tensor], **choices: str) -> Mapped:
    return map_official(Checkpoint(Path("some.ckpt"), tensors), **choices)


@pytest.fixture(scope="module")
def full() -> dict[str, Tensor]:
    return meta_tensors("full")


@pytest.mark.parametrize(
    ("part", "prefix"),
    [
        ("ldznet_unet", "model.diffusion_model."),
        ("ldm_unet", "sd_features_stage_model.model.model.diffusion_model."),
        ("vae", "first_stage_model."),
    ],
)
def test_every_name_is_the_golden_keymaps(part: str, prefix: str) -> None:
    namer = (lambda name: official_vae_name(name, 4)) if part == "vae" else official_unet_namer(SD_V1_UNET)
    assert {prefix + namer(ours) for ours in KEYMAP[part].values()} == set(KEYMAP[part])
    assert all(prefix + namer(ours) == theirs for theirs, ours in KEYMAP[part].items())


def test_dotless_ema_names_are_the_manifests() -> None:
    keys = {key for key, *_ in manifest("full")}
    raw = {key for key in keys if key.startswith("model.diffusion_model.")}
    assert {ema_name(key) for key in raw} | {"model_ema.decay", "model_ema.num_updates"} == {key for key in keys if key.startswith("model_ema.")}


def test_full_manifest_maps_with_nothing_left(full: dict[str, Tensor]) -> None:
    report = mapped(full).report
    assert report.problems() == []
    assert report.used == {"segmenter": 760, "unet": 686, "vae": 248, "text_encoder": 196}
    assert sum(report.used.values()) + sum(len(names) for names in report.set_aside.values()) == len(full) == 2677
    assert report.absent == ()


def test_full_manifest_has_the_documented_sizes(full: dict[str, Tensor]) -> None:
    counts = {part: sum(value.numel() for value in tensors.values()) for part, tensors in mapped(full).parts.items()}
    assert counts == {"segmenter": 925_882_936, "unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480}


def test_small_manifest_maps_with_its_architecture() -> None:
    assert map_official(Checkpoint(Path("small.ckpt"), meta_tensors("small")), small_architecture()).report.complete


@pytest.mark.parametrize(
    ("prefixes", "label"),
    [(("model.", "model_ema."), "ema"), (("model_ema.",), "ema"), (("model.",), "raw")],
    ids=["both", "EMA alone", "raw alone"],
)
def test_a_file_of_the_segmentation_network_alone(full: dict[str, Tensor], prefixes: tuple[str, ...], label: str) -> None:
    report = mapped({name: value for name, value in full.items() if name.startswith(prefixes)}).report
    assert report.complete
    assert report.labels == {"segmenter": label}
    assert report.absent == ("unet", "vae", "text_encoder")


def test_raw_weights_on_request(full: dict[str, Tensor]) -> None:
    assert mapped(full, segmenter="raw").report.labels["segmenter"] == "raw"


def stable_diffusion(full: dict[str, Tensor], *, ema: bool) -> dict[str, Tensor]:
    prefix = "sd_features_stage_model.model."
    unet = {name.removeprefix(prefix): value for name, value in full.items() if name.startswith(prefix)}
    frozen = {name: value for name, value in full.items() if name.startswith(("first_stage_model.", "cond_stage_model."))}
    averaged = {ema_name(name): value for name, value in unet.items() if name.startswith("model.")} if ema else {}
    return {**unet, **frozen, **averaged}


@pytest.mark.parametrize(("ema", "asked", "label"), [(True, "non-ema", "non-ema"), (True, "ema", "ema"), (False, "non-ema", "unlabelled")])
def test_stable_diffusions_own_file(full: dict[str, Tensor], ema: bool, asked: str, label: str) -> None:
    report = mapped(stable_diffusion(full, ema=ema), ldm=asked).report
    assert report.complete
    assert report.kind == "stable-diffusion"
    assert report.labels["unet"] == label


def test_ema_alone_is_not_called_non_ema(full: dict[str, Tensor]) -> None:
    tensors = stable_diffusion(full, ema=True)
    only = {name: value for name, value in tensors.items() if not name.startswith("model.diffusion_model.middle_block")}
    assert mapped(only).report.labels["unet"] == "ema"


def test_missing_tensor_is_named(full: dict[str, Tensor]) -> None:
    gone = "first_stage_model.encoder.conv_in.bias"
    report = mapped({name: value for name, value in full.items() if name != gone}).report
    assert report.problems() == [f"missing from the file: vae/{gone} [128]"]


def test_unknown_tensor_is_named(full: dict[str, Tensor]) -> None:
    assert mapped({**full, "model.extra": torch.empty(2)}).report.problems() == ["only in the file: model.extra [2]"]


def test_tensor_of_another_shape_is_named(full: dict[str, Tensor]) -> None:
    report = mapped({**full, "first_stage_model.quant_conv.bias": torch.empty(9)}).report
    assert report.problems() == ["of another shape: first_stage_model.quant_conv.bias [9], expected [8]"]


def test_incomplete_report_refuses(full: dict[str, Tensor]) -> None:
    report = mapped({**full, "model.extra": torch.empty(2)}).report
    with pytest.raises(WeightsError, match=r"only in the file: model\.extra"):
        report.refuse(Path("some.ckpt"))


def test_another_size_is_refused() -> None:
    with pytest.raises(WeightsError, match="of another shape"):
        mapped(meta_tensors("small")).report.refuse(Path("small.ckpt"))


def test_another_architecture_is_refused() -> None:
    with pytest.raises(WeightsError, match="neither LD-ZNet's checkpoint nor Stable Diffusion's"):
        mapped({"clip.visual.conv1.weight": torch.empty(1), "film_mul.bias": torch.empty(1)})


def test_another_noise_schedule_is_refused(full: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match="another noise schedule"):
        mapped({**full, "alphas_cumprod": torch.linspace(1, 0, 1000)})
