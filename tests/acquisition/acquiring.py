"""What tests of fetching share: little patience, a watcher that remembers, short ways to write a file of a card."""

from __future__ import annotations

from ldznet_bench.acquisition.network import Policy
from ldznet_bench.acquisition.specs import FileSpec
from ldznet_bench.acquisition.specs import Mirror as MirrorSpec

IMPATIENT = Policy(connect_timeout=2, read_timeout=2, retries=3, backoff=0.01, max_wait=3, slow_seconds=0.5, slow_bytes=1000)


class Notes:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.files: list[str] = []

    def moved(self, name: str, done: int, total: int | None) -> None:
        pass

    def arrived(self, name: str, size: int, mirror: str) -> None:
        self.files.append(name)

    def said(self, text: str) -> None:
        self.texts.append(text)


def spec_of(path: str, *urls: str, **options: object) -> FileSpec:
    return FileSpec(path, tuple(MirrorSpec(https=url) for url in urls), **options)  # type: ignore[arg-type]
