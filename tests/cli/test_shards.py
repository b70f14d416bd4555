"""What the command line says of a run whose shards did not all finish."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

COMMAND = ("run", "--models", "noise", "--limit", 120, "--output", "runs")


def kill_within(folder, *arguments: object) -> int:
    """Start a process and kill it as soon as its journal holds records; its id."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ldznet_bench.cli.main", *map(str, arguments)], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None and not any(path.stat().st_size > 4000 for path in folder.rglob("*.bin")):
        time.sleep(0.002)
    process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    return process.pid


def test_a_dead_shard_is_named_by_dry_run_run_and_report_and_running_again_finishes(bench, tmp_path):
    pid = kill_within(tmp_path, *COMMAND, "--shard", "0/2", "--protocol", "native@1")
    me = f"process {pid} on {socket.gethostname()}"
    plan = bench(*COMMAND, "--shard", "1/2", "--dry-run")
    assert plan.code == 0, plan.err
    assert f"part 0/2 died ({me}, begun 20" in plan.out
    assert "part 1/2 was never started:" in plan.out
    said = bench(*COMMAND, "--shard", "1/2")
    assert said.code == 0, said.err
    assert "noise on minicut-photo:test under native@1 waits for the other shards" in said.err
    assert f"part 0/2 died ({me}" in said.err and "are missing: " in said.err and "without --shard" in said.err
    assert "part 1/2" not in said.err
    (cell,) = json.loads(bench(*COMMAND, "--dry-run", "--json").out)["cells"]
    (part,) = cell["missing"]
    assert (part["shard"], part["state"], part["pid"]) == ("0/2", "died", pid)
    assert part["samples"] == cell["samples"] - cell["done"] and 0 < len(part["first_images"]) <= 5 <= part["images"]
    waiting = json.loads(bench(*COMMAND, "--shard", "1/2", "--json").out)
    assert waiting["waiting"] == 1 and waiting["unfinished"] == [{"path": cell["path"], "parts": [part]}]
    assert bench("run", "--models", "box", "--limit", 10, "--output", "runs").code == 0
    report = bench("report", "--output", "runs", "--limited")
    assert report.code == 0, report.err
    assert "1 runs are unfinished" in report.err and f"part 0/2 died ({me}" in report.err and "box" in report.out
    for asked in (
        ("analyse", "noise"),
        ("compare", "noise", "box"),
        ("export", cell["path"].split("/")[-1], "--format", "coco"),
        ("power", cell["path"]),
    ):
        refused = bench(*asked, "--output", "runs")
        assert refused.code == 2, asked
        assert "unfinished" in refused.err and f"part 0/2 died ({me}" in refused.err and "with --shard one part of it" in refused.err
    again = bench(*COMMAND)
    assert again.code == 0 and f"part 0/2 died ({me}" in again.err
    whole = bench(*(*COMMAND[:-1], "whole"))
    assert whole.code == 0
    for name in ("records.parquet", "summary.json"):
        one, other = ((tmp_path / root).rglob(f"noise/*/{name}") for root in ("runs", "whole"))
        assert next(one).read_bytes() == next(other).read_bytes()


def test_the_same_shard_twice_is_refused_by_name(bench, tmp_path):
    from ldznet_bench.api import load_dataset, load_model, make_cell
    from ldznet_bench.evaluation.sharding import Shard

    cell = make_cell(load_model("noise", mini_dataset=True), load_dataset("minicut-photo:test"), "native@1", output=tmp_path / "runs", limit=120)
    with cell.folder.open_journal(Shard(0, 2)):
        said = bench(*COMMAND, "--shard", "0/2")
        assert said.code == 2
        assert f"part 0/2 of runs/minicut-photo:test/native@1/noise/{cell.folder.path.name} is being made by process {os.getpid()}" in said.err
        assert "is at work" in bench(*COMMAND, "--dry-run").out
