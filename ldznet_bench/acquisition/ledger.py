"""What has arrived, in one line per file: the memory that makes a second `download` quick and a changed file noticed.

The first hash that is seen of a file whose card states none is its pin: another content under the same name is refused later.
"""

from __future__ import annotations

import datetime
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ldznet_bench.acquisition.specs import DERIVED
from ldznet_bench.errors import BenchError


@dataclass(frozen=True, slots=True)
class Arrival:
    """One file that arrived and was found right.

    Attributes:
        path: posix, relative to the home.
        size: bytes.
        sha256: hex.
        modified: st_mtime_ns when it was put in place; a file of this size and time is not hashed again.
        mirror: where it came from.
        seen: date and time, UTC.
    """

    path: str
    size: int
    sha256: str
    modified: int
    mirror: str
    seen: str


class Ledger:
    """An append-only file of arrivals; the first line of a path is its pin, the last one its state.

    Lines are appended by one write each, so several processes can share it; a line cut by a crash is passed over.

    Args:
        path: of the ledger.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._first: dict[str, Arrival] = {}
        self._last: dict[str, Arrival] = {}
        self._read_bytes = 0
        self._refresh()

    def pin(self, path: str) -> Arrival | None:
        """The first arrival of a path."""
        return self._first.get(path)

    def last(self, path: str) -> Arrival | None:
        """The latest arrival of a path."""
        with self._lock:
            if path not in self._last:
                self._refresh()
            return self._last.get(path)

    def paths(self) -> list[str]:
        """Every path that ever arrived, sorted."""
        return sorted(self._last)

    def record(self, path: str, file: Path, sha256: str, mirror: str) -> Arrival:
        """Note an arrival."""
        state = file.stat()
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        arrival = Arrival(path, state.st_size, sha256, state.st_mtime_ns, mirror, now)
        self._append(arrival)
        return arrival

    def doubt(self, path: str) -> None:
        """A file proved damaged although size and time are right: it will be hashed, and fetched again, before it is trusted."""
        arrival = self.last(path)
        if arrival is not None:
            self._append(replace(arrival, modified=-1))

    def _append(self, arrival: Arrival) -> None:
        line = json.dumps(asdict(arrival), ensure_ascii=True) + "\n"
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)
            self._note(arrival)

    def forget(self, prefix: str) -> None:
        """Drop a path, or every path below it, pins included: what comes next is trusted as the first time."""
        with self._lock:
            kept = [arrival for arrival in self._lines() if arrival.path != prefix and not arrival.path.startswith(f"{prefix}/")]
            temporary = self.path.with_name(self.path.name + ".new")
            temporary.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text("".join(json.dumps(asdict(arrival)) + "\n" for arrival in kept), encoding="utf-8")
            temporary.replace(self.path)
            self._first, self._last, self._read_bytes = {}, {}, 0
            self._refresh()

    def unchanged(self, path: str, file: Path) -> Arrival | None:
        """The latest arrival if the file on disk still has its size and time; None otherwise."""
        arrival = self.last(path)
        if arrival is None:
            return None
        try:
            state = file.stat()
        except OSError:
            return None
        return arrival if (state.st_size, state.st_mtime_ns) == (arrival.size, arrival.modified) else None

    def _note(self, arrival: Arrival) -> None:
        if arrival.mirror != DERIVED:
            self._first.setdefault(arrival.path, arrival)
        self._last[arrival.path] = arrival

    def _refresh(self) -> None:
        """Read what other processes have appended."""
        for arrival in self._lines(self._read_bytes):
            self._note(arrival)

    def _lines(self, start: int = 0) -> Iterator[Arrival]:
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                content = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise BenchError(f"cannot read {self.path}: {error.strerror}.", "Check its permissions, or choose another --home.") from error
        whole = content[: content.rfind(b"\n") + 1]
        self._read_bytes = start + len(whole)
        for line in whole.splitlines():
            try:
                yield Arrival(**json.loads(line))
            except (ValueError, TypeError):
                continue
