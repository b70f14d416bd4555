"""How the field makes masks: the idioms of the public evaluators, written anew here to compare with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from pycocotools import mask as coco
from skimage.draw import polygon2mask

Ring = np.ndarray


def polygon2mask_and_max(rings: Sequence[Ring], height: int, width: int) -> np.ndarray:
    """CLIPSeg and LD-ZNet: a mask per polygon, stacked, maximum."""
    return np.stack([polygon2mask((height, width), ring[:, ::-1]) for ring in rings]).max(axis=0)


def pillow_canvas_per_polygon(rings: Sequence[Ring], height: int, width: int) -> np.ndarray:
    """PhraseCut: integer vertices, a canvas per polygon, summed."""
    mask = np.zeros((height, width))
    for ring in rings:
        image = Image.new("L", (width, height), 0)
        ImageDraw.Draw(image).polygon([(int(x), int(y)) for x, y in ring], outline=1, fill=1)
        mask += np.array(image)
    return mask > 0


def coco_merge_and_decode(rings: Sequence[Ring], height: int, width: int) -> np.ndarray:
    """The COCO API's way to a union, made row-major like every other mask here."""
    codes = coco.frPyObjects([ring.ravel().tolist() for ring in rings], height, width)
    return np.ascontiguousarray(coco.decode(coco.merge(codes))).view(bool)


def coco_decode_and_sum(rings: Sequence[Ring], height: int, width: int) -> np.ndarray:
    """REFER: every polygon decoded, summed; LAVT: equal to one."""
    codes = coco.frPyObjects([ring.ravel().tolist() for ring in rings], height, width)
    return np.sum(coco.decode(codes), axis=2).astype(np.uint8) == 1


def coco_encode(mask: np.ndarray) -> bytes:
    """A column-major copy, then pycocotools."""
    return coco.encode(np.asfortranarray(mask.view(np.uint8)))["counts"]


def coco_decode(counts: bytes, height: int, width: int) -> np.ndarray:
    """pycocotools, then a row-major copy. Nothing is checked."""
    return np.ascontiguousarray(coco.decode({"size": [height, width], "counts": counts})).view(bool)


def torch_nearest(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """CLIPSeg: the mask as a float tensor through torch's legacy nearest."""
    tensor = torch.from_numpy(mask.astype(np.float32))[None, None]
    return torch.nn.functional.interpolate(tensor, size=(height, width), mode="nearest")[0, 0].numpy() > 0
