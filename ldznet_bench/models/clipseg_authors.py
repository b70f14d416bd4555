"""CLIPSeg as its authors published it: the decoder's weights alone, to be joined to OpenAI's CLIP ViT-B/16.

Source: timojl/clipseg, whose quickstart loads the file with ``strict=False`` over CLIP; transformers' network is the same one under other
names. Everything that the file does not say is its code's: taps after layers 3, 6 and 9 (counted from 0), 4 heads, the phrase at the first
decoder layer.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPSegConfig, CLIPSegForImageSegmentation

from ldznet_bench.atomic import replacing, write_json
from ldznet_bench.errors import BenchError, WeightsError
from ldznet_bench.models.checkpoints import Report
from ldznet_bench.models.clipseg_folder import EXTRA_TOKENIZER_FILES, TOKENIZER_FILES, WEIGHT_FILES, Published, build, read_tokenizer
from ldznet_bench.models.clipseg_pixels import IMAGENET_MEAN, IMAGENET_STD, PAPER_SIZE, HfPixels
from ldznet_bench.models.safe_checkpoint import read_checkpoint, read_tensors
from ldznet_bench.models.weight_folders import read_json

AUTHORS, CLIP = "clipseg-authors", "clip"  # the card's parts

_LAYERS = [3, 6, 9]
_HEADS = 4
_UNUSED = dict.fromkeys(("reduce.weight", "reduce.bias"), "a layer that the authors' network makes and never calls")
_ATTENTION = ("q_proj", "k_proj", "v_proj")
_NAMES = (("mlp.fc1", "linear1"), ("mlp.fc2", "linear2"), ("layer_norm", "norm"), ("transposed_convolution", "trans_conv"), ("layers.", "blocks."))
_TEXT = ("vocab_size", "max_position_embeddings", "bos_token_id", "eos_token_id", "pad_token_id")
_VISION = ("image_size", "patch_size", "num_channels")
_TOWER = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps")


@dataclass(frozen=True)
class Decoder:
    """The authors' file under transformers' names.

    Attributes:
        where: the file.
        config: of the whole network.
        tensors: ``decoder.film_mul.weight`` and so on.
        report: where every tensor of the file went.
    """

    where: Path
    config: CLIPSegConfig
    tensors: Mapping[str, Tensor]
    report: Report


def is_decoder(names: Mapping[str, Any]) -> bool:
    """Whether a checkpoint's names are those of the authors' decoder."""
    return {"film_mul.weight", "film_add.weight"} <= names.keys() and any(name.startswith("trans_conv.") for name in names)


def holds_decoder(path: Path) -> bool:
    """Whether a file is the authors' decoder.

    Raises:
        WeightsError: it is a file that cannot be read as a checkpoint.
    """
    return path.is_file() and is_decoder(read_checkpoint(path).tensors)


def decoder_file(path: Path) -> Path:
    """The file itself, or the only ``.pth`` in a folder.

    Raises:
        WeightsError: the folder holds none, or several.
    """
    if not path.is_dir():
        return path
    files = sorted(path.glob("*.pth"))
    if len(files) != 1:
        raise WeightsError(f"{path} holds {len(files)} .pth files.", "Name the file: --weights clipseg-authors=rd64-uni-refined.pth.")
    return files[0]


def report_of(path: Path, clip: Path | None) -> Report:
    """Where every tensor of the authors' file goes; sizes of ViT-B/16 without a folder of CLIP.

    Raises:
        WeightsError: as `read_decoder`.
    """
    return read_decoder(path, None if clip is None else _clip_files(clip)[1]).report


def read_decoder(path: Path, clip: CLIPConfig | None = None) -> Decoder:
    """Give every tensor of the authors' file its place.

    Args:
        path: ``rd64-uni-refined.pth``, ``rd64-uni.pth``, ``rd16-uni.pth``, or a folder with one of them.
        clip: sizes of the CLIP that it was trained on; ViT-B/16 by default.

    Returns:
        Its tensors, and the report; call `Report.refuse` before using them.

    Raises:
        WeightsError: it cannot be read, or is no such file.
    """
    where = decoder_file(path)
    tensors = read_tensors(where)
    if not is_decoder(tensors):
        raise WeightsError(
            f"{where} is no decoder of CLIPSeg's authors: it holds {', '.join(list(tensors)[:4])}.",
            "Expected film_mul, film_add, reduces, blocks and trans_conv, as in rd64-uni-refined.pth.",
        )
    config = _config(tensors, clip or CLIPConfig(vision_config={"patch_size": 16}))
    return _map(where, config, tensors)


def _config(tensors: Mapping[str, Tensor], clip: CLIPConfig) -> CLIPSegConfig:
    """Transformers' configuration: the towers as CLIP's, the decoder's sizes as the file's shapes say."""
    towers = ((clip.text_config, _TEXT), (clip.vision_config, _VISION))
    text, vision = ({key: getattr(tower, key) for key in (*_TOWER, *own)} for tower, own in towers)
    inner = tensors.get("blocks.0.linear1.weight")
    return CLIPSegConfig(
        text_config=text,
        vision_config=vision,
        projection_dim=clip.projection_dim,
        extract_layers=list(_LAYERS),
        reduce_dim=len(tensors["film_mul.weight"]),
        decoder_num_attention_heads=_HEADS,
        decoder_intermediate_size=2048 if inner is None else len(inner),
        conditional_layer=0,
        use_complex_transposed_convolution="trans_conv.weight" not in tensors,
    )


def _map(where: Path, config: CLIPSegConfig, tensors: Mapping[str, Tensor]) -> Decoder:
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in CLIPSegForImageSegmentation(config).decoder.state_dict().items()}
    found: dict[str, Tensor] = {}
    missing, misshapen, used = [], [], set()
    for ours, shape in expected.items():
        theirs, third = official_decoder_name(ours)
        whole = (3 * shape[0], *shape[1:]) if third is not None else shape
        if theirs not in tensors:
            missing.append((theirs, whole))
        elif tuple(tensors[theirs].shape) != whole:
            misshapen.append((theirs, tuple(tensors[theirs].shape), whole))
        else:
            found[f"decoder.{ours}"] = tensors[theirs] if third is None else tensors[theirs].chunk(3)[third]
        used.add(theirs)
    left = [name for name in tensors if name not in used]
    report = Report(
        kind="clipseg-decoder",
        used={"decoder": len(used & tensors.keys())},
        labels={},
        set_aside={reason: names for reason in set(_UNUSED.values()) if (names := tuple(name for name in left if name in _UNUSED))},
        unmatched=tuple((name, tuple(tensors[name].shape)) for name in left if name not in _UNUSED),
        missing=tuple(dict.fromkeys(missing)),
        misshapen=tuple(dict.fromkeys(misshapen)),
        absent=("CLIP ViT-B/16, which these weights are joined to",),
    )
    return Decoder(where, config, found, report)


def official_decoder_name(name: str) -> tuple[str, int | None]:
    """A name in transformers' decoder as the authors have it, and which third of that tensor it is (query, key, value), if it is one."""
    head, dot, last = name.rpartition(".")
    for third, projection in enumerate(_ATTENTION):
        if head.endswith(f"self_attn.{projection}"):
            return f"{_renamed(head.removesuffix(projection))}in_proj_{last}", third
    return _renamed(head) + dot + last, None


