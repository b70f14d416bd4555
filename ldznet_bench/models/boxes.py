"""Boxes of a detector, masks of a segmenter: any of `DETECTORS` with any of `MASKERS`, the field's two-stage rival.

The detector finds boxes for the phrase, the segmenter a mask for each box, and the union of the masks is the answer: 0 and 1, so AP does not apply.
Both encode an image once. Two recipes: ``union`` takes every box above the authors' threshold, ``top1`` the best box alone, whatever its score.

What is done with boxes that do not fit: they are clipped to the image; one without area inside it (wholly outside, or a line) is left out. Both are
counted in the notes. Without any box the mask is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ldznet_bench.errors import BenchError
from ldznet_bench.models.box_detectors import DETECTORS, Detector, Found, suppress
from ldznet_bench.models.box_masks import MASKERS, Masker
from ldznet_bench.models.devices import inference, pick_device, pick_dtype
from ldznet_bench.models.pretrained import Notes, find_files, part_files
from ldznet_bench.models.segmenter import ImageInput, Pair, Segmenter
from ldznet_bench.models.weights import hash_files

if TYPE_CHECKING:
    from ldznet_bench.models.load import LoadRequest

CLIPPED = "boxes that reached beyond the image were clipped to it"
OUTSIDE = "boxes without area inside the image were left out"
NONE = "phrases without any box: their masks are empty"
# Rounding alone carries a box by this much of the image's side beyond its edge; that is clipped but not counted.
_ROUNDING = 1e-4


class BoxesAndMasks(Segmenter):
    """A detector and a segmenter as one model."""

    binary = True

    def __init__(
        self,
        name: str,
        detector: Detector,
        masker: Masker,
        notes: Notes,
        *,
        best_only: bool,
        weights: str,
        precision: str = "fp32",
    ) -> None:
        self.name = name
        self.weights = weights
        self.device = detector.device.type
        self.precision = precision
        self.micro_batch = 1
        self.recipe = {"boxes": "top1" if best_only else "union", "multimask": False, "max_tokens": detector.limit}
        if not best_only:
            self.recipe |= {"box_threshold": detector.threshold, "box_nms": detector.nms}
        self.notes = self._notes = notes
        self._best_only = best_only
        self._detector = detector
        self._masker = masker

    def pixels(self, image: ImageInput) -> Any:  # noqa: ANN401 - PIL's image
        """The decoded image; what else is done to it is the network's own processor's."""
        return image.rgb

    def encode_image(self, images: Sequence[ImageInput]) -> list[Any]:
        """Features of the detector and of the segmenter, and the image's (rows, columns)."""
        with inference(self.name, 1):
            return [(self._detector.image(image.rgb), self._masker.image(image.rgb), (image.rgb.height, image.rgb.width)) for image in images]

    def prompt(self, phrase: str, seed: int) -> str:
        """The text as the detector's authors write it."""
        return self._detector.prompt(phrase)

    def encode_text(self, prompts: Sequence[str]) -> list[Any]:
        """What the detector's text encoder gives."""
        with inference(self.name, 1):
            return [self._detector.text(prompt) for prompt in prompts]

    def decode(self, pairs: Sequence[Pair]) -> list[Tensor]:
        """Float32 0 and 1 at the image's size."""
        with inference(self.name, 1):
            return [self._mask(pair).float() for pair in pairs]

    def _mask(self, pair: Pair) -> Tensor:
        seen, embedded, size = pair.image
        boxes = self.inside(self.chosen(self._detector.boxes(seen, pair.text), pair), size, pair)
        if not len(boxes):
            self._notes.add(NONE, pair.sample_id, pair.sample_id)
            return torch.zeros(size, dtype=torch.bool, device=self._detector.device)
        return self._masker.union(embedded, boxes, size)

    def chosen(self, found: Found, pair: Pair) -> Tensor:
        """The boxes that the recipe takes, best first.

        Raises:
            BenchError: the detector gave NaN or infinity, which no threshold would notice.
        """
        boxes, scores = found
        if not bool(boxes.isfinite().all() and scores.isfinite().all()):
            raise BenchError(
                f"{self.name}: the detector gave NaN or infinite boxes or scores for sample {pair.sample_id!r}.", "Try --precision fp32."
            )
        if self._best_only:
            return boxes[scores.argmax()][None]
        keep = scores > self._detector.threshold
        boxes, scores = boxes[keep], scores[keep]
        if self._detector.nms is not None:
            return boxes[suppress(boxes, scores, self._detector.nms)]
        return boxes[torch.argsort(scores, descending=True, stable=True)]

    def inside(self, boxes: Tensor, size: tuple[int, int], pair: Pair) -> Tensor:
        """Boxes as fractions of the image to pixels inside it, by the rule of this module."""
        clipped = boxes.clamp(0, 1)
        rows, columns = size
        pixels = clipped * torch.tensor([columns, rows] * 2, dtype=torch.float32, device=boxes.device)
        real = (pixels[:, 2] > pixels[:, 0]) & (pixels[:, 3] > pixels[:, 1])
        for index, (beyond, ok) in enumerate(zip((boxes - clipped).abs().amax(-1).tolist(), real.tolist(), strict=True)):
            if not ok:
                self._notes.add(OUTSIDE, (pair.sample_id, index), pair.sample_id)
            elif beyond > _ROUNDING:
                self._notes.add(CLIPPED, (pair.sample_id, index), pair.sample_id)
        return pixels[real]


def load(request: LoadRequest) -> BoxesAndMasks:
    """The factory of the cards of detectors; a variant's parts name the detector and the segmenter.

    Raises:
        WeightsError: a folder lacks a file, or holds weights that are damaged or of another network.
        BenchError: unknown device, precision or pair; a micro-batch other than 1.
    """
    device = pick_device(request.device)
    pick_dtype(request.precision)
    if request.micro_batch not in (None, 1):
        raise BenchError(
            f"{request.name} takes pairs one at a time (images of all sizes, any number of boxes); --micro-batch is {request.micro_batch}.",
            "Leave --micro-batch out for it.",
        )
    detect, mask = _pair(request)
    files = {detect: find_files(request.weights[detect], tokenizer=True), mask: find_files(request.weights[mask], tokenizer=False)}
    notes = Notes(str(request.name))
    return BoxesAndMasks(
        str(request.name),
        DETECTORS[detect](request.weights[detect], precision=request.precision, device=device, notes=notes),
        MASKERS[mask](request.weights[mask], precision=request.precision, device=device),
        notes,
        best_only=request.name.recipe == "top1",
        weights=hash_files(part_files(files), request.home / "hashes.json"),
        precision=request.precision,
    )


def _pair(request: LoadRequest) -> tuple[str, str]:
    parts = tuple(request.card.variants[request.name.variant or ""].parts) if request.card is not None else tuple(request.weights)
    detectors, maskers = [part for part in parts if part in DETECTORS], [part for part in parts if part in MASKERS]
    if len(detectors) != 1 or len(maskers) != 1:
        raise BenchError(
            f"{request.name} needs one detector and one segmenter among its parts, it has {', '.join(parts) or 'none'}.",
            f"Detectors: {', '.join(DETECTORS)}; segmenters: {', '.join(MASKERS)}.",
        )
    return detectors[0], maskers[0]
