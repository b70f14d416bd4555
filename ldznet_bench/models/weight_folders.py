"""Where a diffusion model's weights come from: one file, a diffusers repository, or our own folder; and how our own folder is written.

Our own format is a diffusers repository (``unet/``, ``vae/``, ``text_encoder/``, ``scheduler/``, ``tokenizer/``) with ``segmenter/`` beside it,
safetensors throughout, and a ``manifest.json`` that says what it was made from and what each file hashes to. Any of the parts may be absent: a
checkpoint of a segmentation network alone becomes a folder with ``segmenter/`` alone.

Weights are memory-mapped and put into modules made on the meta device, so that loading makes no second copy of anything.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import init_empty_weights
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTokenizer

from ldznet_bench.atomic import replacing, write_json
from ldznet_bench.errors import BenchError, WeightsError
from ldznet_bench.models.checkpoints import Architecture, LdmWeights, Report, SegmenterWeights, map_official, squeezed
from ldznet_bench.models.official_names import modern_vae_name, official_text_name
from ldznet_bench.models.safe_checkpoint import read_checkpoint
from ldznet_bench.models.sd import SDConfig
from ldznet_bench.models.segunet import SegUNetConfig
from ldznet_bench.models.weights import check_finite, check_shapes

MANIFEST = "manifest.json"
ARCHITECTURE = "architecture.json"  # beside a checkpoint that is not full size: what it should hold
FORMAT = "ldznet_bench.weights"
FORMAT_VERSION = 1

PARTS = ("segmenter", "unet", "vae", "text_encoder")
_CLASSES = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
_STEMS = {"segmenter": "model", "unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
_BIN_STEMS = {**_STEMS, "text_encoder": "pytorch_model"}
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


@dataclass(frozen=True)
class Part:
    """One network's weights.

    Attributes:
        config: what its module is built from.
        tensors: under our names, memory-mapped.
        label: which of several sets: ``ema``, ``non-ema``, ``raw``, ``unlabelled``, or empty where there is one.
        where: the file.
        files: name to path of everything that decides its scores, for hashing.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    label: str
    where: Path
    files: Mapping[str, Path]


@dataclass(frozen=True)
class Bundle:
    """What a file or folder of weights offers.

    Attributes:
        where: as the user gave it.
        parts: by name, of `PARTS`; any may be absent. Loading takes them out, so that their file can be unmapped.
        schedule: ``beta_start``, ``beta_end`` and ``steps``.
        tokenizer: folder of the tokenizer's files, or None.
        report: where a checkpoint's tensors went; None for folders.
        placeholders: globals that a checkpoint's pickle named and that were not imported.
        manifest: of our own folders; None elsewhere.
    """

    where: Path
    parts: dict[str, Part]
    schedule: Mapping[str, float] = field(default_factory=dict)
    tokenizer: Path | None = None
    report: Report | None = None
    placeholders: tuple[str, ...] = ()
    manifest: Mapping[str, Any] | None = None


def open_bundle(path: Path, *, ldm: LdmWeights = "non-ema", segmenter: SegmenterWeights = "ema", architecture: Architecture | None = None) -> Bundle:
    """Open weights without reading them.

    Args:
        path: an official checkpoint, a folder that holds one, a diffusers repository, or our own folder.
        ldm: which of two sets of diffusion weights to take.
        segmenter: which of two sets of segmentation weights to take.
        architecture: of a checkpoint that is not full size.

    Raises:
        WeightsError: nothing usable is there.
    """
    if path.is_file():
        return _open_checkpoint(path, ldm, segmenter, architecture)
    if not path.is_dir():
        raise WeightsError(f"there is nothing at {path}.", "Check the path, or fetch it with `ldznet-bench download`.")
    tokenizer = tokenizer_folder(path)
    manifest = _read_manifest(path)
    found = {name: part for name in PARTS if (part := _folder_part(path / name, name, ldm, manifest)) is not None}
    if found:
        return Bundle(path, found, _schedule(path / "scheduler" / "scheduler_config.json"), tokenizer, manifest=manifest)
    files = sorted(file for file in path.iterdir() if file.suffix in (".ckpt", ".safetensors", ".pt", ".pth"))
    if len(files) != 1:
        raise WeightsError(
            f"{path} holds neither unet/, vae/, text_encoder/ or segmenter/ nor one checkpoint (but {len(files)} files that could be one).",
            "Give a diffusers repository, a folder that `ldznet-bench convert` wrote, or the checkpoint itself.",
        )
    if architecture is None and (path / ARCHITECTURE).is_file():
        architecture = Architecture.from_json(read_json(path / ARCHITECTURE))
    bundle = _open_checkpoint(files[0], ldm, segmenter, architecture)
    return Bundle(path, bundle.parts, bundle.schedule, tokenizer or bundle.tokenizer, bundle.report, bundle.placeholders)


