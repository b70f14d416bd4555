"""What `download` says to people and to scripts, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from acquiring import Bench, make
from make_mirror import Hosts
from mirror import Quirk, hold, keep_silent

from ldznet_bench.acquisition.network import Policy

RUN = "import sys; from ldznet_bench.cli.main import main; main(sys.argv[1:])"
pytestmark = pytest.mark.filterwarnings("ignore::ldznet_bench.errors.BenchWarning")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("phrasecat:test",), "Did you mean 'phrasecut'"),
        (("phrasecut:tset",), "Did you mean 'test'"),
        (("refcoco-uncc:val",), "unknown partition of refcoco 'uncc'"),
        (("clipseg:rd64-refine",), "Did you mean 'rd64-refined'"),
        (("oracle",), "has no weights to download"),
        (("example:test",), "comes with the package"),
        (("phrasecut:test", "--mirror", "/some/folder"), "For a folder on disk use --from"),
        (("phrasecut:test", "--card", "nothing.yaml"), "cannot read the card"),
        (("phrasecut:test", "--with", "skip.jsn"), "Did you mean 'skip.json'"),
        (("phrasecut:test", "--from", "nowhere", "--offline"), "nothing at that path"),
    ],
)
def test_mistakes_end_with_a_sentence(bench: Bench, arguments: tuple[str, ...], said: str) -> None:
    code, _, err = bench("download", *arguments)
    assert code == 2
    assert said in err


def test_json_is_the_only_thing_on_standard_output(bench: Bench, hosts: Hosts) -> None:
    name, card = make(hosts, "phrasecut")
    code, out, _ = bench("download", name, "--card", card, "--json")
    assert code == 0
    said = json.loads(out)
    assert said["plan"][0]["licence"].startswith("none stated")
    assert said["plan"][0]["free"] > 0
    assert {line["state"] for line in said["plan"][0]["files"]} == {"to fetch", "if needed"}
    assert len(said["done"][0]["prepared"][0]["fingerprint"]) == 64


def test_people_are_told_the_fingerprint_and_the_next_command(bench: Bench, hosts: Hosts) -> None:
    name, card = make(hosts, "phrasecut")
    code, out, err = bench("download", name, "--card", card)
    assert code == 0
    assert "phrasecut:test: 25 samples on 8 images, fingerprint " in out
    assert out.rstrip().endswith("Next: ldznet-bench run --models oracle,box --datasets phrasecut:test")
    assert "\r" not in err  # plain lines where there is no terminal


def test_a_full_disk_is_seen_before_anything_is_fetched(bench: Bench, hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    name, card = make(hosts, "phrasecut")
    monkeypatch.setattr("ldznet_bench.acquisition.home.Home.free", 200_000_100)
    code, _, err = bench("download", name, "--card", card)
    assert code == 2
    assert "has room for 100 B" in err
    assert not hosts.mirror.asked


def test_archives_are_kept_when_asked_for(bench: Bench, hosts: Hosts, tmp_path: Path) -> None:
    name, card = make(hosts, "refcoco")
    assert bench("download", name, "--card", card, "--keep-archives", "--quiet")[0] == 0
    assert (tmp_path / "home" / "archives" / "refer" / "refcoco.zip").is_file()


@pytest.mark.parametrize("quirk", [hold, keep_silent])
def test_ctrl_c_stops_at_once_and_the_same_command_goes_on(
    hosts: Hosts, tmp_path: Path, quirk: Callable[[threading.Event, threading.Event], Quirk]
) -> None:
    _, card = make(hosts, "phrasecut")
    reached, released = threading.Event(), threading.Event()
    for served in hosts.drive.files.values():
        served.script = [quirk(reached, released)]
    environment = os.environ | hosts.environment() | {"LDZNET_BENCH_HOME": str(tmp_path / "home"), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", RUN, "download", "phrasecut:test", "--card", str(card)]
    # A shell that starts the tests in the background has them ignore Ctrl-C, and what they start would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    try:
        while not reached.wait(0.1):
            assert process.poll() is None, process.communicate()[1]
        process.send_signal(signal.SIGINT)
        # Left alone, it would bear with such a host for at least that long, and then ask again: how fast it goes is the machine's business.
        _, err = process.communicate(timeout=Policy().read_timeout)
    finally:
        process.kill()
        released.set()
        for served in hosts.drive.files.values():
            served.script = []
    assert process.returncode == 130
    assert "Traceback" not in err
    assert not list((tmp_path / "home" / "datasets").rglob("refer_test.json"))
    assert subprocess.run(command, env=environment, capture_output=True).returncode == 0
