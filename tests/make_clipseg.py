"""Write a CLIPSeg folder with seeded random weights, as `save_pretrained` leaves it: nothing can be downloaded where tests run.

    python tests/make_clipseg.py DIR [--size tiny|full] [--seed 0] [--simple] [--reduce-dim 64]

`full` is the published network (ViT-B/16 at 352, text encoder of 49,408 tokens, 600 MB); `tiny` the same in a fraction of a second and 1 MB.
The last layer is scaled so that maps are neither constant nor saturated: random decoders alone give logits of about 0.
"""

from __future__ import annotations

import argparse
import itertools
import string
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPConfig, CLIPModel, CLIPSegConfig, CLIPSegForImageSegmentation, CLIPTokenizer

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def byte_alphabet() -> list[str]:
    """The 256 printable stand-ins of bytes in a byte-level BPE vocabulary, in CLIP's order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(code) for code in printable] + [chr(256 + extra) for extra in range(256 - len(printable))]


def make_vocabulary(size: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A byte-level BPE of `size` tokens: bytes, bytes at a word's end, merges of letters, and the two special tokens last, as CLIP's."""
    alphabet = byte_alphabet()
    tokens = alphabet + [f"{token}</w>" for token in alphabet]
    letters = string.ascii_lowercase
    pairs = [left + right for left, right in itertools.product(letters, repeat=2)]
    candidates = itertools.chain(
        ((a, b) for a, b in itertools.product(letters, letters)),
        ((a, f"{b}</w>") for a, b in itertools.product(letters, letters)),
        ((pair, letter) for pair, letter in itertools.product(pairs, letters)),
        ((pair, f"{letter}</w>") for pair, letter in itertools.product(pairs, letters)),
        ((a, b) for a, b in itertools.product(pairs, pairs)),
    )
    merges = list(itertools.islice(candidates, size - len(tokens) - 2))
    tokens += ["".join(merge) for merge in merges] + [BOS, EOS]
    return {token: index for index, token in enumerate(tokens)}, merges


def make_config(size: str, *, refined: bool, reduce_dim: int, conditional_layer: int = 0) -> CLIPSegConfig:
    """The published configuration, or a tiny one of the same build."""
    common: dict[str, Any] = {
        "use_complex_transposed_convolution": refined,
        "reduce_dim": reduce_dim,
        "conditional_layer": conditional_layer,
    }
    if size == "full":
        # The published weights hold 14x14 positions of CLIP at 224, which transformers interpolates for 352.
        return CLIPSegConfig(vision_config={"patch_size": 16}, **common)
    text = {"vocab_size": 640, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 5, "num_attention_heads": 4, "image_size": 64, "patch_size": 16}
    return CLIPSegConfig(
        text_config={**text, "bos_token_id": 638, "eos_token_id": 639},
        vision_config=vision,
        projection_dim=24,
        extract_layers=[0, 1, 3],
        decoder_intermediate_size=96,
        **common,
    )


def make_model(config: CLIPSegConfig, seed: int) -> CLIPSegForImageSegmentation:
    """Seeded random weights whose logits have a deviation of about 2 and follow the patch, the image and the phrase."""
    torch.manual_seed(seed)
    model = CLIPSegForImageSegmentation(config).eval()
    generator = torch.Generator().manual_seed(seed)
    decoder = model.decoder
    head = decoder.transposed_convolution
    layers = [layer for layer in (head if isinstance(head, torch.nn.Sequential) else [head]) if isinstance(layer, torch.nn.ConvTranspose2d)]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and name.endswith("bias"):  # published biases are not 0; zeros would hide one that gets lost
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
        for layer in layers:  # one value per patch and a little of its own per pixel, instead of one texture in every patch
            layer.weight.copy_(layer.weight.mean((-1, -2), keepdim=True) * layer.weight[0, 0].numel() ** 0.5 + 0.2 * layer.weight)
        # Later taps must not drown what the phrase did at its layer.
        for index, linear in enumerate([decoder.film_mul, decoder.film_add, *decoder.reduces]):
            gain = 1 if index in (0, 2 + config.conditional_layer) else 0.3
            linear.weight.mul_(gain / linear.weight.std() / linear.in_features**0.5)
        pixels = torch.rand(2, 3, 8, 8, generator=generator)
        side = 6 * config.vision_config.patch_size
        pixels = torch.nn.functional.interpolate(pixels, (side, side), mode="bilinear") * 4 - 2
        eos = config.text_config.eos_token_id
        logits = model(pixel_values=pixels, input_ids=torch.tensor([[eos - 1, 5, 6, eos], [eos - 1, 300, 9, eos]])).logits
        layers[-1].weight.mul_(2 / logits.std())
        layers[-1].bias.copy_((layers[-1].bias - logits.mean()) * 2 / logits.std() - 1)
    return model


