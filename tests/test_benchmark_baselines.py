"""The command that compares hot paths with saved figures, and what it saves."""

from __future__ import annotations

import json
import os
import platform
import re
import socket
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
BASELINES = REPOSITORY / "benchmarks" / "baselines"
SUITE = "benchmarks/test_bench_hot_paths.py"


def compare(*arguments: str) -> str:
    command = [sys.executable, "benchmarks/compare.py", SUITE, "-k", "rasterise", "--benchmark-max-time=0.01", *arguments]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}  # or pytest-benchmark leaves off
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, env=alone)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_then_and_now_stand_side_by_side_and_slowness_fails_nothing(tmp_path):
    saved = compare("--baselines", str(tmp_path), "--save")
    assert len(re.findall(r"rasterise\[\w+\]\] *- .*new|rasterise\[\w+\] +- .*new", saved)) == 3
    path = tmp_path / "test_bench_hot_paths.json"
    known = json.loads(path.read_text())
    known["benchmarks"][0]["stats"]["min"] /= 1e6  # ours is now a million times slower
    known["benchmarks"][1]["fullname"] = "gone"
    path.write_text(json.dumps(known))
    said = compare("--baselines", str(tmp_path))
    then_and_now = [line.split()[-1] for line in said.splitlines() if "rasterise[" in line]
    assert sorted(value == "new" for value in then_and_now) == [False, False, True]
    assert max(float(value) for value in then_and_now if value != "new") > 1e4


def test_committed_baselines_cover_the_hot_paths_and_name_no_machine():
    text = (BASELINES / "test_bench_hot_paths.json").read_text()
    known = {one["name"].split("[")[0] for one in json.loads(text)["benchmarks"]}
    assert known == set(re.findall(r"^def (test_\w+)", (REPOSITORY / SUITE).read_text(), re.MULTILINE))
    for path in BASELINES.glob("*.json"):
        whole = json.loads(path.read_text())
        assert set(whole["machine_info"]) == {"python_version", "machine"} and whole["commit_info"] == {} and path.stat().st_size < 50_000
        assert all("data" not in one["stats"] for one in whole["benchmarks"])
        host = socket.gethostname()
        assert len(host) < 5 or host not in path.read_text() or host == platform.machine()


def test_every_promise_has_a_command_that_measures_it():
    page = (REPOSITORY / "benchmarks" / "README.md").read_text()
    named = set(re.findall(r"`python benchmarks/show.py (\w+)`", page)) - {"all"}
    known = re.search(r"^SHOWS = .*? in \((.*?)\)\}", (REPOSITORY / "benchmarks" / "show.py").read_text(), re.MULTILINE)
    assert known is not None
    assert named == set(known[1].split(", "))
    command = [sys.executable, "benchmarks/show.py", "counts"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\| threshold counts.* ms \| sort and 49 scans [\d.]+ ms \| [\d.]+x \|", done.stdout, re.MULTILINE)
