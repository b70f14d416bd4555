"""Segmenters that turn boxes into masks: SAM, SAM 2, SAM-HQ, each transformers' own network, the image encoded once.

One mask per box (``multimask_output=False``), as Grounded-SAM and its successors ask for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import Sam2Model, SamHQModel, SamImageProcessorPil, SamModel

from ldznet_bench.models.clipseg_pixels import HfPixels
from ldznet_bench.models.devices import pick_dtype
from ldznet_bench.models.pretrained import check_kind, load_network, load_pixels

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

# Boxes per pass: a fixed number, so that memory is bounded and what is computed together depends on the phrase's boxes alone.
BOXES_AT_ONCE = 16


class Masker(ABC):
    """A segmenter of boxes in two steps.

    Attributes:
        kinds: ``model_type`` of its configuration.
    """

    kinds: tuple[str, ...]

    def __init__(self, folder: Path, *, precision: str, device: torch.device) -> None:
        check_kind(folder, self.kinds)
        self.device = device
        self.dtype = pick_dtype(precision)

    @abstractmethod
    def image(self, image: PILImage) -> Any:  # noqa: ANN401 - each has its own
        """Everything that does not depend on the boxes."""

    def union(self, image: Any, boxes: Tensor, size: tuple[int, int]) -> Tensor:  # noqa: ANN401 - each has its own
        """The union of the boxes' masks.

        Args:
            image: of `image`.
            boxes: (n, 4) x0, y0, x1, y1 in pixels of the image, n > 0.
            size: rows and columns of the image.

        Returns:
            Bool of that size.
        """
        union = torch.zeros(size, dtype=torch.bool, device=self.device)
        for some in torch.split(boxes, BOXES_AT_ONCE):
            union |= (self.logits(image, some, size) > 0).any(0)
        return union

    @abstractmethod
    def logits(self, image: Any, boxes: Tensor, size: tuple[int, int]) -> Tensor:  # noqa: ANN401 - each has its own
        """(n, rows, columns) logits at the image's size, one mask per box."""


class Sam(Masker):
    """SAM: the longer side is resized to 1024, the rest padded."""

    kinds = ("sam",)
    network: Any = SamModel

    def __init__(self, folder: Path, *, precision: str, device: torch.device) -> None:
        super().__init__(folder, precision=precision, device=device)
        self._network = load_network(self.network, folder, precision=precision, device=device)
        self._pixels = load_pixels(SamImageProcessorPil, folder)

    def image(self, image: PILImage) -> Any:  # noqa: ANN401
        """What the encoder gives, and the size of the image within the padded square."""
        values = self._pixels(images=[image], return_tensors="pt")
        inside = tuple(int(side) for side in values["reshaped_input_sizes"][0])
        return self._embed(values["pixel_values"].to(self.device, self.dtype)), inside

    def _embed(self, pixels: Tensor) -> dict[str, Any]:
        return {"image_embeddings": self._network.get_image_embeddings(pixels)}

    def logits(self, image: Any, boxes: Tensor, size: tuple[int, int]) -> Tensor:  # noqa: ANN401
        """Upsampled to the padded square, cut to the image within, and resized to the image's size, as the authors do."""
        embedded, (rows, columns) = image
        scale = torch.tensor([columns / size[1], rows / size[0]] * 2, dtype=torch.float64)
        scaled = (boxes.double().cpu() * scale).to(self.device, self.dtype)
        found = self._network(**embedded, input_boxes=scaled[None], multimask_output=False).pred_masks[0].float()
        padded = self._pixels.pad_size
        square = nn.functional.interpolate(found, (padded["height"], padded["width"]), mode="bilinear", align_corners=False)
        return nn.functional.interpolate(square[..., :rows, :columns], size, mode="bilinear", align_corners=False)[:, 0]


class SamHQ(Sam):
    """SAM-HQ: SAM's weights with one more output token, whose mask is added to SAM's."""

    kinds = ("sam_hq",)
    network = SamHQModel

    def _embed(self, pixels: Tensor) -> dict[str, Any]:
        final, intermediate = self._network.get_image_embeddings(pixels)
        return {"image_embeddings": final, "intermediate_embeddings": intermediate, "hq_token_only": False}


class Sam2(Masker):
    """SAM 2: squashed to a square of 1024."""

    kinds = ("sam2", "sam2_video")

    def __init__(self, folder: Path, *, precision: str, device: torch.device) -> None:
        super().__init__(folder, precision=precision, device=device)
        self._network = load_network(Sam2Model, folder, precision=precision, device=device)
        self._pixels = HfPixels.from_folder(folder)

    def image(self, image: PILImage) -> Any:  # noqa: ANN401
        """The encoder's three levels."""
        return self._network.get_image_embeddings(self._pixels(image).to(self.device, self.dtype))

    def logits(self, image: Any, boxes: Tensor, size: tuple[int, int]) -> Tensor:  # noqa: ANN401
        """Resized to the image's size."""
        scale = torch.tensor([self._pixels.size / size[1], self._pixels.size / size[0]] * 2, dtype=torch.float64)
        scaled = (boxes.double().cpu() * scale).to(self.device, self.dtype)
        # A list of its own: the network changes the one that it is given.
        found = self._network(image_embeddings=list(image), input_boxes=scaled[None], multimask_output=False).pred_masks[0].float()
        return nn.functional.interpolate(found, size, mode="bilinear", align_corners=False)[:, 0]


MASKERS: dict[str, type[Masker]] = {"sam": Sam, "sam2": Sam2, "sam-hq": SamHQ}