def _open_checkpoint(path: Path, ldm: LdmWeights, segmenter: SegmenterWeights, architecture: Architecture | None) -> Bundle:
    architecture = architecture or Architecture()
    checkpoint = read_checkpoint(path)
    mapped = map_official(checkpoint, architecture, ldm, segmenter)
    configs = {"segmenter": architecture.segmenter.to_json(), **{name: getattr(architecture.sd, name) for name in ("unet", "vae")}}
    configs["text_encoder"] = architecture.sd.text
    parts = {
        name: Part(configs[name], tensors, mapped.report.labels[name], path, {mapped.report.kind: path}) for name, tensors in mapped.parts.items()
    }
    schedule = {"beta_start": architecture.sd.beta_start, "beta_end": architecture.sd.beta_end, "steps": architecture.sd.steps}
    return Bundle(path, parts, schedule, tokenizer_folder(path.parent), mapped.report, checkpoint.placeholders)


def _folder_part(folder: Path, name: str, ldm: LdmWeights, manifest: Mapping[str, Any] | None) -> Part | None:
    if not folder.is_dir():
        return None
    file, label = _weights_file(folder, name, ldm)
    if manifest is not None:
        label = _listed(manifest, folder, file)
    config = read_json(folder / "config.json")
    tensors = {_our_name(name, theirs): value for theirs, value in read_checkpoint(file).tensors.items() if not theirs.endswith("position_ids")}
    return Part(config, tensors, label, file, {f"{name}/{path.name}": path for path in (file, folder / "config.json")})


def _weights_file(folder: Path, name: str, ldm: LdmWeights) -> tuple[Path, str]:
    """The weights of a part and their label. CompVis' repository has the EMA weights in the default file and the others as a variant."""
    plain, variant = _either(folder, name, ""), _either(folder, name, ".non_ema") if name == "unet" else None
    if variant is not None and (ldm == "non-ema" or plain is None):
        return variant, "non-ema"
    if plain is None:
        raise WeightsError(
            f"{folder} holds no {_STEMS[name]}.safetensors or {_BIN_STEMS[name]}.bin.",
            "Sharded weights and other variants are not read: save them as one file.",
        )
    return plain, ("ema" if variant is not None else "unlabelled") if name == "unet" else ""


def _either(folder: Path, name: str, variant: str) -> Path | None:
    files = (folder / f"{_STEMS[name]}{variant}.safetensors", folder / f"{_BIN_STEMS[name]}{variant}.bin")
    return next((file for file in files if file.is_file()), None)


def _our_name(part: str, theirs: str) -> str:
    """Names of older libraries brought up to date; transformers 4 and 5 differ in a prefix, which `fill` puts back where it is wanted."""
    if part == "vae":
        return modern_vae_name(theirs)
    return theirs.removeprefix("text_model.") if part == "text_encoder" else theirs


def fill(build: Callable[[], nn.Module], part: Part, network: str) -> Any:  # noqa: ANN401 - the module that `build` makes
    """A module with a part's weights, in evaluation mode, without gradients, still memory-mapped.

    Bits of its results depend on where in the file the weights lie (matrix products round otherwise at another alignment to 64 bytes), which
    is a rounding as from another micro-batch: 4e-5 of the logits' standard deviation between a single file and a repository, measured.

    Raises:
        WeightsError: names or shapes differ; they are listed.
    """
    with init_empty_weights():
        module = build()
    expected = module.state_dict()
    prefix = "text_model." if any(name.startswith("text_model.") for name in expected) else ""
    named = {prefix + name: value for name, value in part.tensors.items()}
    found = {name: squeezed(value, tuple(expected[name].shape)) if name in expected else value for name, value in named.items()}
    check_shapes(found, expected, part.where, network)
    module.load_state_dict(found, assign=True)
    return module.eval().requires_grad_(False)


def tokenizer_folder(folder: Path) -> Path | None:
    """The tokenizer in or under a folder."""
    for place in (folder / "tokenizer", folder):
        if (place / "tokenizer.json").is_file() or ((place / "vocab.json").is_file() and (place / "merges.txt").is_file()):
            return place
    return None


def tokenizer_files(folder: Path) -> dict[str, Path]:
    """The tokenizer's files, for hashing."""
    return {f"tokenizer/{name}": folder / name for name in _TOKENIZER_FILES if (folder / name).is_file()}


def load_tokenizer(folder: Path) -> Any:  # noqa: ANN401 - transformers has no types for it
    """CLIP's tokenizer from a local folder.

    Raises:
        WeightsError: the files are damaged.
    """
    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"the tokenizer in {folder} cannot be read: {error}.", "Expected vocab.json and merges.txt, or tokenizer.json, of CLIP."
        ) from error


