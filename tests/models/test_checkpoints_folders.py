"""Weights from files and folders: the same weights give the same network however they are stored, and what is wrong with a folder is said."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from make_sd import (
    official_tensors,
    save_lightning,
    single_file_tensors,
    small_architecture,
    tiny_architecture,
    write_repository,
    write_segmenter,
)
from safetensors.torch import load_file, save_file
from torch import Tensor

from ldznet_bench.errors import BenchError, WeightsError
from ldznet_bench.models.sd import build_text_encoder, build_unet, build_vae
from ldznet_bench.models.segunet import SegmentationUNet
from ldznet_bench.models.weight_folders import MANIFEST, Bundle, convert, fill, load_tokenizer, open_bundle

TINY = tiny_architecture()
SMALL = small_architecture()
BUILD = {
    "unet": lambda part: build_unet(part.config),
    "vae": lambda part: build_vae(part.config),
    "text_encoder": lambda part: build_text_encoder(part.config),
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_repository(tmp_path_factory.mktemp("sd") / "sd", TINY.sd, sets="both")


@pytest.fixture(scope="module")
def single_file(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = save_lightning(single_file_tensors(repository, TINY.sd), tmp_path_factory.mktemp("file") / "sd-v1-4-full-ema.ckpt")
    shutil.copytree(repository / "tokenizer", path.parent / "tokenizer")
    return path


@pytest.fixture(scope="module")
def lightning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_lightning(official_tensors("small", "fanin"), tmp_path_factory.mktemp("ldznet") / "LDZNet_txt2mask.ckpt")


def state(bundle: Bundle, name: str) -> dict[str, Tensor]:
    return fill(lambda: BUILD[name](bundle.parts[name]), bundle.parts[name], name).state_dict()


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize("ldm", ["non-ema", "ema"])
def test_repository_and_single_file_are_the_same_networks(repository: Path, single_file: Path, part: str, ldm: str) -> None:
    folder = open_bundle(repository, ldm=ldm)
    file = open_bundle(single_file, ldm=ldm, architecture=TINY)
    assert same(state(folder, part), state(file, part))
    assert folder.parts["unet"].label == file.parts["unet"].label == ldm


def test_single_file_says_what_it_did_not_import(single_file: Path) -> None:
    bundle = open_bundle(single_file, architecture=TINY)
    assert "fractions.Fraction" in bundle.placeholders
    assert bundle.report.complete


def test_diffusers_converts_the_single_file_to_the_same_unet(repository: Path, single_file: Path) -> None:
    tensors = torch.load(single_file, weights_only=False)["state_dict"]
    config = {**TINY.sd.unet, "class_embed_type": None, "addition_embed_type": None, "num_class_embeds": None}
    assert same(convert_ldm_unet_checkpoint(dict(tensors), config), load_file(repository / "unet/diffusion_pytorch_model.non_ema.safetensors"))
    assert same(
        convert_ldm_unet_checkpoint(dict(tensors), config, extract_ema=True), load_file(repository / "unet/diffusion_pytorch_model.safetensors")
    )


def test_diffusers_converts_the_single_file_to_the_same_autoencoder(repository: Path, single_file: Path) -> None:
    tensors = torch.load(single_file, weights_only=False)["state_dict"]
    assert same(convert_ldm_vae_checkpoint(tensors, TINY.sd.vae), load_file(repository / "vae/diffusion_pytorch_model.safetensors"))


def test_a_folder_may_hold_the_checkpoint(single_file: Path) -> None:
    (single_file.parent / "architecture.json").write_text(json.dumps(TINY.to_json()))
    bundle = open_bundle(single_file.parent)
    assert set(bundle.parts) == {"unet", "vae", "text_encoder"}
    assert bundle.tokenizer == single_file.parent / "tokenizer"


def test_bin_files_are_read_too(repository: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(repository, old)
    file = old / "vae" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()
    assert same(state(open_bundle(old), "vae"), state(open_bundle(repository), "vae"))


def test_attention_names_of_old_diffusers_are_read(repository: Path, tmp_path: Path) -> None:
    """The hub's Stable Diffusion v1.4 has them in its VAE."""
    old = tmp_path / "old"
    shutil.copytree(repository / "vae", old / "vae")
    file = old / "vae" / "diffusion_pytorch_model.safetensors"
    renamed = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}
    tensors = {}
    for name, value in load_file(file).items():
        for new, before in renamed.items():
            name = name.replace(new, before)
        tensors[name] = value.clone()
    save_file(tensors, file)
    assert same(state(open_bundle(old), "vae"), state(open_bundle(repository), "vae"))


def test_weights_are_mapped_not_copied(repository: Path) -> None:
    unet = open_bundle(repository).parts["unet"]
    filled = fill(lambda: build_unet(unet.config), unet, "unet").state_dict()
    assert all(filled[name].data_ptr() == value.data_ptr() for name, value in unet.tensors.items())


