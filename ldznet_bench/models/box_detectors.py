"""Detectors that find boxes for a phrase: GroundingDINO, MM-GroundingDINO, OWLv2, OmDet-Turbo, each transformers' own network.

Their forward passes take an image and a text at once. Here a pass is cut where the text comes in: `image` runs what does not depend on the phrase,
`text` what does not depend on the image, and `boxes` the rest, with the two results standing where the network would compute them. Boxes equal
those of the whole pass bit for bit (tests hold this).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import (
    DetrImageProcessorPil,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    MMGroundingDinoForObjectDetection,
    OmDetTurboForObjectDetection,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessorPil,
)
from transformers.models.grounding_dino.modeling_grounding_dino import generate_masks_with_special_tokens_and_transfer_map

from ldznet_bench.models.devices import pick_dtype
from ldznet_bench.models.pretrained import Notes, check_kind, load_network, load_pixels, load_tokenizer

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

Found = tuple[Tensor, Tensor]  # (n, 4) boxes as fractions of the image's width and height, x0 y0 x1 y1; (n,) scores in [0, 1]


class Detector(ABC):
    """A detector in three steps.

    Attributes:
        kind: ``model_type`` of its configuration.
        threshold: a box is kept where its score is above this; the authors' (the card says where from).
        nms: of two boxes that overlap by more than this (intersection over union) the better one is kept; None keeps both.
        limit: tokens that the text encoder takes.
    """

    kind: str
    threshold: float
    nms: float | None = None
    limit: int

    def __init__(self, folder: Path, *, precision: str, device: torch.device, notes: Notes) -> None:
        check_kind(folder, (self.kind,))
        self.device = device
        self.dtype = pick_dtype(precision)
        self.notes = notes

    @abstractmethod
    def image(self, image: PILImage) -> Any:  # noqa: ANN401 - each has its own
        """Everything that does not depend on the phrase."""

    def prompt(self, phrase: str) -> str:
        """The text that the network is given for a phrase."""
        return phrase

    @abstractmethod
    def text(self, prompt: str) -> Any:  # noqa: ANN401 - each has its own
        """Everything that does not depend on the image."""

    @abstractmethod
    def boxes(self, image: Any, text: Any) -> Found:  # noqa: ANN401 - each has its own
        """All boxes with their scores, in the network's order."""

    def _tokens(self, tokenizer: Any, text: str, *, padded: bool = False) -> Any:  # noqa: ANN401 - transformers is untyped
        """The tokens of a text, cut to what the encoder takes; the cut is counted."""
        options = {"padding": "max_length"} if padded else {}
        found = tokenizer(text, truncation=True, max_length=self.limit, return_tensors="pt", **options)
        if int(found["attention_mask"].sum()) >= self.limit and len(tokenizer(text, verbose=False)["input_ids"]) > self.limit:
            self.notes.add(f"phrases of more than {self.limit} tokens were cut to {self.limit}", text)
        return found.to(self.device)


