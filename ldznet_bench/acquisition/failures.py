"""How fetching fails: one mirror, one file, or the whole command."""

from __future__ import annotations

from ldznet_bench.errors import BenchError, DataError


class MirrorFailure(Exception):  # noqa: N818 - it never leaves this package; `DownloadError` does
    """One mirror could not give a file.

    Args:
        reason: why, in one line.
    """

    def __init__(self, reason: str) -> None:
        self.reason = " ".join(reason.split())
        super().__init__(self.reason)


class Broken(MirrorFailure):
    """The mirror may do better when asked again.

    Args:
        reason: why, in one line.
        wait: seconds that the mirror asks to be left alone, if it says.
        hardly: it will hardly help (no such host, nobody listens): tried once more, not five times with growing pauses.
    """

    def __init__(self, reason: str, wait: float | None = None, hardly: bool = False) -> None:
        self.wait = wait
        self.hardly = hardly
        super().__init__(reason)


class Stopped(Exception):  # noqa: N818 - not an error: the user pressed Ctrl-C
    """The command is being ended; what has arrived stays for the next one."""


class OfflineError(BenchError):
    """The network was needed and is switched off."""


class DownloadError(DataError):
    """Files could not be had from any mirror."""


class ArchiveError(DataError):
    """An archive is broken or hostile."""
