from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusion_models import given, model, pairs, write_weights

from ldznet_bench.errors import BenchError
from ldznet_bench.models import speed
from ldznet_bench.models.cost import flops, parameters
from ldznet_bench.models.memory import PeakMemory, available_bytes
from ldznet_bench.models.repeats import averaged


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights"))


def trial_of(seconds_per_call, seconds_per_pair, bytes_per_pair):
    asked = []

    def trial(size):
        asked.append(size)
        return seconds_per_call + size * seconds_per_pair, size * bytes_per_pair

    return trial, asked


def test_the_search_stops_at_memory_and_where_nothing_is_won():
    trial, asked = trial_of(1.0, 0.0, 100)
    assert speed._search(trial, budget=1000) == 8, "16 pairs would take 1600 bytes"
    assert max(asked) == 8
    trial, asked = trial_of(0.0, 1.0, 1)
    assert speed._search(trial, budget=10**9) == 1
    assert max(asked) == 4
    trial, _ = trial_of(1.0, 0.0, 0)
    assert speed._search(trial, budget=10) == 64, "more than 8 images have phrases is padding"


def test_padding_is_not_taken_for_speed():
    """Where 44 pairs stand together, 64 at once compute 20 for nothing; beyond that nothing is tried."""
    trial, asked = trial_of(0.0001, 1.0, 1)
    assert speed._search(trial, budget=10**9, fill=44) == 1
    trial, asked = trial_of(10.0, 0.0, 1)
    assert speed._search(trial, budget=10**9, fill=44) == 64
    assert max(asked) == 64
    trial, asked = trial_of(10.0, 1.0, 1)
    assert speed._search(trial, budget=10**9, fill=44) == 16, "32 at 42 s do 22, 16 at 26 s do 14.7"


def test_running_out_of_memory_ends_the_search_and_other_errors_do_not_pass():
    def trial(size):
        if size > 2:
            raise BenchError("out of memory", "") from MemoryError()
        return 1.0, 1

    assert speed._search(trial, budget=100) == 2

    def broken(size):
        raise BenchError("damaged", "")

    with pytest.raises(BenchError, match="damaged"):
        speed._search(broken, budget=100)


def test_what_is_found_is_remembered(weights, tmp_path, monkeypatch):
    network = model(weights, "rgbnet")
    monkeypatch.setattr(speed, "_LARGEST", 2)
    image = given().rgb
    found = speed.fast_micro_batch(network, image, tmp_path)
    assert network.micro_batch == 1, "the search leaves no trace"
    monkeypatch.setattr(speed, "_search", lambda *_: pytest.fail("searched again"))
    assert speed.fast_micro_batch(network, image, tmp_path) == found


@pytest.mark.slow
def test_compiled_networks_answer_nearly_alike_and_say_so(weights):
    plain, compiled = model(weights), model(weights)
    speed.sharpen(compiled, channels_last=True, compiled=True, backend="aot_eager")
    assert compiled.recipe == {**plain.recipe, "channels_last": True, "compiled": True}
    image = given()
    mine, theirs = (one.decode(pairs(one, image, ("a cat", "road"))) for one in (compiled, plain))
    torch.testing.assert_close(torch.stack(mine), torch.stack(theirs), rtol=1e-4, atol=1e-4)


def test_draws_keep_the_options(weights):
    drawn = model(weights, "znet", recipe="paper-stochastic")
    speed.sharpen(drawn, channels_last=True, compiled=False)
    assert drawn.repeated(2).recipe["channels_last"] and averaged(drawn, 2).recipe["channels_last"]
    assert "repeat" not in drawn.repeated(2).repeated(0).recipe


def test_the_autoencoder_runs_once_for_all_draws(weights, monkeypatch):
    network = model(weights, recipe="paper-stochastic")
    apart = [network.repeated(repeat).encode_image([given()])[0] for repeat in range(3)]
    calls = []
    moments = network._diffusion.moments
    monkeypatch.setattr(network._diffusion, "moments", lambda image: calls.append(1) or moments(image))
    (together,) = averaged(network, 3).encode_image([given()])
    assert len(calls) == 1
    for one, other in zip(apart, together, strict=True):
        assert torch.equal(one.source, other.source) and torch.equal(one.noise, other.noise)
    assert not torch.equal(together[0].source, together[1].source)


def test_parameters_and_flops(weights):
    network = model(weights, micro_batch=2)
    diffusion = network._diffusion
    networks = (diffusion.text_encoder, diffusion.vae, diffusion.ldm, network._network)
    assert parameters(network) == sum(parameter.numel() for one in networks for parameter in one.parameters())
    found = flops(network, given(), "a cat")
    assert all(value > 0 for value in found.values())
    assert found["pair"] == pytest.approx(flops(model(weights), given(), "a cat")["pair"])


def test_peak_memory_sees_what_was_taken_and_given_back():
    with PeakMemory() as peak:
        np.ones(8 << 20).sum()  # 64 MiB
    assert 60 << 20 < peak.grown < 160 << 20 and peak.device is None
    assert available_bytes("cpu") > 0
