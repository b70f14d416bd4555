"""What arriving costs: hashing beside coreutils, transfer beside a plain copy, preparing and opening a set of PhraseCut's size.

`pytest benchmarks/test_bench_acquisition.py`. Imports are excluded: they have happened before the clock starts, or happen in a process of their own
that says what it measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from ldznet_bench.acquisition.fetch import Fetcher, check_file, hash_file
from ldznet_bench.acquisition.home import Home
from ldznet_bench.acquisition.ledger import Arrival, Ledger
from ldznet_bench.acquisition.network import Network
from ldznet_bench.acquisition.specs import CardFiles, FileSpec
from ldznet_bench.acquisition.specs import Mirror as MirrorSpec
from ldznet_bench.acquisition.transfer import Expected
from ldznet_bench.acquisition.watchers import Silent

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from make_phrasecut import make_phrasecut
from mirror import Mirror

IMAGES, PHRASES = 2545, 14354
LARGE = 500_000_000

PREPARE = """
import json, re, sys, time
from pathlib import Path
import datasets.arrow_writer  # its import is not what is measured
import PIL.Image
from ldznet_bench.datasets.load import load_dataset
def peak():  # not getrusage: its figure is carried over from the parent
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
before = peak()
start = time.perf_counter()
data = load_dataset("phrasecut:test", data_root=Path(sys.argv[1]), home=Path(sys.argv[2]))
seconds = time.perf_counter() - start
with PIL.Image.open(data.group(0).image.path) as image:
    image.load()
total = time.perf_counter() - start
print(json.dumps({"samples": len(data), "seconds": seconds, "total": total, "imports_mb": before, "peak_mb": peak()}))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.bin"
    block = bytes(range(256)) * 4096
    with path.open("wb") as file:
        for _ in range(LARGE // len(block)):
            file.write(block)
    hash_file(path)  # into the page cache, for everybody alike
    return path


@pytest.mark.benchmark(group="hash 500 MB")
def test_hash_for_verification(benchmark, large):
    fault, _ = benchmark.pedantic(check_file, (large, Expected("any")), rounds=3)
    assert fault is None


@pytest.mark.benchmark(group="hash 500 MB")
def test_hash_by_coreutils(benchmark, large):
    benchmark.pedantic(subprocess.run, (["sha256sum", str(large)],), {"check": True, "capture_output": True}, rounds=3)


def test_verification_hashes_at_more_than_half_of_what_sha256sum_does(large):
    ours = min(_seconds(lambda: check_file(large, Expected("any"))) for _ in range(3))
    theirs = min(_seconds(lambda: subprocess.run(["sha256sum", str(large)], check=True, capture_output=True)) for _ in range(3))
    size = large.stat().st_size / 1e6
    print(f"\nverify {size / ours:,.0f} MB/s, sha256sum {size / theirs:,.0f} MB/s")
    assert ours < 2 * theirs


@pytest.fixture(scope="module")
def server(large):
    with Mirror() as mirror:
        mirror.add("/large.bin", large.read_bytes()[:200_000_000])
        yield mirror


@pytest.mark.benchmark(group="200 MB over loopback")
def test_transfer(benchmark, server, tmp_path):
    spec = FileSpec("large.bin", (MirrorSpec(https=f"{server.base}/large.bin"),), kind="any")

    def again():
        home = Home(tmp_path / str(time.monotonic_ns()))
        folder = home.datasets / "r"
        fetcher = Fetcher(home, CardFiles("r", (spec,)), folder, Network(), Ledger(home.ledger(folder)), Silent())
        assert isinstance(fetcher.get(fetcher.job(spec)), Arrival)

    benchmark.pedantic(again, rounds=3)


@pytest.mark.benchmark(group="200 MB over loopback")
def test_transfer_as_the_field_does(benchmark, server, tmp_path):
    """`open(path, "wb").write(requests.get(url).content)`: no check, no resume, everything in memory."""
    benchmark.pedantic(lambda: (tmp_path / "x").write_bytes(requests.get(f"{server.base}/large.bin", timeout=60).content), rounds=3)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phrasecut(tmp_path_factory.mktemp("data"), images=IMAGES, phrases=PHRASES)


def test_preparing_and_opening_a_set_of_phrasecuts_size(release, tmp_path):
    prepared, opened = (_load(release, tmp_path / "home") for _ in range(2))
    rate = prepared["samples"] / prepared["seconds"]
    print(f"\nprepare {rate:,.0f} samples/s, peak {prepared['peak_mb']:.0f} MB of which imports {prepared['imports_mb']:.0f} MB")
    print(f"open and read the first image: {opened['total'] * 1000:.0f} ms")
    assert prepared["samples"] == PHRASES
    assert rate > 2000
    assert prepared["peak_mb"] < 500
    assert opened["total"] < 0.5


def _load(release: Path, home: Path) -> dict:
    done = subprocess.run([sys.executable, "-c", PREPARE, str(release), str(home)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def _seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
