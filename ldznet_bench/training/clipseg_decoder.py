"""CLIPSeg's decoder on a frozen text-image encoder: cross-entropy between logits and the mask.

Source: CLIPSeg, section 4 and its experiments/phrasecut.yaml, as restated in docs/training.md.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPModel, CLIPSegConfig, CLIPSegForImageSegmentation, CLIPTokenizer

from ldznet_bench.atomic import write_json
from ldznet_bench.errors import WeightsError
from ldznet_bench.models.clipseg import ClipSeg, ClipSegNetwork
from ldznet_bench.models.clipseg_pixels import HfPixels
from ldznet_bench.models.weight_folders import read_json, tokenizer_files
from ldznet_bench.training.contrastive import CLIP
from ldznet_bench.training.labelled import LabelledPairs
from ldznet_bench.training.objective import Objective, Setting, refuse_unknown
from ldznet_bench.training.recentre import recentred_text, statistics
from ldznet_bench.training.tokenizer import padded_ids
from ldznet_bench.training.validation import labelled_split, scores_on_val

if TYPE_CHECKING:
    from ldznet_bench.models.segmenter import Segmenter


_MEASURED = 512  # prompts that the text vectors' mean and deviation are taken over


class ClipSegDecoder(Objective):
    """A `CLIPSegForImageSegmentation` of which only the decoder is trained."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        recipe = setting.recipe
        self._folder, clip = _encoder(setting)
        values = {"text_config": clip.config.text_config.to_dict(), "vision_config": clip.config.vision_config.to_dict()}
        refuse_unknown(recipe, recipe.model, CLIPSegConfig().to_dict().keys() - {*values, "projection_dim"})
        self.network = self.begun(lambda: _fresh(CLIPSegConfig(**values, projection_dim=clip.config.projection_dim, **recipe.model)))
        self.network.clip.load_state_dict(clip.state_dict())
        self.network.clip.requires_grad_(requires_grad=False)
        self._tokenizer: Any = CLIPTokenizer.from_pretrained(self._folder, local_files_only=True)
        self._size = int(clip.config.vision_config.image_size)
        self._length = int(clip.config.text_config.max_position_embeddings)
        self.dataset = labelled_split(recipe.data, setting)
        self._pairs = LabelledPairs(
            self.dataset, self._size, setting.seed, crop=recipe.crop, templates=recipe.templates, blank=recipe.phrases == "blank"
        )
        if recipe.recentre:
            self._recentre()

    @torch.no_grad()
    def _recentre(self) -> None:
        """Let the text vectors of the training's prompts differ in all of their length, by the text encoder's last norm alone; see `recentre`."""
        prompts = [self._pairs.example(position).prompt for position in range(_MEASURED)]
        text = self.network.clip.text_model
        pooled = text(input_ids=padded_ids(self._tokenizer, prompts, self._length)).pooler_output
        text.load_state_dict(recentred_text(text.state_dict(), *statistics(pooled[:, None])))

    def fingerprint(self) -> str:
        """The train split's."""
        return self.dataset.fingerprint

    def draw(self, positions: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels, masks and token ids."""
        pixels, masks, prompts = self._pairs.batch(positions)
        return pixels, masks, padded_ids(self._tokenizer, prompts, self._length)

    def forward(self, pixels: Tensor, masks: Tensor, ids: Tensor) -> Tensor:
        """Binary cross-entropy with logits, averaged over pixels. Padding repeats the end token, of which the encoder reads the first."""
        logits: Tensor = self.network(input_ids=ids, pixel_values=pixels).logits
        logits = logits.reshape(len(masks), 1, *logits.shape[-2:]).float()
        if logits.shape != masks.shape:  # the finer of the two ways up ends at half the image's size for patches of 8 pixels
            logits = F.interpolate(logits, masks.shape[-2:], mode="bilinear", align_corners=False)
        return F.binary_cross_entropy_with_logits(logits, masks)

    def segmenter(self) -> Segmenter:
        """The network as it is now, in the evaluation loop's form; a copy, since that form takes it apart."""
        network: Any = copy.deepcopy(self.network)
        name, device = f"{self.recipe.network}/{self.recipe.variant}", self.setting.device
        return ClipSeg(name, ClipSegNetwork(network), self._tokenizer, self._pixels(), weights=f"training of {self.recipe.name}", device=device)

    def _pixels(self) -> HfPixels:
        half = (0.5, 0.5, 0.5)  # pixels in [-1, 1], as the encoder was trained on them
        return HfPixels(size=self._size, resample=2, scale=1 / 255, mean=half, std=half)

    def validate(self) -> dict[str, float]:
        """Scores on the recipe's validation split."""
        return scores_on_val(self)

    def publish(self, folder: Path, made_from: Mapping[str, Any]) -> None:
        """Write the folder as save_pretrained does, with the tokenizer and the processor's numbers."""
        aside = folder.with_name(f".{folder.name}.part")
        self.network.save_pretrained(aside)
        for name, file in tokenizer_files(self._folder).items():
            (aside / Path(name).name).write_bytes(file.read_bytes())
        pixels = self._pixels()
        size = {"height": pixels.size, "width": pixels.size}
        numbers = {"size": size, "resample": pixels.resample, "rescale_factor": pixels.scale, "image_mean": pixels.mean, "image_std": pixels.std}
        write_json(aside / "preprocessor_config.json", {"image_processor_type": "ViTImageProcessor", **numbers})
        write_json(aside / "manifest.json", {"made_from": dict(made_from)})
        aside.rename(folder)


def _fresh(config: CLIPSegConfig) -> Any:  # noqa: ANN401 - mypy sees a stand-in
    """A CLIPSeg whose decoder begins as PyTorch begins layers, which is how the authors' did.

    transformers draws the decoder's weights with a deviation of 1: the first loss is then over 100, and the miniature never recovered (0.00 mIoU).
    """
    network: Any = CLIPSegForImageSegmentation(config)
    for module in network.decoder.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            module.reset_parameters()
    return network


def _encoder(setting: Setting) -> tuple[Path, Any]:
    """A whole CLIP among the frozen weights, its own or the one inside a CLIPSeg, and the folder of its tokenizer."""
    for path in setting.frozen:
        for place in (path / CLIP, path):
            kind = read_json(place / "config.json").get("model_type") if (place / "config.json").is_file() else None
            if kind == "clip":
                return place, CLIPModel.from_pretrained(place, local_files_only=True, dtype=torch.float32)
            if kind == "clipseg":
                return place, CLIPSegForImageSegmentation.from_pretrained(place, local_files_only=True, dtype=torch.float32).clip
    where = ", ".join(map(str, setting.frozen)) or "nothing was given"
    raise WeightsError(f"{setting.recipe.name} needs a text-image encoder, and there is none in {where}.", "Train one: `ldznet-bench train clip`.")
