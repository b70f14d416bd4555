"""Progress: a bar with rate and remaining time on a terminal, a plain line now and then elsewhere; always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import click

from ldznet_bench.evaluation.loop import Progress

_SECONDS_BETWEEN_LINES = 10.0


def make_progress(quiet: bool) -> Callable[[str, int], Progress]:
    """From a title and a number of samples to something that shows how far it is."""
    if quiet:
        return lambda _title, _total: _Silent()
    return _Bar if sys.stderr.isatty() else _Lines


class _Silent:
    def update(self, samples: int) -> None:
        """Nothing."""


class _Bar:
    def __init__(self, title: str, total: int) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=total, desc=title, unit=" samples", smoothing=0.05, dynamic_ncols=True)
        self._left = total

    def update(self, samples: int) -> None:
        self._bar.update(samples)
        self._left -= samples
        if self._left <= 0:
            self._bar.close()


class _Lines:
    def __init__(self, title: str, total: int) -> None:
        self._title, self._total = title, total
        self._done = 0
        self._start = self._spoken = time.monotonic()

    def update(self, samples: int) -> None:
        self._done += samples
        now = time.monotonic()
        if now - self._spoken > _SECONDS_BETWEEN_LINES or self._done >= self._total > 0:
            rate = self._done / max(now - self._start, 1e-9)
            # A slow network may need longer than that for its first sample: nothing is known of its rate yet.
            left = f", {rate:.2g}/s, {max(0, self._total - self._done) / rate:.0f} s left" if self._done else ""
            click.echo(f"{self._title}: {self._done}/{self._total} samples{left}", err=True)
            self._spoken = now