def _renamed(name: str) -> str:
    for ours, theirs in _NAMES:
        name = name.replace(ours, theirs)
    return name


def read_authors(decoder: Path, clip: Path) -> Published:
    """The authors' decoder joined to CLIP.

    Args:
        decoder: the authors' file.
        clip: a folder with CLIP ViT-B/16 as transformers has it: config.json, weights and tokenizer.

    Raises:
        WeightsError: either is missing, damaged, or of another architecture.
    """
    files, config = _clip_files(clip)
    found = read_decoder(decoder, config)
    found.report.refuse(found.where)
    weights = next(files[name] for name in WEIGHT_FILES if name in files)
    towers = {f"clip.{name}": tensor for name, tensor in read_tensors(weights).items()}
    both = {**towers, **found.tensors}
    model = build(found.config, both, weights)
    named = {"decoder": found.where, **{f"clip/{name}": path for name, path in files.items()}}
    return Published(model, read_tokenizer(clip, config.text_config), processor(), named)


def processor() -> HfPixels:
    """What transformers publishes beside each CLIPSeg, the authors' files having no processor of their own."""
    return HfPixels(PAPER_SIZE, int(Image.Resampling.BILINEAR), 1 / 255, IMAGENET_MEAN, IMAGENET_STD)


def _clip_files(folder: Path) -> tuple[dict[str, Path], CLIPConfig]:
    if not folder.is_dir():
        raise WeightsError(f"{folder} is not a folder.", "Give the folder of openai/clip-vit-base-patch16: --weights clip=DIR.")
    tokens = next((names for names in TOKENIZER_FILES if all((folder / name).is_file() for name in names)), ())
    weights = [name for name in WEIGHT_FILES if (folder / name).is_file()][:1]
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    missing += [] if weights else [" or ".join(WEIGHT_FILES)]
    missing += [] if tokens else ["the tokenizer: tokenizer.json, or vocab.json and merges.txt"]
    if missing:
        raise WeightsError(f"{folder} lacks {'; '.join(missing)}.", "Fetch openai/clip-vit-base-patch16: `ldznet-bench download clipseg/authors`.")
    extra = [name for name in EXTRA_TOKENIZER_FILES if (folder / name).is_file()]
    return {name: folder / name for name in ("config.json", *weights, *tokens, *extra)}, _clip_config(folder / "config.json")


