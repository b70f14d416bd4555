"""Memory: how much there is, and how much a piece of work took at its peak. Imports torch only for a GPU."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

_STATUS, _REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def available_bytes(device: str) -> int:
    """Bytes that are free on a device class; 2 GiB where the system does not tell."""
    if device == "cuda":
        import torch

        free: int = torch.cuda.mem_get_info()[0]
        return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 2 << 30


class PeakMemory:
    """The peak between entering and leaving.

    Attributes:
        host: peak resident bytes of the process. Where the system cannot forget an earlier peak (Linux can), the process's own.
        grown: how much the peak was above what was in use at the start, on the device.
        device: peak bytes that torch had allocated on the GPU; None without one.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._cuda = device == "cuda"
        self.host = self.grown = self._before = 0
        self.device: int | None = None

    def __enter__(self) -> PeakMemory:
        with contextlib.suppress(OSError):
            _REFS.write_text("5")
        self._before = _status("VmRSS:")
        if self._cuda:
            import torch

            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
        return self

    def __exit__(self, *_: object) -> None:
        self.host = _status("VmHWM:")
        self.grown = max(0, self.host - self._before)
        if self._cuda:
            import torch

            torch.cuda.synchronize()
            self.device = int(torch.cuda.max_memory_allocated())
            self.grown = self.device - self._before


def _status(key: str) -> int:
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
