"""The weights that the package carries: what a suite published, in half precision, as ``baselines/mini/`` holds it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ldznet_bench.atomic import dump_json, replacing, write_bytes
from ldznet_bench.errors import BenchError
from ldznet_bench.models.weight_folders import Bundle, Part, open_bundle, write_folder
from ldznet_bench.training.recipe import Suite, load_recipe

SD = "sd"  # the frozen networks, together in one folder as Stable Diffusion's are
_FROZEN = ("autoencoder", "clip", "ldm")


def bundle_name(recipe: str) -> str:
    """Folder of a recipe's weights in the package: ``znet`` for ``mini-znet``."""
    return recipe.split("-", 1)[1]


def write_bundle(suite: Suite, published: Mapping[str, Path], target: Path) -> dict[str, int]:
    """Write a suite's bundled weights.

    Args:
        suite: names what is bundled.
        published: folder by recipe, of the trainings.
        target: the folder to make; must not exist.

    Returns:
        Bytes by folder.

    Raises:
        BenchError: the target is there already, or a training is missing.
    """
    if target.exists():
        raise BenchError(f"{target} is there already.", "Give a new folder.")
    missing = [name for name in suite.bundled if name not in published]
    if missing:
        raise BenchError(f"{suite.name} bundles {', '.join(missing)}, which was not trained.", "Train the whole suite.")
    aside = target.with_name(f".{target.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    frozen = {name: published[name] for name in suite.bundled if load_recipe(name).network in _FROZEN}
    _write_frozen(aside / SD, frozen)
    for name in suite.bundled:
        if name not in frozen:
            _write_one(aside / bundle_name(name), published[name])
    aside.rename(target)
    return {place.name: sum(file.stat().st_size for file in place.rglob("*") if file.is_file()) for place in sorted(target.iterdir())}


def _write_frozen(target: Path, folders: Mapping[str, Path]) -> None:
    parts: dict[str, Part] = {}
    made_from: dict[str, Any] = {}
    tokenizer = None
    schedule: Mapping[str, float] = {}
    for name, folder in folders.items():
        bundle = open_bundle(folder)
        parts |= {key: _half(part) for key, part in bundle.parts.items()}
        made_from[name] = dict(bundle.manifest or {}).get("made_from", {})
        tokenizer = bundle.tokenizer or tokenizer
        schedule = bundle.schedule if "unet" in bundle.parts else schedule
    write_folder(target, Bundle(target, parts, schedule, tokenizer), made_from)


def _write_one(target: Path, folder: Path) -> None:
    bundle = None if (folder / "preprocessor_config.json").is_file() else open_bundle(folder)
    if bundle is None:
        _half_folder(folder, target, json.loads((folder / "manifest.json").read_text(encoding="utf-8")))
        return
    parts = {key: _half(part) for key, part in bundle.parts.items()}
    write_folder(target, Bundle(target, parts, bundle.schedule, None), dict(bundle.manifest or {}).get("made_from", {}))


def _half(part: Part) -> Part:
    tensors = {name: value.to(torch.float16) if value.is_floating_point() else value for name, value in part.tensors.items()}
    return Part(part.config, tensors, part.label, part.where, part.files)


def _half_folder(source: Path, target: Path, manifest: Mapping[str, Any]) -> None:
    """A folder of transformers' with its weights halved."""
    target.mkdir(parents=True)
    for file in sorted(source.iterdir()):
        if file.suffix == ".safetensors":
            halved = {name: value.to(torch.float16) if value.is_floating_point() else value for name, value in load_file(file).items()}
            with replacing(target / file.name) as temporary:
                save_file(halved, temporary, metadata={"format": "pt"})
        elif file.is_file() and file.name != "manifest.json":
            write_bytes(target / file.name, file.read_bytes())
    write_bytes(target / "manifest.json", dump_json({"made_from": manifest.get("made_from", {})}).encode())
