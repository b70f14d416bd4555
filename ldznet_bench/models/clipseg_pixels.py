"""From an RGB image to CLIPSeg's input: transformers' Pillow processor and the paper's pipeline, each to the bit.

transformers 5 wants torchvision for its default image processors and keeps the Pillow ones under other names in other versions; what they
compute is three lines of Pillow and NumPy, driven by the numbers of a JSON file, so it stands here.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ldznet_bench.errors import WeightsError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
PAPER_SIZE = 352

# What ViTImageProcessor takes for a key that its file does not state.
_DEFAULTS: dict[str, Any] = {
    "do_resize": True,
    "size": 224,
    "resample": int(Image.Resampling.BILINEAR),
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
_FILES = ("preprocessor_config.json", "processor_config.json")
_REMEDY = "Copy preprocessor_config.json from where the weights are published, or ask for the recipe paper (clipseg+paper)."


@dataclass(frozen=True)
class HfPixels:
    """transformers' ``ViTImageProcessor`` on Pillow: squash to a square, scale, normalise.

    Attributes:
        size: side of the square, in pixels.
        resample: Pillow's number of the filter; Pillow antialiases when it shrinks.
        scale: factor on 0-255 values; None leaves them.
        mean: per channel, subtracted after scaling; None with `std` leaves the values.
        std: per channel, divided by.
    """

    size: int
    resample: int
    scale: float | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None

    @classmethod
    def from_folder(cls, folder: Path) -> HfPixels:
        """Read ``preprocessor_config.json``, or the image processor in ``processor_config.json`` (transformers 5).

        Raises:
            WeightsError: neither is there, or it asks for something that CLIPSeg's processor does not do.
        """
        path, values = _read(folder)
        config = {**_DEFAULTS, **values}
        for key in ("do_center_crop", "do_pad"):
            if config.get(key):
                raise WeightsError(f"{path}: {key} is set, which no CLIPSeg processor does.", _REMEDY)
        if not config["do_resize"]:
            raise WeightsError(f"{path}: do_resize is off; CLIPSeg needs images of one square size.", _REMEDY)
        return cls(
            size=_square(config["size"], path),
            resample=int(config["resample"]),
            scale=float(config["rescale_factor"]) if config["do_rescale"] else None,
            mean=_channels(config["image_mean"], path) if config["do_normalize"] else None,
            std=_channels(config["image_std"], path) if config["do_normalize"] else None,
        )

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Float32 (1, 3, size, size)."""
        resized = np.asarray(image.convert("RGB").resize((self.size, self.size), resample=Image.Resampling(self.resample)))
        table = self._table()
        channels = [table[channel][resized[..., channel]] for channel in range(3)]
        return torch.from_numpy(np.stack(channels)[None])

    def _table(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Float32 (3, 256): the value of each byte in each channel, through transformers' own steps and dtypes."""
        values = np.arange(256)
        scaled = values.astype(np.float32) if self.scale is None else (values.astype(np.float64) * self.scale).astype(np.float32)
        if self.mean is None or self.std is None:
            return np.tile(scaled, (3, 1))
        mean, std = np.array(self.mean, dtype=np.float32), np.array(self.std, dtype=np.float32)
        table: np.ndarray[Any, np.dtype[np.float32]] = (scaled - mean[:, None]) / std[:, None]
        return table

    def describe(self) -> dict[str, Any]:
        """As JSON-able values, for a cell's identity."""
        return {"resize": "pillow", **_plain(asdict(self))}


@dataclass(frozen=True)
class PaperPixels:
    """The paper's test pipeline (CLIPSeg datasets/phrasecut.py): resized as floats by torch, aligned corners, no antialiasing."""

    size: int = PAPER_SIZE

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Float32 (1, 3, size, size)."""
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float().contiguous()
        resized = torch.nn.functional.interpolate(pixels, (self.size, self.size), mode="bilinear", align_corners=True)
        mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
        return (resized / 255 - mean) / std

    def describe(self) -> dict[str, Any]:
        """As JSON-able values, for a cell's identity."""
        return {"resize": "torch-bilinear-aligned", "size": self.size, "mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)}


def _read(folder: Path) -> tuple[Path, dict[str, Any]]:
    for name in _FILES:
        path = folder / name
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise WeightsError(f"{path} cannot be read: {error}.", "Fetch it again.") from error
        values = content.get("image_processor") if name == _FILES[1] else content
        if isinstance(values, dict):
            return path, {key: value for key, value in values.items() if value is not None}
    raise WeightsError(f"{folder} has no {' nor '.join(_FILES)} with an image processor, which the recipe hf needs.", _REMEDY)


def _square(size: object, path: Path) -> int:
    """The side that ``size`` states: a number in files of 2022, height and width since."""
    side = size.get("height") if isinstance(size, dict) and size.get("height") == size.get("width") else size
    if not isinstance(side, int) or isinstance(side, bool) or side < 1:
        raise WeightsError(f"{path}: size is {size!r}; CLIPSeg needs a square, like 352 or equal height and width.", _REMEDY)
    return side


def _channels(values: object, path: Path) -> tuple[float, ...]:
    if not isinstance(values, list) or len(values) != 3 or not all(isinstance(value, int | float) for value in values):
        raise WeightsError(f"{path}: image_mean and image_std must be three numbers each, got {values!r}.", _REMEDY)
    return tuple(float(value) for value in values)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
