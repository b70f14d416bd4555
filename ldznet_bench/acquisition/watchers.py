"""Who is told how a download gets on: a bar on a terminal, a line now and then in a log, nobody in a script."""

from __future__ import annotations

import sys
import threading
import time
from typing import TextIO

from ldznet_bench.acquisition.specs import format_size

_SECONDS_BETWEEN_LINES = 10.0


class Silent:
    """Says nothing."""

    def moved(self, name: str, done: int, total: int | None) -> None:
        """See `Watcher`."""

    def arrived(self, name: str, size: int, mirror: str) -> None:
        """See `Watcher`."""

    def said(self, text: str) -> None:
        """See `Watcher`."""

    def close(self) -> None:
        """See `Bar`."""


class _Counting:
    """Adds up bytes over files that move in many threads."""

    def __init__(self, total: int | None, files: int) -> None:
        self.total, self.files = total, files
        self.bytes = self.count = 0
        self._moving: dict[str, int] = {}
        self._lock = threading.Lock()

    def moved(self, name: str, done: int, total: int | None) -> None:
        """See `Watcher`."""
        del total
        with self._lock:
            # The first report of a resumed file counts what an earlier command brought, too: the bar starts where the file does.
            self.bytes += done - self._moving.get(name, 0)
            self._moving[name] = done
            self.show()

    def arrived(self, name: str, size: int, mirror: str) -> None:
        """See `Watcher`."""
        with self._lock:
            self.bytes += size - self._moving.pop(name, 0)
            self.count += 1
            self.show()

    def show(self) -> None:
        """Called under the lock after every change."""


class Bar(_Counting):
    """A bar of bytes with rate and remaining time."""

    def __init__(self, total: int | None, files: int) -> None:
        super().__init__(total, files)
        from tqdm import tqdm

        self._bar = tqdm(total=total, unit="B", unit_scale=True, dynamic_ncols=True, smoothing=0.05)

    def show(self) -> None:
        """Move the bar."""
        self._bar.set_postfix_str(f"{self.count}/{self.files} files", refresh=False)
        self._bar.update(self.bytes - self._bar.n)

    def said(self, text: str) -> None:
        """See `Watcher`."""
        self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


class Lines(_Counting):
    """A line every ten seconds."""

    def __init__(self, total: int | None, files: int, out: TextIO | None = None) -> None:
        super().__init__(total, files)
        self._out = out or sys.stderr
        self._start = self._spoken = time.monotonic()

    def show(self) -> None:
        """Speak when it is time."""
        now = time.monotonic()
        if now - self._spoken < _SECONDS_BETWEEN_LINES:
            return
        self._spoken = now
        rate = self.bytes / max(now - self._start, 1e-9)
        of = f" of {format_size(self.total)}" if self.total else ""
        left = f", {max(0.0, (self.total - self.bytes) / max(rate, 1)):.0f} s left" if self.total else ""
        self.said(f"{format_size(self.bytes)}{of}, {self.count}/{self.files} files, {format_size(int(rate))}/s{left}")

    def said(self, text: str) -> None:
        """See `Watcher`."""
        self._out.write(f"{text}\n")
        self._out.flush()

    def close(self) -> None:
        """Nothing is open."""
