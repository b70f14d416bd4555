"""SIGKILL at 20 random moments of a download and of preparing: the same command ends in the same bytes, and next to nothing comes twice."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from make_mirror import Hosts
from mirror import Mirror

from ldznet_bench.acquisition.part import CHUNK_BYTES

pytestmark = pytest.mark.slow

KILLS = 20
SLACK = 1 << 18
"""What may lie in the sockets when a client dies: it has left the server and has not arrived."""
RUN = "import sys; from ldznet_bench.cli.main import main; main(sys.argv[1:])"


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with Mirror() as mirror:
        yield Hosts(mirror, tmp_path / "world")


def start(hosts: Hosts, home: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = os.environ | hosts.environment() | {"LDZNET_BENCH_HOME": str(home), "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen([sys.executable, "-c", RUN, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()


def tree(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_download_killed_twenty_times(hosts: Hosts, tmp_path: Path) -> None:
    card = hosts.phrasecut(images=150, phrases=30_000)
    release = hosts.folder / "VGPhraseCut_v0"
    tasks = hosts.drive.files["1jrzXm1gcq6f5hNDeamZd0UmyyHUv61IZ"]
    assert len(tasks.content) > 12 * CHUNK_BYTES
    for served in (*hosts.drive.files.values(), *hosts.mirror.served.values()):
        served.rate = 20_000 if len(served.content) < 20_000 else 1_500_000
    numbers = random.Random(0)
    command = ("download", "phrasecut:test", "--card", str(card), "--quiet")
    killed = 0
    while killed < KILLS:
        process = start(hosts, tmp_path / "home", *command)
        time.sleep(numbers.uniform(0.4, 2.2))
        if process.poll() is not None:
            break
        process.kill()
        process.communicate()
        killed += 1
    for served in (*hosts.drive.files.values(), *hosts.mirror.served.values()):
        served.rate = 0
    finish(start(hosts, tmp_path / "home", *command))
    assert killed == KILLS
    assert tree(tmp_path / "home" / "datasets" / "VGPhraseCut_v0") == tree(release)
    sent = sum(asked.sent for asked in hosts.mirror.asked if "1jrzXm1gcq6f5hNDeamZd0UmyyHUv61IZ" in asked.path)
    print(f"\n{killed} kills: {sent:,} bytes left the server for a file of {len(tasks.content):,}")
    assert sent <= len(tasks.content) + killed * (CHUNK_BYTES + SLACK)
    images = [count for path, count in hosts.mirror.count().items() if path.endswith(".jpg")]
    assert len(images) == 150
    assert sum(images) <= 150 + killed * 16  # as many as were in flight
    assert list((tmp_path / "home" / "partial").iterdir()) == []


def test_preparing_killed_twenty_times(hosts: Hosts, tmp_path: Path) -> None:
    card = hosts.phrasecut(images=300, phrases=6000)
    home = tmp_path / "home"
    command = ("download", "phrasecut:test", "--card", str(card), "--quiet")
    finish(start(hosts, home, *command))
    prepared = home / "prepared" / "phrasecut:test"
    whole = tree(prepared)
    begin = time.monotonic()
    finish(start(hosts, home, *command))
    opened = time.monotonic() - begin
    shutil.rmtree(prepared)
    begin = time.monotonic()
    finish(start(hosts, home, *command))
    takes = time.monotonic() - begin
    assert tree(prepared) == whole
    shutil.rmtree(prepared)
    numbers, killed = random.Random(1), 0
    while killed < KILLS:
        process = start(hosts, home, *command)
        time.sleep(numbers.uniform(opened * 0.8, takes))
        if process.poll() is not None:
            shutil.rmtree(prepared, ignore_errors=True)  # it was faster this time; once more
            continue
        process.kill()
        process.communicate()
        killed += 1
        assert not [path for path in prepared.glob("*-*/meta.json") if not path.parent.name.startswith(".") and tree(prepared) != whole]
    finish(start(hosts, home, *command))
    assert {name: value for name, value in tree(prepared).items() if not name.startswith(".making")} == whole
