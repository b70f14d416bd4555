"""The official checkpoint at full size: 11.7 GB written, converted, loaded, converted again. `-m slow`; 30 GB of disk, 2 minutes on two cores."""

from __future__ import annotations

import json
import resource
import shutil
import time
from pathlib import Path

import pytest
import torch
from make_sd import golden_weight, write_full_checkpoint

from ldznet_bench.models.segunet import SegmentationUNet
from ldznet_bench.models.weight_folders import convert, fill, open_bundle, segmenter_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
_NEEDED = 30 << 30


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full")
    free = shutil.disk_usage(folder).free
    if free < _NEEDED:
        pytest.skip(f"{free >> 30} GB of disk are free, {_NEEDED >> 30} are needed")
    return write_full_checkpoint(folder / "LDZNet_txt2mask.ckpt")


def test_full_checkpoint_converts_loads_and_converts_again(checkpoint: Path) -> None:
    folder = checkpoint.parent
    start = time.perf_counter()
    first = convert(open_bundle(checkpoint), folder / "first")
    print(f"converted in {time.perf_counter() - start:.0f} s")
    assert {name: entry["parameters"] for name, entry in first["parts"].items()} == {
        "segmenter": 925_882_936,
        "unet": 859_520_964,
        "vae": 83_653_863,
        "text_encoder": 123_060_480,
    }
    bundle = open_bundle(folder / "first")
    network = fill(lambda: SegmentationUNet(segmenter_config(bundle.parts["segmenter"])), bundle.parts["segmenter"], "LD-ZNet's network")
    name = "model_ema.diffusion_modelinput_blocks81attentionpool2Dpositional_embedding"
    fused = network.unet.get_submodule("down_blocks.2.attentions.1")
    assert torch.equal(fused.attentionpool2D.positional_embedding, golden_weight(name, (1280, 145), "fanin"))
    second = convert(bundle, folder / "second")
    assert json.dumps(first) == json.dumps(second)
    assert (folder / "first" / "manifest.json").read_bytes() == (folder / "second" / "manifest.json").read_bytes()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak {peak:.1f} GB, mapped pages included")
    for made in ("first", "second"):
        shutil.rmtree(folder / made)
    checkpoint.unlink()