class GroundingDino(Detector):
    """GroundingDINO: a box's score is that of its best token. The phrase is lower-cased and ends with a full stop, as the authors' code does it."""

    kind = "grounding-dino"
    network: Any = GroundingDinoForObjectDetection
    threshold = 0.3

    def __init__(self, folder: Path, *, precision: str, device: torch.device, notes: Notes) -> None:
        super().__init__(folder, precision=precision, device=device, notes=notes)
        self._network = load_network(self.network, folder, precision=precision, device=device)
        self.limit = int(self._network.config.max_text_len)
        self._tokenizer = load_tokenizer(folder, self._network.config.text_config.vocab_size)
        self._pixels = load_pixels(GroundingDinoImageProcessorPil, folder)
        model = self._network.model
        self._backbone, self._text_backbone = model.backbone, model.text_backbone
        model.backbone, model.text_backbone = Recall(), Recall()
        model.backbone.position_embedding = self._backbone.position_embedding  # the coarsest level is made outside of the backbone

    def image(self, image: PILImage) -> Any:  # noqa: ANN401
        """The backbone's levels with their masks, its position encodings, and the mask of valid pixels (which also holds the size)."""
        values = self._pixels(images=[image], return_tensors="pt")
        mask = values["pixel_mask"].to(self.device)
        levels, positions = self._backbone(values["pixel_values"].to(self.device, self.dtype), mask)
        return levels, positions, mask

    def prompt(self, phrase: str) -> str:
        """``a red car.``"""
        text = phrase.lower().strip()
        return text if text.endswith(".") else f"{text}."

    def text(self, prompt: str) -> Any:  # noqa: ANN401
        """BERT's output, and the tokens, which the rest of the network asks for as well."""
        tokens = self._tokens(self._tokenizer, prompt)
        ids = tokens["input_ids"]
        kinds = tokens["token_type_ids"] if "token_type_ids" in tokens else torch.zeros_like(ids)
        masks, positions = generate_masks_with_special_tokens_and_transfer_map(ids, special_tokens=self._network.model.special_tokens)
        return self._text_backbone(ids, masks[:, None], kinds, positions, return_dict=True), ids, kinds, tokens["attention_mask"]

    def boxes(self, image: Any, text: Any) -> Found:  # noqa: ANN401
        """(900, 4) and (900,) for the published weights."""
        levels, positions, mask = image
        encoded, ids, kinds, attention = text
        model = self._network.model
        model.backbone.give = lambda: (list(levels), list(positions))  # the network appends to both lists
        model.text_backbone.give = lambda: encoded
        shape = torch.zeros((), dtype=self.dtype, device=self.device).expand(1, 3, *mask.shape[-2:])  # only its shape is read
        found = self._network(pixel_values=shape, input_ids=ids, token_type_ids=kinds, attention_mask=attention, pixel_mask=mask)
        # Positions beyond the text have logits of minus infinity.
        return corners(found.pred_boxes[0]), found.logits[0].float().sigmoid().amax(-1)


class MMGroundingDino(GroundingDino):
    """MM-GroundingDINO: the same network but for its class head, trained anew by OpenMMLab."""

    kind = "mm-grounding-dino"
    network = MMGroundingDinoForObjectDetection


class Owlv2(Detector):
    """OWLv2: one query per phrase; boxes and class embeddings are the image's alone, the phrase only scores them."""

    kind = "owlv2"
    threshold = 0.1

    def __init__(self, folder: Path, *, precision: str, device: torch.device, notes: Notes) -> None:
        super().__init__(folder, precision=precision, device=device, notes=notes)
        self._network = load_network(Owlv2ForObjectDetection, folder, precision=precision, device=device)
        self.limit = int(self._network.config.text_config.max_position_embeddings)
        self._tokenizer = load_tokenizer(folder, self._network.config.text_config.vocab_size)
        self._pixels = load_pixels(Owlv2ImageProcessorPil, folder)

    def image(self, image: PILImage) -> Any:  # noqa: ANN401
        """Patch features (1, n, C) and their boxes; the image stands at the upper left of a square, so that boxes are scaled to its longer side."""
        values = self._pixels(images=[image], return_tensors="pt")["pixel_values"].to(self.device, self.dtype)
        grid, _ = self._network.image_embedder(pixel_values=values)
        features = grid.flatten(1, 2)
        longest = max(image.size)
        scale = torch.tensor([longest / image.width, longest / image.height] * 2, device=self.device)
        return features, corners(self._network.box_predictor(features, grid)[0]) * scale

    def text(self, prompt: str) -> Any:  # noqa: ANN401
        """The query embedding, (1, 1, C), of unit length."""
        tokens = self._tokens(self._tokenizer, prompt, padded=True)
        encoder = self._network.owlv2
        pooled = encoder.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).pooler_output
        embedding = encoder.text_projection(pooled)
        return (embedding / torch.linalg.norm(embedding, ord=2, dim=-1, keepdim=True))[None]

    def boxes(self, image: Any, text: Any) -> Found:  # noqa: ANN401
        """(3600, 4) and (3600,) for the published weights."""
        features, boxes = image
        known = torch.ones(1, 1, dtype=torch.bool, device=self.device)  # the query is a real one
        logits, _ = self._network.class_predictor(features, text, known)
        return boxes, logits[0, :, 0].float().sigmoid()