def test_tokenizer_pads_nothing_and_ends_with_its_end_token(repository: Path) -> None:
    tokenizer = load_tokenizer(repository / "tokenizer")
    ids = tokenizer("a Cat")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id == TINY.sd.text["eos_token_id"]
    assert len(ids) == 6


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_conversion_leaves_nothing_over_and_loads(lightning: Path, tmp_path: Path) -> None:
    source = open_bundle(lightning, architecture=SMALL)
    convert(source, tmp_path / "ours")
    again = open_bundle(tmp_path / "ours")
    assert set(again.parts) == {"segmenter", "unet", "vae", "text_encoder"}
    for name in BUILD:
        assert same(state(again, name), state(source, name))
    network = fill(lambda: SegmentationUNet(SMALL.segmenter), again.parts["segmenter"], "network")
    assert same(network.state_dict(), dict(source.parts["segmenter"].tensors))


def test_conversion_again_gives_the_same_bytes(lightning: Path, tmp_path: Path) -> None:
    convert(open_bundle(lightning, architecture=SMALL), tmp_path / "first")
    convert(open_bundle(lightning, architecture=SMALL), tmp_path / "second")
    convert(open_bundle(tmp_path / "first"), tmp_path / "third")
    assert digests(tmp_path / "first") == digests(tmp_path / "second") == digests(tmp_path / "third")


def test_converted_stable_diffusion_keeps_its_label_and_tokenizer(single_file: Path, tmp_path: Path) -> None:
    convert(open_bundle(single_file, ldm="ema", architecture=TINY), tmp_path / "ours")
    bundle = open_bundle(tmp_path / "ours")
    assert bundle.parts["unet"].label == "ema"
    assert bundle.tokenizer == tmp_path / "ours" / "tokenizer"


def test_manifest_says_what_it_was_made_from(lightning: Path, tmp_path: Path) -> None:
    manifest = convert(open_bundle(lightning, architecture=SMALL), tmp_path / "ours")
    assert manifest["made_from"]["ldznet"]["sha256"] == hashlib.sha256(lightning.read_bytes()).hexdigest()
    assert manifest["parts"]["segmenter"]["weights"] == "ema"
    assert manifest["parts"]["segmenter"]["sha256"] == hashlib.sha256((tmp_path / "ours/segmenter/model.safetensors").read_bytes()).hexdigest()


def test_diffusers_reads_what_conversion_wrote(lightning: Path, tmp_path: Path) -> None:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    convert(open_bundle(lightning, architecture=SMALL), tmp_path / "ours")
    unet = UNet2DConditionModel.from_pretrained(tmp_path / "ours" / "unet", variant="non_ema", local_files_only=True)
    ours = open_bundle(tmp_path / "ours")
    assert same(unet.state_dict(), state(ours, "unet"))
    assert same(AutoencoderKL.from_pretrained(tmp_path / "ours" / "vae", local_files_only=True).state_dict(), state(ours, "vae"))
    assert same(CLIPTextModel.from_pretrained(tmp_path / "ours" / "text_encoder", local_files_only=True).state_dict(), state(ours, "text_encoder"))


def test_nan_weights_are_refused_by_name(tmp_path: Path) -> None:
    tensors = official_tensors("small", "fanin")
    tensors["first_stage_model.encoder.conv_in.bias"][0] = float("nan")
    path = save_lightning(tensors, tmp_path / "nan.ckpt")
    with pytest.raises(WeightsError, match=r"NaN or infinite values in encoder\.conv_in\.bias"):
        convert(open_bundle(path, architecture=SMALL), tmp_path / "ours")
    assert not (tmp_path / "ours").exists()
    assert not list(tmp_path.glob(".*"))


def test_checkpoint_of_another_size_is_refused_before_anything_is_written(lightning: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="of another shape"):
        convert(open_bundle(lightning), tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_existing_folder_is_not_overwritten(lightning: Path, tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "mine.txt").write_text("mine")
    with pytest.raises(BenchError, match="is there already"):
        convert(open_bundle(lightning, architecture=SMALL), tmp_path / "ours")


def test_truncated_file_of_ours_is_noticed_by_its_manifest(tmp_path: Path) -> None:
    folder = write_segmenter(tmp_path / "ours", TINY.segmenter)
    file = folder / "segmenter" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match="its manifest says"):
        open_bundle(folder)


def test_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    folder = write_segmenter(tmp_path / "ours", TINY.segmenter)
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "version": 99}))
    with pytest.raises(WeightsError, match="version 99"):
        open_bundle(folder)


def test_weights_of_another_config_are_listed(tmp_path: Path) -> None:
    folder = write_segmenter(tmp_path / "ours", TINY.segmenter)
    part = open_bundle(folder).parts["segmenter"]
    wider = dataclasses.replace(TINY.segmenter, image_size=256)
    with pytest.raises(WeightsError, match=r"positional_embedding 32x17, expected 32x65"):
        fill(lambda: SegmentationUNet(wider), part, "network")


@pytest.mark.parametrize("content", [None, "nothing"])
def test_folder_without_weights(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / "readme.txt").write_text(content)
    with pytest.raises(WeightsError, match="holds neither"):
        open_bundle(tmp_path)


def test_part_without_its_weights(repository: Path, tmp_path: Path) -> None:
    shutil.copytree(repository / "vae", tmp_path / "vae")
    (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"holds no diffusion_pytorch_model\.safetensors"):
        open_bundle(tmp_path)
