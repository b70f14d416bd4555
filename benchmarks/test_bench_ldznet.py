"""LD-ZNet at full size, seeded weights, one photograph with 1 and 5 phrases, beside the plain sequence of passes in the same run,
in CPU seconds of one thread: neither a busy machine nor threads that wait for each other stretch them.

9 GB of memory and five minutes. What is saved: the VAE's pass for all phrases but the first, and the diffusion UNet behind the last tap.
"""

from __future__ import annotations

import copy
import resource
import time

import numpy as np
import pytest
import torch
from baselines_ldznet import plain_sequence
from make_sd import write_tokenizer
from PIL import Image

from ldznet_bench.models.checkpoints import Architecture
from ldznet_bench.models.diffusion import Diffusion, Recipe
from ldznet_bench.models.diffusion_pixels import square_pixels
from ldznet_bench.models.ldznet import LDZNet
from ldznet_bench.models.sd import FeatureTaps, build_text_encoder, build_unet, build_vae
from ldznet_bench.models.segmenter import ImageInput, Pair
from ldznet_bench.models.segunet import CONSUMED_TAPS, SegmentationUNet
from ldznet_bench.models.weight_folders import load_tokenizer

PHRASES = ("the red car", "a man in white", "grass", "two dogs on the left", "sky")


class Networks:
    """Everything once in memory; ours and the baseline share the weights."""

    def __init__(self, folder):
        torch.manual_seed(0)
        sizes = Architecture()
        frozen = lambda module: module.eval().requires_grad_(False)  # noqa: E731
        self.vae, self.ldm = frozen(build_vae(sizes.sd.vae)), frozen(build_unet(sizes.sd.unet))
        self.text, self.network = frozen(build_text_encoder(sizes.sd.text)), frozen(SegmentationUNet(sizes.segmenter))
        sharing = {id(parameter): parameter for parameter in self.ldm.parameters()}
        taps = FeatureTaps(copy.deepcopy(self.ldm, sharing), CONSUMED_TAPS)
        tokenizer = load_tokenizer(write_tokenizer(folder))
        place = {"device": torch.device("cpu"), "dtype": torch.float32}
        self.diffusion = Diffusion(sizes.sd, self.text, tokenizer, vae=self.vae, ldm=taps, **place)
        self.model = LDZNet("ldznet/full", self.network, self.diffusion, Recipe(), weights="seeded", options={})

    def tokenize(self, prompt):
        ids, _ = self.diffusion.tokens(prompt)
        return torch.tensor([[*ids, *[ids[-1]] * (77 - len(ids))]])

    def ours(self, image, phrases):
        encoded = self.model.encode_image([ImageInput("1", image.height, image.width, 0, lambda: image)])[0]
        texts = self.model.encode_text([self.model.prompt(phrase, 0) for phrase in phrases])
        pairs = [Pair(phrase, phrase, 1, 1, 0, encoded, text) for phrase, text in zip(phrases, texts, strict=True)]
        return [self.model.decode([pair])[0] for pair in pairs], encoded.noise


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Networks(tmp_path_factory.mktemp("tokenizer"))
    torch.set_num_threads(threads)


@pytest.mark.parametrize("count", [1, 5])
def test_one_image(networks, benchmark, count, capsys):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8))
    phrases = PHRASES[:count]
    prompts = [networks.model.prompt(phrase, 0) for phrase in phrases]
    parts = (networks.vae, networks.ldm, networks.network, networks.text, networks.tokenize)
    networks.ours(image, phrases[:1])  # pages that were never touched
    start = time.process_time()
    mine, noise = benchmark.pedantic(networks.ours, args=(image, phrases), rounds=1)
    middle = time.process_time()
    plain = plain_sequence(*parts, square_pixels(image, 384), noise[None], prompts)
    each = [(middle - start) / count, (time.process_time() - middle) / count]
    assert max(float((a - b).abs().max()) for a, b in zip(mine, plain, strict=True)) <= 1e-4 * float(torch.stack(plain).std())
    benchmark.extra_info["ratio"] = each[1] / each[0]
    with capsys.disabled():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"\n{count} phrases: ours {each[0]:.1f} CPU s a phrase, plain {each[1]:.1f}: {each[1] / each[0]:.2f}x; peak {peak:.1f} GB")
