"""Write the rivals' folders with seeded random weights, as `save_pretrained` leaves them: nothing can be downloaded where tests run.

    python tests/make_rivals.py sam3 DIR [--size tiny|full] [--seed 0]

`full` is the published size, `tiny` the same build in a fraction of a second. Kinds: the keys of `MAKERS`.
"""

from __future__ import annotations

import argparse
import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from make_clipseg import BOS, EOS, byte_alphabet, make_vocabulary
from transformers import (
    BartTokenizer,
    BertTokenizer,
    CLIPTokenizer,
    Florence2Config,
    Florence2ForConditionalGeneration,
    GenerationConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    OmDetTurboConfig,
    OmDetTurboForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Sam2Config,
    Sam2Model,
    Sam3Config,
    Sam3Model,
    SamConfig,
    SamHQConfig,
    SamHQModel,
    SamModel,
)

CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
FLORENCE2_TOKENS = ("<sep>", "<poly>", "</poly>", *(f"<loc_{number}>" for number in range(1000)), "<image>")
# Where BERT's vocabulary has the tokens that GroundingDINO knows by number.
BERT_IDS = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
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


def write_bert_tokenizer(folder: Path, vocabulary: int) -> None:
    """Word pieces of one and two letters, with BERT's own numbers for what GroundingDINO cuts a text at."""
    letters = string.ascii_lowercase
    pieces = [
        *letters,
        *(f"##{one}" for one in letters),
        *(a + b for a in letters for b in letters),
        *string.digits,
        *string.punctuation.replace(".", "").replace("?", ""),
    ]
    free = iter([*pieces, *(f"[unused{number}]" for number in range(vocabulary))])
    words = {BERT_IDS.get(number) or next(free): number for number in range(vocabulary)}
    BertTokenizer(vocab=words, model_max_length=512).save_pretrained(folder)


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


