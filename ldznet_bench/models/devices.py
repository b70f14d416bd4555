"""Devices and precisions of networks, and what to say when memory runs out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from ldznet_bench.errors import BenchError, unknown_name

_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str) -> torch.device:
    """The device of a name: ``cpu``, ``cuda`` (this process's GPU under torchrun and its like), or ``cuda:N``.

    Raises:
        BenchError: unknown device, or no such GPU.
    """
    if name == "cpu":
        return torch.device("cpu")
    kind, _, index = name.partition(":")
    if kind != "cuda" or (index and not index.isdigit()):
        raise unknown_name("device", name, ("cpu", "cuda", "cuda:0"))
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise BenchError(
            f"there is no CUDA device for --device {name}.", "Use --device cpu, or install a CUDA build of torch on a machine with a GPU."
        )
    number = int(index) if index else int(os.environ.get("LOCAL_RANK", "0")) % count
    if number >= count:
        raise BenchError(f"there is no device {name}; this machine has {count} GPU(s).", "Count from cuda:0.")
    return torch.device("cuda", number)


def pick_dtype(precision: str) -> torch.dtype:
    """The dtype of ``fp32``, ``bf16`` or ``fp16``.

    Raises:
        BenchError: unknown precision.
    """
    if precision not in _PRECISIONS:
        raise unknown_name("precision", precision, _PRECISIONS)
    return _PRECISIONS[precision]


def emulates_bf16(device: str) -> bool:
    """Whether a processor has no instructions for bf16, so that it is several times slower there than fp32; False where torch cannot tell."""
    known = [getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile")]
    return device == "cpu" and all(known) and not any(has() for has in known if has is not None)


@contextlib.contextmanager
def inference(model: str, micro_batch: int) -> Iterator[None]:
    """Run a network: no gradients, full float32 where float32 is asked for, repeatable algorithms, and out-of-memory in words.

    cuDNN convolves float32 in TF32 (10 bits of mantissa) unless told otherwise, and picks its algorithm by timing if allowed to.

    Raises:
        BenchError: the device (or the machine) is out of memory, or has no compiler for ``--compile``; it says what to try.
    """
    try:
        with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if type(error).__module__.startswith(("torch._inductor", "torch._dynamo")):
            why = str(error).strip().partition("\n")[0]
            raise BenchError(
                f"{model} could not be compiled ({why}).", "torch.compile needs a C++ compiler (g++) here; or leave --compile out."
            ) from error
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and "can't allocate memory" not in str(error):
            raise
        smaller = f"a smaller --micro-batch (it is {micro_batch})" if micro_batch > 1 else "another device"
        raise BenchError(f"{model} ran out of memory.", f"Try {smaller}, --precision bf16, or smaller images.") from error
