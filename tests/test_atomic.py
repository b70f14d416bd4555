from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from ldznet_bench.atomic import replacing, write_bytes
from ldznet_bench.errors import BenchError


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_a_pipe_is_written_into_and_stays_a_pipe(pipe: Path) -> None:
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_bytes(pipe, b"table")
    reader.join(10)
    assert read == [b"table"] and stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_pipe_is_never_replaced(pipe: Path) -> None:
    with pytest.raises(BenchError, match="a device or a pipe"), replacing(pipe):
        pass
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_folder_is_no_target(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="cannot write"):
        write_bytes(tmp_path, b"x")
    assert tmp_path.is_dir()
