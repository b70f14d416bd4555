"""The processes that work on a cell: each says who it is at the head of its journal, so that a lost one can be named and a foreign one refused."""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from ldznet_bench.evaluation.provenance import packages, threads
from ldznet_bench.evaluation.sharding import Shard


@dataclass(frozen=True, slots=True)
class Worker:
    """A process and its part.

    Attributes:
        shard: its part.
        host: name of its machine.
        pid: its process id there.
        born: when that process began, seconds since 1970: pids come again.
        started: when it opened its journal, UTC, ISO 8601 to the microsecond: two may begin within a second.
        threads: of torch.
        packages: versions, which are provenance.
    """

    shard: Shard
    host: str
    pid: int
    born: float
    started: str
    threads: int | None
    packages: dict[str, str | None]

    @classmethod
    def here(cls, shard: Shard) -> Self:
        """This process."""
        pid = os.getpid()
        return cls(shard, socket.gethostname(), pid, _born(pid) or 0.0, _now(), threads(), packages())

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `to_json` gave."""
        return cls(**{**value, "shard": Shard.parse(value["shard"])})

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**{field.name: getattr(self, field.name) for field in dataclasses.fields(self)}, "shard": str(self.shard)}

    def alive(self) -> bool | None:
        """Whether the process still runs; None where that cannot be seen from this machine."""
        if self.host != socket.gethostname():
            return None
        born = _born(self.pid)
        return born is not None and abs(born - self.born) < 1

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, begun {self.started[:19]}Z"


def host_in_a_file_name() -> str:
    """This machine's name, as journals carry it: where file locks do not reach across machines, no two of them write one file."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname()) or "host"


def when(seconds: float) -> str:
    """A file's time as ISO 8601, UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


def _born(pid: int) -> float | None:
    """When a process of this machine began; None where it is gone, or dead and only waits to be noticed."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None
