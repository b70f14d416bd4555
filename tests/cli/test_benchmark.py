"""`benchmark` and the options that buy speed, on tiny networks."""

from __future__ import annotations

import json
import shutil
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch._dynamo
import torch._inductor.config
from make_clipseg import write_clipseg

from ldznet_bench.evaluation import benchmark, cell, loop


@pytest.fixture(scope="module")
def clipseg(tmp_path_factory):
    return write_clipseg(tmp_path_factory.mktemp("clipseg"))


def test_weight_free_models_are_timed_without_torch(bench):
    said = bench("benchmark", "--models", "oracle,noise", "--limit", 6, "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    oracle, noise = found["models"]
    assert (oracle["samples"], noise["model"], noise["parameters"], noise["flops"], noise["effect"]) == (6, "noise", 0, None, None)
    assert oracle["latency_ms"] is None and noise["latency_ms"]["p50"] <= noise["latency_ms"]["p95"]
    assert noise["phrases_per_second"] == pytest.approx(6 / noise["seconds"])
    assert set(noise["phases"]) == {"load", "preprocess", "network", "score", "write"}
    assert {row["method"]: row["ms_per_image"] for row in found["published"]}.items() >= {"ZNet": 55, "RGBNet": 62, "LD-ZNet": 101}.items()
    text = bench("benchmark", "--models", "noise", "--limit", 6)
    assert "images/s" in text.out and "RTX A6000" in text.out


def test_a_network_is_counted_and_what_options_do_to_its_scores_is_said(bench, clipseg, tmp_path):
    command = ("benchmark", "--models", "clipseg/full", "--weights", f"clipseg={clipseg}", "--dataset", "example:test", "--limit", 4)
    (plain,) = json.loads(bench(*command, "--json").out)["models"]
    assert plain["effect"] is None
    assert plain["parameters"] > 10_000 and all(value > 0 for value in plain["flops"].values())
    assert 0 < plain["network_share"] <= 1 and plain["peak_memory"]["host"] > 2**20
    said = bench(*command, "--precision", "bf16", "--channels-last", "--json")
    assert said.code == 0, said.err
    (asked,) = json.loads(said.out)["models"]
    effect = asked["effect"]
    assert effect["options"] == {"precision": "bf16", "channels_last": True}
    assert effect["unit"] == "logits" and 0 < effect["deviation"] <= effect["largest"] < 1 < effect["spread"]
    assert effect["samples"] == 4 and len(effect["counts"]) <= 4
    assert "against the plain model: logits differ by at most" in bench(*command, "--precision", "bf16").out
    assert not (tmp_path / "runs").exists()


def test_fast_is_found_once_and_is_identity(bench, clipseg, tmp_path):
    command = ("run", "--models", "clipseg/full", "--weights", f"clipseg={clipseg}", "--datasets", "example:test", "--home", "home", "--limit", 3)
    (run,) = json.loads(bench(*command, "--fast", "--json").out)["runs"]
    (known,) = json.loads((tmp_path / "home" / "fast.json").read_text()).values()
    about = json.loads((tmp_path / run["path"] / "run.json").read_text())
    assert about["identity"]["micro_batch"] == known and about["provenance"]["fast"] is True
    assert "finished before" in bench(*command, "--fast").err
    said = bench(*command, "--fast", "--micro-batch", 2)
    assert said.code == 2 and "Leave one of them out" in said.err
    (other,) = json.loads(bench(*command, "--channels-last", "--json").out)["runs"]
    about = json.loads((tmp_path / other["path"] / "run.json").read_text())
    assert about["identity"]["recipe"]["channels_last"] is True and other["identity"] != run["identity"]
    assert bench("run", "--models", "box", "--fast", "--compile", "--limit", 2).code == 0, "models without networks have nothing to compile"


@pytest.mark.parametrize(("compiled", "calls"), [(False, 4), (True, 6)])
def test_what_is_compiled_for_a_new_size_is_not_latency(compiled, calls, monkeypatch):
    """One call warms a plain network up; a compiled one meets every image before the clock counts."""
    seen, clock = [], iter(range(100))
    monkeypatch.setattr(benchmark, "_pair", lambda _model, _cell, image, _sample, _encoded=None: seen.append(image.image_id))
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(clock))
    segmenter = SimpleNamespace(predict=lambda pairs: [np.zeros((2, 2), np.float32) for _ in pairs])
    images = [(SimpleNamespace(image_id=name), None) for name in "abbc"]
    assert benchmark._latencies(segmenter, None, images, SimpleNamespace(compiled=compiled)) == {"p50": 1000, "p95": 1000}
    assert (len(seen), seen[-3:]) == (calls, ["a", "b", "c"])