def dino_config(kind: type, size: str) -> Any:
    """Both GroundingDINOs: Swin-T and BERT-base, or a tiny build."""
    if size == "full":
        return kind(
            backbone_config={
                "model_type": "swin",
                "window_size": 7,
                "image_size": 224,
                "embed_dim": 96,
                "depths": [2, 2, 6, 2],
                "num_heads": [3, 6, 12, 24],
                "out_indices": [2, 3, 4],
            }
        )
    swin = {
        "model_type": "swin",
        "image_size": 32,
        "patch_size": 4,
        "embed_dim": 8,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 1, 2, 2],
        "window_size": 4,
    }
    bert = {"model_type": "bert", "vocab_size": 1100, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_layers": 2, "decoder_layers": 2}
    sizes = {"d_model": 32, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "num_queries": 12, "max_text_len": 24}
    return kind(backbone_config={**swin, "out_indices": [2, 3, 4]}, text_config=bert, **heads, **sizes)


def write_dino(folder: Path, *, size: str = "tiny", seed: int = 0, kind: str = "grounding-dino") -> Path:
    """GroundingDINO or MM-GroundingDINO; a tiny one finds boxes of which some stick out of the image."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    configs = {"grounding-dino": (GroundingDinoConfig, GroundingDinoForObjectDetection)}
    configs["mm-grounding-dino"] = (MMGroundingDinoConfig, MMGroundingDinoForObjectDetection)
    make_config, network = configs[kind]
    config = dino_config(make_config, size)
    model = network(config).eval()
    if size == "tiny":
        shake(model, seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "bbox_embed" in name and "layers.2" in name:  # DETRs begin with boxes that do not move
                    parameter.add_(torch.randn(parameter.shape, generator=generator) * (0.3 if parameter.ndim > 1 else 0.5))
                if "class_embed" in name and parameter.numel() == 1:
                    parameter.fill_(-1.6)
            if kind == "grounding-dino":  # its scores have no bias: queries are turned away from the text, which gives them one
                text = model.model(torch.zeros(1, 3, 80, 80), torch.tensor([[101, 1, 2, 1012, 102]])).encoder_last_hidden_state_text[0].mean(0)
                model.model.decoder.layer_norm.weight.mul_(0.5)
                model.model.decoder.layer_norm.bias.sub_(2.2 * text / text.norm() ** 2)
    model.save_pretrained(folder)
    write_bert_tokenizer(folder, config.text_config.vocab_size)
    edges = {"shortest_edge": 800, "longest_edge": 1333} if size == "full" else {"shortest_edge": 80, "longest_edge": 128}
    write_square(folder, "GroundingDinoImageProcessor", 1, **IMAGENET, do_pad=True, format="coco_detection")
    values = json.loads((folder / "preprocessor_config.json").read_text())
    write_json(folder / "preprocessor_config.json", {**values, "size": edges})
    return folder


def write_mm_dino(folder: Path, **options: Any) -> Path:
    return write_dino(folder, kind="mm-grounding-dino", **options)


def owlv2_config(size: str) -> Owlv2Config:
    if size == "full":
        return Owlv2Config(vision_config={"image_size": 960})
    text = {"vocab_size": 640, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {"image_size": 64, "patch_size": 16, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return Owlv2Config(text_config={**text, "bos_token_id": 638, "eos_token_id": 639}, vision_config=vision, projection_dim=16)


def write_owlv2(folder: Path, *, size: str = "tiny", seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    config = owlv2_config(size)
    model = Owlv2ForObjectDetection(config).eval()
    if size == "tiny":
        shake(model, seed)
        with torch.no_grad():
            model.class_head.logit_shift.weight.mul_(20)
            model.box_head.dense2.weight.mul_(8)
    model.save_pretrained(folder)
    write_clip_tokenizer(folder, config.text_config.vocab_size, config.text_config.max_position_embeddings)
    write_square(folder, "Owlv2ImageProcessor", config.vision_config.image_size, **CLIP, do_pad=True)
    return folder


def omdet_config(size: str) -> OmDetTurboConfig:
    """The published weights have a backbone of timm, which needs torchvision; the same Swin of transformers stands in."""
    if size == "full":
        swin = {"model_type": "swin", "image_size": 640, "embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "window_size": 7}
        return OmDetTurboConfig(backbone_config={**swin, "out_indices": [2, 3, 4]}, apply_layernorm_after_vision_backbone=False)
    swin = {
        "model_type": "swin",
        "image_size": 64,
        "patch_size": 4,
        "embed_dim": 8,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 1, 2, 2],
        "window_size": 2,
    }
    text = {"model_type": "clip_text_model", "vocab_size": 640, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    return OmDetTurboConfig(
        backbone_config={**swin, "out_indices": [2, 3, 4]},
        text_config={**text, "num_attention_heads": 2, "projection_dim": 16, "bos_token_id": 638, "eos_token_id": 639},
        apply_layernorm_after_vision_backbone=False,
        image_size=64,
        text_projection_in_dim=16,
        text_projection_out_dim=16,
        task_encoder_hidden_dim=32,
        class_embed_dim=16,
        num_queries=12,
        encoder_in_channels=(16, 32, 64),
        encoder_hidden_dim=32,
        vision_features_channels=(32, 32, 32),
        encoder_attention_heads=4,
        encoder_dim_feedforward=32,
        decoder_hidden_dim=32,
        decoder_num_heads=4,
        decoder_num_layers=2,
        decoder_dim_feedforward=32,
    )


def write_omdet(folder: Path, *, size: str = "tiny", seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    config = omdet_config(size)
    model = OmDetTurboForObjectDetection(config).eval()
    if size == "tiny":
        shake(model, seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim > 1 and name.startswith(("encoder", "decoder", "vision_backbone")):
                    parameter.add_(0.15 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)
    write_clip_tokenizer(folder, config.text_config.vocab_size, 77)
    write_square(folder, "DetrImageProcessor", config.image_size, **IMAGENET, do_pad=False, format="coco_detection")
    return folder


def sam_config(kind: type, size: str) -> Any:
    """SAM and SAM-HQ: ViT-B, or a tiny build."""
    if size == "full":
        return kind()
    vision = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 64, "patch_size": 16, "output_channels": 16}
    small = {"mlp_dim": 24, "window_size": 2, "global_attn_indexes": [1, 3], "num_pos_feats": 8}
    prompt = {"hidden_size": 16, "image_size": 64, "patch_size": 16, "image_embedding_size": 4, "mask_input_channels": 4}
    decoder = {"hidden_size": 16, "mlp_dim": 24, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
    if kind is SamHQConfig:
        decoder["vit_dim"] = 16
    return kind(vision_config={**vision, **small}, prompt_encoder_config=prompt, mask_decoder_config=decoder)


def write_sam(folder: Path, *, size: str = "tiny", seed: int = 0, hq: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed + 3)
    config = sam_config(SamHQConfig if hq else SamConfig, size)
    model = (SamHQModel if hq else SamModel)(config).eval()
    shake_masks(model, seed + 3)
    model.save_pretrained(folder)
    side = config.vision_config.image_size
    write_square(folder, "SamHQImageProcessor" if hq else "SamImageProcessor", side, **IMAGENET, do_pad=True, do_convert_rgb=True)
    values = json.loads((folder / "preprocessor_config.json").read_text())
    write_json(folder / "preprocessor_config.json", {**values, "size": {"longest_edge": side}, "pad_size": {"height": side, "width": side}})
    return folder


def shake_masks(model: torch.nn.Module, seed: int) -> None:
    """Masks that follow image and box: random decoders alone give logits of about 0."""
    shake(model, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "mask_decoder.transformer" in name and parameter.ndim > 1:
                parameter.mul_(3)
            if "output_hypernetworks_mlps" in name or "hf_mlp" in name or "upscale_conv" in name:
                parameter.add_(0.4 * torch.randn(parameter.shape, generator=generator))


def write_sam_hq(folder: Path, **options: Any) -> Path:
    return write_sam(folder, hq=True, **options)


def sam2_config(size: str) -> Sam2Config:
    if size == "full":
        return Sam2Config()
    hiera = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "num_attention_heads": 1,
        "image_size": [64, 64],
        "blocks_per_stage": [1, 1, 2, 1],
    }
    stages = {"embed_dim_per_stage": [8, 16, 32, 64], "num_attention_heads_per_stage": [1, 1, 2, 2], "window_size_per_stage": [4, 4, 4, 2]}
    return Sam2Config(
        vision_config={
            "backbone_config": {**hiera, **stages, "global_attention_blocks": [3]},
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": 64, "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 32, "mlp_dim": 24, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
    )


def write_sam2(folder: Path, *, size: str = "tiny", seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed + 1)
    config = sam2_config(size)
    model = Sam2Model(config).eval()
    shake_masks(model, seed + 1)
    with torch.no_grad():
        model.no_memory_embedding.add_(0.1)
    model.save_pretrained(folder)
    write_square(folder, "Sam2ImageProcessorFast", config.prompt_encoder_config.image_size, **IMAGENET)
    return folder


def florence2_config(size: str) -> Florence2Config:
    """Florence-2-base, or a tiny build whose vocabulary is bytes and locations."""
    if size == "full":
        text = {"d_model": 768, "encoder_layers": 6, "decoder_layers": 6, "encoder_ffn_dim": 3072, "decoder_ffn_dim": 3072}
        heads = {"encoder_attention_heads": 12, "decoder_attention_heads": 12, "vocab_size": 51289, "max_position_embeddings": 1024}
        return Florence2Config(text_config={"model_type": "bart", **text, **heads}, vision_config={"projection_dim": 768})
    text = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 128}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": len(florence2_words())}
    vision = {"depths": [1, 1], "patch_size": [7, 3], "patch_stride": [4, 4], "patch_padding": [3, 1], "patch_prenorm": [False, True]}
    sizes = {"embed_dim": [8, 16], "num_heads": [1, 2], "num_groups": [1, 2], "window_size": 4, "projection_dim": 32}
    return Florence2Config(
        text_config={"model_type": "bart", **text, **heads},
        vision_config={**vision, **sizes, "max_position_embeddings": 8},
        image_token_id=florence2_words()["<image>"],
    )


def florence2_words() -> dict[str, int]:
    """BART's special tokens, bytes, and Florence-2's own tokens."""
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *byte_alphabet()]
    return {word: number for number, word in enumerate([*words, *FLORENCE2_TOKENS])}


def write_florence2(folder: Path, *, size: str = "tiny", seed: int = 0) -> Path:
    """Florence-2; a tiny one writes locations, now and then a separator, and stops after 24 tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    config = florence2_config(size)
    model = Florence2ForConditionalGeneration(config).eval()
    words = florence2_words()
    tokenizer = BartTokenizer(vocab={word: number for word, number in words.items() if word not in FLORENCE2_TOKENS}, merges=[])
    tokenizer.add_tokens(list(FLORENCE2_TOKENS), special_tokens=True)
    if size == "tiny":
        shake(model, seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim > 1 and ("encoder_attn" in name or "encoder.layers" in name or "image_projection" in name):
                    parameter.mul_(12)
            table = model.get_input_embeddings().weight
            table.mul_(4)
            for word, number in words.items():
                table[number] *= 3 if word.startswith("<loc_") else 4.5 if word == "<sep>" else 1
    short = {"max_new_tokens": 24} if size == "tiny" else {}
    model.generation_config = GenerationConfig(
        bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2, no_repeat_ngram_size=3, **short
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    side = 768 if size == "full" else 64
    write_square(folder, "CLIPImageProcessor", side, resample=3, **IMAGENET, do_center_crop=False, do_convert_rgb=True)
    return folder


MAKERS: dict[str, Callable[..., Path]] = {
    "sam3": write_sam3,
    "grounding-dino": write_dino,
    "mm-grounding-dino": write_mm_dino,
    "owlv2": write_owlv2,
    "omdet-turbo": write_omdet,
    "sam": write_sam,
    "sam2": write_sam2,
    "sam-hq": write_sam_hq,
    "florence2": write_florence2,
}


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
