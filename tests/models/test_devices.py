"""Devices, precisions, and running out of memory."""

from __future__ import annotations

import pytest
import torch

from ldznet_bench.errors import BenchError
from ldznet_bench.models.devices import inference, pick_device, pick_dtype


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_cpu() -> None:
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(("rank", "index"), [(None, 0), ("1", 1), ("3", 1)])
def test_cuda_is_this_processes_own(monkeypatch: pytest.MonkeyPatch, rank: str | None, index: int) -> None:
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert pick_device("cuda") == torch.device("cuda", index)


@pytest.mark.usefixtures("two_gpus")
def test_cuda_by_number() -> None:
    assert pick_device("cuda:1") == torch.device("cuda", 1)


@pytest.mark.usefixtures("two_gpus")
def test_more_gpus_than_there_are() -> None:
    with pytest.raises(BenchError, match="no device cuda:2; this machine has 2"):
        pick_device("cuda:2")


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BenchError, match=r"no CUDA device for --device cuda. Use --device cpu"):
        pick_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "mps"])
def test_unknown_device(name: str) -> None:
    with pytest.raises(BenchError, match=f"unknown device '{name}'"):
        pick_device(name)


def test_unknown_precision() -> None:
    with pytest.raises(BenchError, match=r"unknown precision 'fp23'. Did you mean 'fp32'"):
        pick_dtype("fp23")


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: …")]
)
def test_out_of_memory_says_what_to_try(error: Exception) -> None:
    with (
        pytest.raises(BenchError, match=r"clipseg ran out of memory. Try a smaller --micro-batch \(it is 16\), --precision bf16"),
        inference("clipseg", 16),
    ):
        raise error


def test_a_micro_batch_of_one_cannot_shrink() -> None:
    with pytest.raises(BenchError, match="Try another device"), inference("clipseg", 1):
        raise MemoryError


def test_other_errors_stay_themselves() -> None:
    with pytest.raises(RuntimeError, match="shapes"), inference("clipseg", 1):
        raise RuntimeError("shapes do not match")


def test_cudnn_convolves_in_float32_and_repeatably() -> None:
    with inference("clipseg", 1):
        flags = (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark)
    assert flags == (False, True, False)


def test_no_gradients() -> None:
    with inference("clipseg", 1):
        assert not torch.is_grad_enabled()