def test_what_is_timed_is_not_padding(bench):
    """Neighbouring images fill micro-batches as they do in a run: 9 phrases and more, in calls of 8."""
    said = bench("benchmark", "--models", "clipseg", "--micro-batch", 8, "--limit", 24, "--json")
    (found,) = json.loads(said.out)["models"]
    assert 24 <= found["samples"] < 40 and found["images"] < 10
    assert set(found["network"]) == {"image", "prompt", "pair"} and all(value > 0 for value in found["network"].values())
    assert found["network"]["pair"] * found["samples"] < 1000 * found["phases"]["network"]
    assert found["effect"]["samples"] == found["samples"]


def test_the_first_count_is_not_timed(bench, monkeypatch):
    """It imports torch for a resize, and opens what a later one finds open."""
    counted = []
    real = loop.Loop._count

    def slow_at_first(*arguments):
        if not counted:
            time.sleep(1)
        counted.append(1)
        return real(*arguments)

    monkeypatch.setattr(loop.Loop, "_count", slow_at_first)
    (found,) = json.loads(bench("benchmark", "--models", "box", "--limit", 6, "--json").out)["models"]
    assert found["seconds"] < 1 and found["phases"]["score"] < 1


def test_a_first_image_that_the_protocol_excludes_is_not_warmed_up_on(bench, monkeypatch):
    from ldznet_bench.evaluation import selection

    real = selection.select

    def without_the_first(groups, protocol, **more):
        return real([group for group in groups if group.index], protocol, **more)

    monkeypatch.setattr(cell, "select", without_the_first)
    (found,) = json.loads(bench("benchmark", "--models", "box", "--limit", 24, "--json").out)["models"]
    assert found["samples"] > 10


def test_one_model_that_fails_leaves_the_others_theirs(bench, clipseg):
    said = bench("benchmark", "--models", "clipseg/full,box", "--weights", f"clipseg={clipseg}", "--device", "cuda", "--limit", 4, "--json")
    found = json.loads(said.out)
    assert (said.code, [one["model"] for one in found["models"]]) == (2, ["box"])
    assert "there is no CUDA device" in found["errors"][0]


def test_without_a_compiler_the_other_models_run(bench, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "/nonexistent")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("/nonexistent",))
    torch._dynamo.reset()
    said = bench("run", "--models", "oracle,clipseg", "--compile", "--limit", 3, "--json")
    found = json.loads(said.out)
    assert (said.code, [one["model"] for one in found["runs"]]) == (2, ["oracle"])
    assert "could not be compiled" in found["errors"][0] and "--compile" in found["errors"][0]


def test_damaged_memories_of_fast_are_told(bench, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "fast.json").write_text("junk")
    said = bench("run", "--models", "clipseg", "--fast", "--limit", 3, "--home", "home")
    assert said.code == 2 and "fast.json is damaged" in said.err


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here, and g++ is not installed")
def test_a_compiled_network_is_timed_and_its_scores_are_compared(bench):
    said = bench("benchmark", "--models", "clipseg", "--compile", "--limit", 6, "--json")
    assert said.code == 0, said.err
    (found,) = json.loads(said.out)["models"]
    assert found["recipe"]["compiled"] is True and found["effect"]["options"] == {"compiled": True}
    assert found["effect"]["largest"] < 1e-4 * found["effect"]["spread"] and found["effect"]["counts"] == []
    assert found["latency_ms"]["p95"] < 1000, "compiling is no part of it"
