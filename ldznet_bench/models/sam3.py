"""SAM 3 with text prompts through transformers' ``Sam3Model``: the image encoder once per image, the text encoder once per phrase.

Two recipes read two outputs of the same forward pass. ``semantic`` is the network's own dense map, a logit per pixel of the prompted concept on
its 288x288 grid. ``instances`` unites the masks of all instances above the authors' threshold, as their image processor does, at the image's size;
it is binary.

Encoded, an image is its feature pyramid: 112 MB in float32 at the published size, for the eight images that the loop keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from transformers import Sam3Model
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

from ldznet_bench.models.clipseg_pixels import HfPixels
from ldznet_bench.models.devices import inference, pick_dtype
from ldznet_bench.models.pretrained import Notes, open_part
from ldznet_bench.models.segmenter import ImageInput, Pair, Segmenter

if TYPE_CHECKING:
    from ldznet_bench.models.load import LoadRequest

# The published folder is that of the video model, whose detector is the image model.
KINDS = ("sam3", "sam3_video")
DEFAULT_MICRO_BATCH = {"cpu": 1, "cuda": 4}
# The authors' Sam3Processor (confidence_threshold) and the example on the model's page; transformers' own default is 0.3.
INSTANCE_THRESHOLD = 0.5
MASK_THRESHOLD = 0.5

Read = Literal["semantic", "instances"]
Levels = tuple[Tensor, ...]


class Sam3(Segmenter):
    """SAM 3 as a segmenter; `binary` follows the recipe."""

    def __init__(
        self,
        name: str,
        network: Any,  # noqa: ANN401 - transformers is untyped
        tokenizer: Any,  # noqa: ANN401 - transformers is untyped
        pixels: HfPixels,
        *,
        read: Read,
        weights: str,
        device: torch.device,
        precision: str = "fp32",
        micro_batch: int | None = None,
    ) -> None:
        self.name = name
        self.weights = weights
        self.binary = read == "instances"
        self.output = "probabilities" if self.binary else "logits"
        self.device = device.type
        self.precision = precision
        self.micro_batch: int = micro_batch or DEFAULT_MICRO_BATCH[device.type]
        self._max_tokens = int(network.config.text_config.max_position_embeddings)
        self.recipe = {"read": read, "pixels": pixels.describe(), "prompt": "{}", "max_tokens": self._max_tokens}
        if self.binary:
            self.recipe |= {"instance_threshold": INSTANCE_THRESHOLD, "mask_threshold": MASK_THRESHOLD}
        self.notes = self._notes = Notes(name)
        self._device = device
        self._dtype = pick_dtype(precision)
        self._network = network
        self._tokenizer = tokenizer
        self._pixels = pixels
        self._positions: list[Tensor] = []  # of the pyramid's levels; the same for every image

    def pixels(self, image: ImageInput) -> Any:  # noqa: ANN401 - PIL's image
        """The decoded image; what else is done to it is the network's own processor's."""
        return image.rgb

    def encode_image(self, images: Sequence[ImageInput]) -> list[tuple[Levels, tuple[int, int]]]:
        """The feature pyramid, (1, C, h, w) per level, and the image's (rows, columns)."""
        with inference(self.name, self.micro_batch):
            return [(self._levels(self._pixels(image.rgb)), (image.rgb.height, image.rgb.width)) for image in images]

    def _levels(self, pixels: Tensor) -> Levels:
        found = self._network.get_vision_features(pixel_values=pixels.to(self._device, self._dtype))
        self._positions = self._positions or [level[:1] for level in found.fpn_position_encoding]
        return tuple(found.fpn_hidden_states[:-1])  # the last and coarsest is for the tracker; the detector leaves it out

    def encode_text(self, prompts: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
        """The projected tokens, (1, max_tokens, C), and which of them are of the phrase."""
        with inference(self.name, self.micro_batch):
            return [self._text(prompt) for prompt in prompts]

    def _text(self, prompt: str) -> tuple[Tensor, Tensor]:
        limit = self._max_tokens
        tokens = self._tokenizer(prompt, padding="max_length", truncation=True, max_length=limit, return_tensors="pt").to(self._device)
        if int(tokens["attention_mask"].sum()) == limit and len(self._tokenizer(prompt, verbose=False)["input_ids"]) > limit:
            self._notes.add(f"phrases of more than {limit} tokens were cut to {limit}", prompt)
        found = self._network.get_text_features(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], return_dict=True)
        return found.pooler_output, tokens["attention_mask"]

    def decode(self, pairs: Sequence[Pair]) -> list[Tensor]:
        """Logits on the network's grid (288x288 for the published weights), or 0 and 1 at the image's size."""
        if not pairs:
            return []
        with inference(self.name, self.micro_batch):
            found = self._forward(pairs)
            if not self.binary:
                return list(found.semantic_seg[:, 0])
            return [united(scores, masks, pair.image[1]) for scores, masks, pair in zip(instance_scores(found), found.pred_masks, pairs, strict=True)]

    def _forward(self, pairs: Sequence[Pair]) -> Any:  # noqa: ANN401 - transformers is untyped
        levels = [torch.cat(level) for level in zip(*(pair.image[0] for pair in pairs), strict=True)]
        positions = [position.expand(len(pairs), -1, -1, -1) for position in self._positions]
        # The forward pass drops the last level of both; any tensor stands for the one that was not kept.
        vision = Sam3VisionEncoderOutput(fpn_hidden_states=(*levels, levels[-1]), fpn_position_encoding=tuple(positions))
        text = BaseModelOutputWithPooling(pooler_output=torch.cat([pair.text[0] for pair in pairs]))
        return self._network(vision_embeds=vision, text_embeds=text, attention_mask=torch.cat([pair.text[1] for pair in pairs]))


def instance_scores(found: Any) -> Tensor:  # noqa: ANN401 - transformers is untyped
    """(B, queries): how sure the network is of each instance, times how sure it is that the concept is in the image at all."""
    scores: Tensor = found.pred_logits.float().sigmoid() * found.presence_logits.float().sigmoid()
    return scores


def united(scores: Tensor, masks: Tensor, size: tuple[int, int]) -> Tensor:
    """The union of the masks of the instances above the threshold.

    Args:
        scores: (queries,).
        masks: (queries, h, w) logits.
        size: rows and columns of the image.

    Returns:
        Float32 0 and 1, of that size; all 0 where no instance is above the threshold.
    """
    union = torch.zeros(size, device=masks.device)
    for mask in masks[scores > INSTANCE_THRESHOLD]:
        resized = nn.functional.interpolate(mask[None, None].float(), size=size, mode="bilinear", align_corners=False)
        union = torch.maximum(union, (resized[0, 0].sigmoid() > MASK_THRESHOLD).float())
    return union


def load(request: LoadRequest) -> Sam3:
    """The factory of ``baselines/sam3.yaml``.

    Raises:
        WeightsError: the folder lacks a file, or holds weights that are damaged or of another network.
        BenchError: unknown device or precision.
    """
    opened = open_part(request, "sam3", Sam3Model, KINDS)
    read: Read = "instances" if request.name.recipe == "instances" else "semantic"
    return Sam3(str(request.name), opened.network, opened.tokenizer, HfPixels.from_folder(opened.folder), read=read, **opened.options)
