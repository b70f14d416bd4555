"""What every test gets: a home of its own, no network but loopback, and the real photographs where they are at hand."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

# Set before anything imports the hub or torch: no look-ups by name, and the thread count that byte-for-byte tests assume.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# One thread: the networks of the tests are tiny, and threads that spin for each other made the suite four times slower on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"


def _loopback(address: object) -> bool:
    if isinstance(address, str | bytes):  # a Unix socket
        return True
    return isinstance(address, tuple) and (str(address[0]).startswith("127.") or address[0] in ("localhost", "::1"))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections to anything but this machine fail at once."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded(self: socket.socket, address: object) -> None:
        if not _loopback(address):
            raise OSError(f"tests may not connect to {address!r}")
        connect(self, address)  # type: ignore[arg-type]

    def guarded_ex(self: socket.socket, address: object) -> int:
        if not _loopback(address):
            raise OSError(f"tests may not connect to {address!r}")
        return connect_ex(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_ex)


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing of the user's cache is read or written, and no launcher's variables leak in."""
    monkeypatch.setenv("LDZNET_BENCH_HOME", str(tmp_path_factory.mktemp("home")))
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _clean_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs made by tests are not stamped dirty while somebody works on the checkout."""
    monkeypatch.setattr("ldznet_bench.evaluation.provenance._dirty", lambda: False)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photographs laid out as releases; tests that need it skip where it is absent."""
    folder = SHARED / "data" / "real"
    if not folder.is_dir():
        pytest.skip(f"the real photographs are not in {folder}")
    return folder


@pytest.fixture(scope="session")
def subset_words() -> Path:
    """The authors' word lists of PhraseCut's subsets; tests that need them skip where they are absent."""
    file = SHARED / "facts" / "phrasecut_subset_words.json"
    if not file.is_file():
        pytest.skip(f"PhraseCut's word lists are not in {file}")
    return file
