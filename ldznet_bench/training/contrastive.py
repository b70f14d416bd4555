"""The text-image encoder: CLIP's symmetric contrastive loss, with transformers' own network and a small tokenizer of our own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from ldznet_bench.models.sd import SD_V1_TEXT
from ldznet_bench.models.weight_folders import tokenizer_files
from ldznet_bench.training.captions import Captions
from ldznet_bench.training.objective import Objective, Setting, as_part, refuse_unknown, write_parts
from ldznet_bench.training.recipe import TrainRecipe
from ldznet_bench.training.tokenizer import padded_ids, write_tokenizer

CLIP = "clip"  # subfolder that holds the whole network, as save_pretrained writes it


class Contrastive(Objective):
    """A `CLIPModel` in training. With several processes each contrasts its own share of the batch."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        with tempfile.TemporaryDirectory() as folder:
            write_tokenizer(Path(folder))
            self._tokenizer: Any = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        sizes = _sizes(setting.recipe)
        self._text = {
            **SD_V1_TEXT,
            **sizes["text"],
            "vocab_size": len(self._tokenizer),
            "bos_token_id": self._tokenizer.bos_token_id,
            "eos_token_id": self._tokenizer.eos_token_id,
            "pad_token_id": self._tokenizer.eos_token_id,
        }
        self.network = self.begun(lambda: _begun(self._text, sizes, setting.recipe.embeddings))
        self._train = Captions(setting.recipe.data, "train", setting.seed, setting.recipe.images)
        self._val = Captions(setting.recipe.data, "val", setting.seed, None)

    def draw(self, positions: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Images and token ids."""
        images, captions = self._train.batch(positions)
        return images, self._ids(captions)

    def _ids(self, captions: Sequence[str]) -> Tensor:
        return padded_ids(self._tokenizer, captions, int(self._text["max_position_embeddings"]))

    def forward(self, images: Tensor, ids: Tensor) -> Tensor:
        """Cross-entropy of images to captions and of captions to images."""
        loss: Tensor = self.network(input_ids=ids, pixel_values=images, return_loss=True).loss
        return loss

    def validate(self) -> dict[str, float]:
        """Share of held-out images whose own caption, among all, is the nearest; and the loss."""
        images, captions = self._val.batch(range(self.recipe.held_out))
        device = next(self.network.parameters()).device
        with torch.no_grad():
            result = self.network(input_ids=self._ids(captions).to(device), pixel_values=images.to(device), return_loss=True)
        right = result.logits_per_image.argmax(1).cpu() == torch.arange(self.recipe.held_out)
        return {"recall@1": float(right.float().mean()), "loss": float(result.loss)}

    def publish(self, folder: Path, made_from: Mapping[str, Any]) -> None:
        """Write ``text_encoder/`` and ``tokenizer/`` for the diffusion model, and the whole network under ``clip/``."""
        state = self.network.state_dict()
        text = {name.removeprefix("text_model."): value for name, value in state.items() if name.startswith("text_model.")}
        text = {name: value for name, value in text.items() if not name.endswith("position_ids")}
        with tempfile.TemporaryDirectory() as scratch:
            write_tokenizer(Path(scratch))
            write_parts(folder, {"text_encoder": as_part(self._text, text, folder)}, made_from, Path(scratch))
            self.network.save_pretrained(folder / CLIP)
            for name, file in tokenizer_files(Path(scratch)).items():
                (folder / CLIP / Path(name).name).write_bytes(file.read_bytes())


def _sizes(recipe: TrainRecipe) -> Mapping[str, Any]:
    refuse_unknown(recipe, recipe.model, ("projection_dim", "text", "vision"))
    sizes = {"projection_dim": CLIPConfig().projection_dim, "text": {}, "vision": {}, **recipe.model}
    refuse_unknown(recipe, sizes["text"], CLIPTextConfig().to_dict(), "model.text")
    refuse_unknown(recipe, sizes["vision"], CLIPVisionConfig().to_dict(), "model.vision")
    return sizes


def _begun(text: Mapping[str, Any], sizes: Mapping[str, Any], deviation: float | None) -> Any:  # noqa: ANN401 - mypy sees a stand-in
    """A CLIP whose tokens, and half as wide their places, are drawn with this standard deviation; transformers draws both with 0.02.

    A short training hardly widens embeddings begun at 0.02: what all words have in common then drowns them (hidden states differed by a tenth of
    their norm after 500 steps), and neither a diffusion model nor a segmentation network that reads them can tell the words apart.
    """
    network: Any = CLIPModel(CLIPConfig(text_config=dict(text), vision_config=sizes["vision"], projection_dim=sizes["projection_dim"]))
    if deviation is not None:
        embeddings = network.text_model.embeddings
        nn.init.normal_(embeddings.token_embedding.weight, std=deviation)
        nn.init.normal_(embeddings.position_embedding.weight, std=deviation / 2)
    return network
