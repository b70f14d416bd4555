"""CLIPSeg at full size per image with 1 and 6 phrases, beside transformers on pairs: ``pytest benchmarks/test_bench_clipseg.py``.

Weights are seeded random ones (600 MB in a temporary folder); time does not depend on them. The ratios are printed at the end.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from baselines_clipseg import TransformersPairs
from PIL import Image

from ldznet_bench.models.load import load_model
from ldznet_bench.models.segmenter import ImageInput, Pair

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from make_clipseg import write_clipseg

PHRASES = ("a black dog", "wooden table", "man in a red shirt on the left", "blue sky", "tall tree", "white plate")
ROUNDS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_clipseg(tmp_path_factory.mktemp("clipseg"), size="full")


@pytest.fixture(scope="module")
def theirs(folder):
    return TransformersPairs(folder)


@pytest.fixture(scope="module")
def segmenter(folder):
    return load_model("clipseg/full+hf", weights={"clipseg": folder})


@pytest.fixture(scope="module")
def image():
    coarse = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def timings(request):
    """{phrases: {name: seconds of the fastest round}}, which load on the machine moves least."""
    groups: dict[str, dict[str, float]] = {}
    yield groups
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\nCLIPSeg at full size, seconds per image, {torch.get_num_threads()} thread(s):")
        for group, times in groups.items():
            ratio = times["pairs"] / times["ours"] if len(times) == 2 else float("nan")
            listed = ", ".join(f"{name} {seconds:.2f}" for name, seconds in times.items())
            print(f"  {group}: {listed}; transformers on pairs takes {ratio:.2f} times as long")


@pytest.fixture
def timed(benchmark, timings):
    def run(group, name, function):
        benchmark.group = group
        result = benchmark.pedantic(function, rounds=ROUNDS, warmup_rounds=1)
        if benchmark.stats:
            timings.setdefault(group, {})[name] = benchmark.stats.stats.min
        return result

    return run


def ours(segmenter, image, phrases):
    """As the evaluation loop calls it: encode once, decode in micro-batches."""
    (encoded,) = segmenter.encode_image([ImageInput("i", image.height, image.width, 0, lambda: image)])
    texts = segmenter.encode_text(phrases)
    pairs = [Pair(phrase, phrase, image.height, image.width, 0, encoded, text) for phrase, text in zip(phrases, texts, strict=True)]
    size = segmenter.micro_batch
    return torch.stack([scores for start in range(0, len(pairs), size) for scores in segmenter.predict(pairs[start : start + size])])


@pytest.mark.parametrize("count", [1, 6])
def test_ours(timed, segmenter, image, count):
    assert len(timed(f"{count} phrase(s)", "ours", lambda: ours(segmenter, image, PHRASES[:count]))) == count


@pytest.mark.parametrize("count", [1, 6])
def test_transformers_on_pairs(timed, theirs, segmenter, image, count):
    found = timed(f"{count} phrase(s)", "pairs", lambda: theirs(image, PHRASES[:count]))
    assert float((found - ours(segmenter, image, PHRASES[:count])).abs().max()) < 1e-4