def write_tokenizer(folder: Path, config: CLIPSegConfig) -> None:
    """Tokenizer files in transformers' present form."""
    vocabulary, merges = make_vocabulary(config.text_config.vocab_size)
    CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77).save_pretrained(folder)


def write_preprocessor(folder: Path, size: int) -> None:
    """The published preprocessor_config.json, for squares of `size`."""
    import json

    values = {
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": IMAGENET[0],
        "image_processor_type": "ViTImageProcessor",
        "image_std": IMAGENET[1],
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"height": size, "width": size},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(values, indent=2))


def write_clipseg(
    folder: Path, *, size: str = "tiny", seed: int = 0, refined: bool = True, reduce_dim: int | None = None, conditional_layer: int = 0
) -> Path:
    """Write the whole folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = make_config(size, refined=refined, reduce_dim=reduce_dim or (64 if size == "full" else 16), conditional_layer=conditional_layer)
    make_model(config, seed).save_pretrained(folder)
    write_tokenizer(folder, config)
    write_preprocessor(folder, 352 if size == "full" else 96)
    return folder


def official_state(decoder: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A decoder's tensors as the authors' files have them, ``reduce`` (which nothing calls) included. Written apart from the code under test."""
    state = dict(decoder.state_dict())
    found = {}
    for name in [name for name in state if ".q_proj." in name]:
        thirds = [state.pop(name.replace("q_proj", f"{letter}_proj")) for letter in "qkv"]
        kind = name.rpartition(".")[2]
        found[f"blocks.{name.split('.')[1]}.self_attn.in_proj_{kind}"] = torch.cat(thirds)
    for name, value in state.items():
        new = name.replace("transposed_convolution", "trans_conv").replace("layers.", "blocks.").replace("layer_norm", "norm")
        found[new.replace("mlp.fc", "linear")] = value
    width, hidden = state["reduces.0.weight"].shape
    return {**found, "reduce.weight": torch.ones(width, hidden, device=decoder.film_mul.weight.device), "reduce.bias": decoder.film_mul.bias * 0}


def make_authors_pair(folder: Path, *, refined: bool, reduce_dim: int = 16) -> tuple[Path, Path, CLIPSegForImageSegmentation]:
    """A tiny decoder as the authors published theirs, a tiny CLIP as transformers has it, and the network that both come from."""
    tiny = make_config("tiny", refined=refined, reduce_dim=reduce_dim)
    values = tiny.to_dict()
    values["vision_config"]["num_hidden_layers"] = 10
    config = CLIPSegConfig.from_dict({**values, "extract_layers": [3, 6, 9], "decoder_num_attention_heads": 4})
    model = make_model(config, 3)
    sizes = {"text_config": config.text_config.to_dict(), "vision_config": config.vision_config.to_dict(), "projection_dim": config.projection_dim}
    for part in ("text_config", "vision_config"):
        sizes[part].pop("model_type", None)
    clip = CLIPModel(CLIPConfig(**sizes))
    clip.load_state_dict(model.clip.state_dict())
    folder.mkdir(parents=True, exist_ok=True)
    clip.save_pretrained(folder / "clip")
    write_tokenizer(folder / "clip", config)
    torch.save({name: value.detach().clone() for name, value in official_state(model.decoder).items()}, folder / "rd64-uni.pth")
    model.config_of_clip = clip.config
    return folder / "rd64-uni.pth", folder / "clip", model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=("tiny", "full"), default="tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--simple", action="store_true", help="rd64 instead of rd64-refined: one transposed convolution")
    parser.add_argument("--reduce-dim", type=int, default=None)
    arguments = parser.parse_args()
    write_clipseg(arguments.folder, size=arguments.size, seed=arguments.seed, refined=not arguments.simple, reduce_dim=arguments.reduce_dim)
    print(f"wrote {arguments.folder}: {', '.join(sorted(path.name for path in arguments.folder.iterdir()))}")


if __name__ == "__main__":
    main()