class OmDetTurbo(Detector):
    """OmDet-Turbo: the phrase is the only class, and the task says ``Detect {phrase}.``"""

    kind = "omdet-turbo"
    threshold = 0.3
    nms = 0.5
    limit = 77

    def __init__(self, folder: Path, *, precision: str, device: torch.device, notes: Notes) -> None:
        super().__init__(folder, precision=precision, device=device, notes=notes)
        self._network = load_network(OmDetTurboForObjectDetection, folder, precision=precision, device=device)
        self._tokenizer = load_tokenizer(folder, self._network.config.text_config.vocab_size)
        self._pixels = load_pixels(DetrImageProcessorPil, folder)
        self._backbone, self._encoder = self._network.vision_backbone, self._network.encoder
        self._network.vision_backbone, self._network.encoder = Recall(), Recall()
        self._network.vision_backbone.give = lambda: None
        self._language = self._network.get_language_embedding

    def image(self, image: PILImage) -> Any:  # noqa: ANN401
        """What backbone and encoder make of the pixels."""
        values = self._pixels(images=[image], return_tensors="pt")["pixel_values"].to(self.device, self.dtype)
        return self._encoder(self._backbone(values), return_dict=True)

    def text(self, prompt: str) -> Any:  # noqa: ANN401
        """Embeddings of the class and of the task, and the tokens, which the network asks for as well."""
        one, task = (self._tokens(self._tokenizer, text, padded=True) for text in (prompt, f"Detect {prompt}."))
        inputs = {
            "classes_input_ids": one["input_ids"],
            "classes_attention_mask": one["attention_mask"],
            "tasks_input_ids": task["input_ids"],
            "tasks_attention_mask": task["attention_mask"],
            "classes_structure": torch.tensor([1], device=self.device),
        }
        return self._language(**inputs), inputs

    def boxes(self, image: Any, text: Any) -> Found:  # noqa: ANN401
        """(900, 4) and (900,) for the published weights."""
        encoded, inputs = text
        self._network.encoder.give = lambda: image
        self._network.get_language_embedding = lambda *_: encoded
        found = self._network(pixel_values=torch.zeros(1, device=self.device), **inputs)  # the pixels are read by the backbone alone
        return corners(found.decoder_coord_logits[0]), found.decoder_class_logits[0, :, 0].float().sigmoid()


DETECTORS: dict[str, type[Detector]] = {one.kind: one for one in (GroundingDino, MMGroundingDino, Owlv2, OmDetTurbo)}


class Recall(nn.Module):
    """Stands where a network computes something that is known already."""

    give: Callable[[], Any]

    def forward(self, *_: object, **__: object) -> Any:  # noqa: ANN401 - whatever is recalled
        """What is known."""
        return self.give()


def corners(boxes: Tensor) -> Tensor:
    """(n, 4) centre x, centre y, width, height to x0, y0, x1, y1; float32."""
    centre, size = boxes.float()[..., :2], boxes.float()[..., 2:]
    return torch.cat([centre - 0.5 * size, centre + 0.5 * size], dim=-1)


def suppress(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Indices of the boxes that stay under non-maximum suppression, best first.

    Going from the best box down (the earlier one among equals), every later box that overlaps a kept one by more than `threshold` goes.

    Args:
        boxes: (n, 4) x0, y0, x1, y1.
        scores: (n,).
        threshold: of intersection over union.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    kept: list[int] = []
    while len(order):
        first, order = order[0], order[1:]
        kept.append(int(first))
        order = order[overlap(boxes[first], boxes[order]) <= threshold]
    return torch.tensor(kept, dtype=torch.long, device=boxes.device)


def overlap(box: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of one box with (n, 4) others; 0 where both are empty."""
    low, high = torch.maximum(box[:2], others[:, :2]), torch.minimum(box[2:], others[:, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    area = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(-1)
    return shared / (area - shared).clamp(min=torch.finfo(torch.float32).tiny)
