"""CLIPSeg (ViT-B/16 at 352, seeded weights) per image with 1 and 6 phrases, beside transformers called on pairs."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from baselines_clipseg import pairs_at_once
from make_clipseg import write_clipseg
from PIL import Image
from transformers import AutoTokenizer, CLIPSegForImageSegmentation

from ldznet_bench.api import load_model
from ldznet_bench.models.clipseg_pixels import HfPixels
from ldznet_bench.models.segmenter import ImageInput, Pair

ROUNDS = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_clipseg(tmp_path_factory.mktemp("clipseg"), size="full")


def ours(model, image, phrases):
    """Score maps of one image: the image tower once, each phrase's text once, the decoder per pair."""
    encoded = model.encode_image([ImageInput("image", image.height, image.width, 0, lambda: image)])[0]
    pairs = [Pair(phrase, phrase, image.height, image.width, 0, encoded, model.encode_text([phrase])[0]) for phrase in phrases]
    step = model.micro_batch
    return [scores for start in range(0, len(pairs), step) for scores in model.predict(pairs[start : start + step])]


@pytest.mark.parametrize("count", [1, 6])
def test_one_image(folder, benchmark, count, capsys):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8))
    phrases = ["the red car", "a man in white", "grass", "two dogs on the left", "sky", "window of the old house"][:count]
    model = load_model("clipseg", weights={"clipseg": folder})
    plain = CLIPSegForImageSegmentation.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    pixels = HfPixels.from_folder(folder)
    wanted = pairs_at_once(plain, pixels, tokenizer, image, phrases).sigmoid()
    found = torch.stack([torch.as_tensor(scores) for scores in ours(model, image, phrases)])
    assert (found - wanted).abs().max() < 1e-4
    seconds = []
    for _ in range(ROUNDS):  # in turn, so that a drift of the machine hits both
        start = time.perf_counter()
        pairs_at_once(plain, pixels, tokenizer, image, phrases)
        middle = time.perf_counter()
        ours(model, image, phrases)
        seconds.append((time.perf_counter() - middle, middle - start))
    mine, theirs = np.median(seconds, axis=0)
    benchmark.extra_info["ratio"] = theirs / mine
    benchmark.pedantic(ours, args=(model, image, phrases), rounds=3)
    with capsys.disabled():
        print(f"\n{count} phrases: ours {mine:.2f} s an image, pairs {theirs:.2f} s: {theirs / mine:.2f}x the phrases a second")