def read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """A JSON file.

    Raises:
        WeightsError: missing, or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}.", "The folder is incomplete; fetch or convert it again.") from error


def _schedule(path: Path) -> dict[str, float]:
    values = read_json(path) if path.is_file() else {}
    if values.get("beta_schedule", "scaled_linear") != "scaled_linear":
        raise WeightsError(f"{path} has the schedule {values['beta_schedule']!r}.", "Only Stable Diffusion v1's scaled_linear is known here.")
    default = SDConfig()
    return {
        "beta_start": values.get("beta_start", default.beta_start),
        "beta_end": values.get("beta_end", default.beta_end),
        "steps": values.get("num_train_timesteps", default.steps),
    }


def _read_manifest(folder: Path) -> Mapping[str, Any] | None:
    path = folder / MANIFEST
    if not path.is_file():
        return None
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        return None
    if manifest.get("version") != FORMAT_VERSION:
        raise WeightsError(f"{path} has version {manifest.get('version')}, this program reads {FORMAT_VERSION}.", "Convert the checkpoint again.")
    return manifest


def _listed(manifest: Mapping[str, Any], folder: Path, file: Path) -> str:
    """The label of a file of ours, after a look at its size."""
    entry = manifest["parts"].get(folder.name)
    if entry is None or entry["file"] != f"{folder.name}/{file.name}":
        raise WeightsError(f"{file} is not what {folder.parent / MANIFEST} lists.", "Convert the checkpoint again, into a new folder.")
    if entry["bytes"] != file.stat().st_size:
        raise WeightsError(f"{file} has {file.stat().st_size:,} bytes, its manifest says {entry['bytes']:,}.", "It is truncated: convert again.")
    return str(entry["weights"])


def write_folder(target: Path, bundle: Bundle, made_from: Mapping[str, Any]) -> dict[str, Any]:
    """Write our own format. The folder appears whole, or not at all; the same weights give the same bytes.

    Args:
        target: must not exist, or be empty.
        bundle: what to write.
        made_from: for the manifest.

    Returns:
        The manifest.

    Raises:
        WeightsError: a tensor holds NaN or infinity.
        BenchError: the target is not empty, or cannot be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BenchError(f"{target} is there already.", "Give a new folder.")
    aside = target.with_name(f".{target.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        parts = {name: _write_part(aside / name, name, part) for name, part in bundle.parts.items()}
        if "unet" in parts:
            values = {"_class_name": "PNDMScheduler", "beta_schedule": "scaled_linear", "prediction_type": "epsilon"}
            steps = {"beta_start": bundle.schedule["beta_start"], "beta_end": bundle.schedule["beta_end"]}
            write_json(aside / "scheduler" / "scheduler_config.json", {**values, **steps, "num_train_timesteps": bundle.schedule["steps"]})
        if bundle.tokenizer is not None:
            for name, file in tokenizer_files(bundle.tokenizer).items():
                with replacing(aside / name) as temporary:
                    shutil.copyfile(file, temporary)
        manifest = {"format": FORMAT, "version": FORMAT_VERSION, "made_from": dict(made_from), "parts": parts}
        write_json(aside / MANIFEST, manifest)
        if target.exists():
            target.rmdir()
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return manifest


def _write_part(folder: Path, name: str, part: Part) -> dict[str, Any]:
    check_finite(part.tensors, part.where)
    variant = ".non_ema" if name == "unet" and part.label == "non-ema" else ""
    path = folder / f"{_STEMS[name]}{variant}.safetensors"
    write_json(folder / "config.json", {**({"_class_name": _CLASSES[name]} if name in _CLASSES else {}), **_plain(part.config)})
    with replacing(path) as temporary:
        save_file(dict(_for_file(name, part)), temporary, metadata={"format": "pt"})
        digest = _sha256(temporary)
    return {
        "file": f"{name}/{path.name}",
        "bytes": path.stat().st_size,
        "sha256": digest,
        "weights": part.label,
        "tensors": len(part.tensors),
        "parameters": sum(value.numel() for value in part.tensors.values()),
    }


def _for_file(name: str, part: Part) -> Iterator[tuple[str, Tensor]]:
    for ours, value in part.tensors.items():
        yield (official_text_name(ours) if name == "text_encoder" else ours), value.contiguous()


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in config.items() if not key.startswith("_")}


def convert(source: Bundle, target: Path, tokenizer: Path | None = None) -> dict[str, Any]:
    """Write whatever a bundle holds in our own format.

    Args:
        source: of `open_bundle`.
        target: a new folder.
        tokenizer: a folder with CLIP's tokenizer, where the source has none.

    Returns:
        The manifest.

    Raises:
        WeightsError: the source does not fit, or holds NaN.
        BenchError: the target is there already, or cannot be written.
    """
    if source.report is not None:
        source.report.refuse(source.where)
    if source.manifest is not None:
        made_from = source.manifest["made_from"]
    else:
        files = {name: path for part in source.parts.values() for name, path in part.files.items()}
        made_from = {name: {"file": path.name, "bytes": path.stat().st_size, "sha256": _sha256(path)} for name, path in sorted(files.items())}
    return write_folder(target, dataclasses.replace(source, tokenizer=source.tokenizer or tokenizer), made_from)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def segmenter_config(part: Part) -> SegUNetConfig:
    """The segmentation network's config of a part."""
    return SegUNetConfig.from_json(part.config)