def _clip_config(path: Path) -> CLIPConfig:
    values = read_json(path)
    kind = values.get("model_type") if isinstance(values, dict) else None
    if kind != "clip":
        raise WeightsError(f"{path} is for a model of type {kind!r}, not 'clip'.", "Give the folder of openai/clip-vit-base-patch16.")
    try:
        config = CLIPConfig.from_dict(values)
    except (ValueError, TypeError, AttributeError, StrictDataclassError) as error:
        raise WeightsError(f"{path} cannot be read: {error}.", "Fetch it again.") from error
    vision: Any = config.vision_config
    layers = vision.num_hidden_layers
    if layers <= max(_LAYERS):
        raise WeightsError(f"{path} is of an image tower with {layers} layers; CLIPSeg reads layers {_LAYERS}.", "Give ViT-B/16.")
    return config


def convert_authors(decoder: Path, clip: Path, target: Path) -> None:
    """Write the authors' decoder and CLIP as one folder that `read_folder` (and transformers) loads. It appears whole, or not at all.

    Raises:
        WeightsError: as `read_authors`.
        BenchError: the target is there already, or cannot be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BenchError(f"{target} is there already.", "Give a new folder.")
    found = read_authors(decoder, clip)
    aside = target.with_name(f".{target.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        write_json(aside / "config.json", {**found.model.config.to_dict(), "architectures": ["CLIPSegForImageSegmentation"]})
        write_json(aside / "preprocessor_config.json", _preprocessor())
        for name, path in _tokenizer_files(found.files):
            with replacing(aside / name) as temporary:
                shutil.copyfile(path, temporary)
        with replacing(aside / "model.safetensors") as temporary:
            save_file({name: value.contiguous() for name, value in found.model.state_dict().items()}, temporary, metadata={"format": "pt"})
        if target.exists():
            target.rmdir()
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _tokenizer_files(files: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    known = {*EXTRA_TOKENIZER_FILES, *(name for names in TOKENIZER_FILES for name in names)}
    return ((path.name, path) for path in files.values() if path.name in known)


def _preprocessor() -> dict[str, Any]:
    pixels = processor()
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": pixels.size, "width": pixels.size},
        "resample": pixels.resample,
        "do_rescale": True,
        "rescale_factor": pixels.scale,
        "do_normalize": True,
        "image_mean": list(IMAGENET_MEAN),
        "image_std": list(IMAGENET_STD),
    }
