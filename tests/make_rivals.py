"""Write the rivals' folders with seeded random weights, as `save_pretrained` leaves them: nothing can be downloaded where tests run.

    python tests/make_rivals.py sam3 DIR [--size tiny|full] [--seed 0]

`full` is the published size, `tiny` the same build in a fraction of a second. Kinds: the keys of `MAKERS`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from make_clipseg import BOS, EOS, make_vocabulary
from transformers import CLIPTokenizer, Sam3Config, Sam3Model

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}


def write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2))


def write_square(folder: Path, kind: str, side: int, *, resample: int = 2, **values: Any) -> None:
    """preprocessor_config.json of a processor that squashes to a square."""
    common = {"do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255, "resample": resample}
    write_json(folder / "preprocessor_config.json", {"image_processor_type": kind, **common, "size": {"height": side, "width": side}, **values})


def write_clip_tokenizer(folder: Path, vocabulary: int, limit: int) -> None:
    words, merges = make_vocabulary(vocabulary)
    CLIPTokenizer(vocab=words, merges=merges, bos_token=BOS, eos_token=EOS, model_max_length=limit).save_pretrained(folder)


def shake(model: torch.nn.Module, seed: int) -> None:
    """Biases that are not 0, which would hide one that gets lost."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and name.endswith("bias"):
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))


def sam3_config(size: str) -> Sam3Config:
    if size == "full":
        return Sam3Config()
    part = {"hidden_size": 32, "num_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    backbone = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 112, "patch_size": 14}
    return Sam3Config(
        vision_config={
            "backbone_config": {"model_type": "sam3_vit_model", **backbone, "window_size": 4, "global_attn_indexes": [1], "pretrain_image_size": 56},
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        },
        text_config={
            "model_type": "clip_text_model",
            "vocab_size": 640,
            "hidden_size": 24,
            "intermediate_size": 48,
            "projection_dim": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 32,
            "hidden_act": "gelu",
            "bos_token_id": 638,
            "eos_token_id": 639,
        },
        geometry_encoder_config={**part, "num_layers": 1},
        detr_encoder_config=part,
        detr_decoder_config={**part, "num_queries": 12},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 4},
    )


def write_sam3(folder: Path, *, size: str = "tiny", seed: int = 0) -> Path:
    """SAM 3; instances of a tiny one have scores on both sides of the threshold."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    config = sam3_config(size)
    model = Sam3Model(config).eval()
    shake(model, seed)
    if size == "tiny":
        with torch.no_grad():
            for parameter in (model.mask_decoder.semantic_projection.weight, model.mask_decoder.mask_embedder.layers[-1].weight):
                parameter.mul_(40)
            model.detr_encoder.layers[0].cross_attn.o_proj.weight.mul_(20)
            model.dot_product_scoring.query_proj.weight.mul_(60)
            model.detr_decoder.presence_head.layer3.bias.add_(6)
    model.save_pretrained(folder)
    text = config.text_config
    write_clip_tokenizer(folder, text.vocab_size, text.max_position_embeddings)
    write_square(folder, "Sam3ImageProcessorFast", config.vision_config.backbone_config.image_size, **HALF)
    return folder


MAKERS: dict[str, Callable[..., Path]] = {"sam3": write_sam3}


def write_parts(folder: Path) -> dict[str, Path]:
    """A tiny folder of every kind."""
    return {kind: write(folder / kind) for kind, write in MAKERS.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=sorted(MAKERS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=("tiny", "full"), default="tiny")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    MAKERS[arguments.kind](arguments.folder, size=arguments.size, seed=arguments.seed)
    print(f"wrote {arguments.folder}: {', '.join(sorted(path.name for path in arguments.folder.iterdir()))}")


if __name__ == "__main__":
    main()
