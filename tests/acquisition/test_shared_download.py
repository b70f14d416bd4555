"""Several processes and threads that ask for the same file share one download; Ctrl-C and full disks leave nothing half-done."""

from __future__ import annotations

import errno
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from acquiring import DATA, IMPATIENT, SHA, document, spec_of
from mirror import Mirror, always, status

from ldznet_bench.acquisition.batch import fetch_all, run_threads
from ldznet_bench.acquisition.failures import OfflineError, Stopped
from ldznet_bench.acquisition.fetch import Fetcher, Refusal
from ldznet_bench.acquisition.home import Home
from ldznet_bench.acquisition.ledger import Arrival, Ledger
from ldznet_bench.acquisition.network import Network, is_offline
from ldznet_bench.acquisition.part import Part
from ldznet_bench.errors import BenchError

Make = Callable[..., Fetcher]

ONE_FILE = """
import sys
from pathlib import Path
from ldznet_bench.acquisition.fetch import Fetcher
from ldznet_bench.acquisition.home import Home
from ldznet_bench.acquisition.ledger import Arrival, Ledger
from ldznet_bench.acquisition.network import Network
from ldznet_bench.acquisition.specs import CardFiles, FileSpec, Mirror
from ldznet_bench.acquisition.watchers import Silent

home, url = Home(Path(sys.argv[1])), sys.argv[2]
spec = FileSpec("a.json", (Mirror(https=url),))
folder = home.datasets / "release"
fetcher = Fetcher(home, CardFiles("release", (spec,)), folder, Network(), Ledger(home.ledger(folder)), Silent(), chunk=1 << 16)
result = fetcher.get(fetcher.job(spec))
sys.exit(0 if isinstance(result, Arrival) else 1)
"""


def test_three_processes_share_one_download(server: Mirror, home: Home) -> None:
    url = server.add("/a", DATA, rate=1_000_000)
    processes = [subprocess.Popen([sys.executable, "-c", ONE_FILE, str(home.root), url]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert server.count()["/a"] == 1
    assert (home.datasets / "release" / "a.json").read_bytes() == DATA


def test_threads_share_one_download(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA, rate=2_000_000))
    results: list[object] = []
    fetchers = [fetcher_of(spec) for _ in range(4)]
    threads = [threading.Thread(target=lambda one=one: results.append(one.get(one.job(spec)))) for one in fetchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(isinstance(result, Arrival) for result in results)
    assert server.count()["/a"] == 1


def test_whoever_waits_can_be_stopped(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA))
    holder, waiter = fetcher_of(spec), fetcher_of(spec)
    job = waiter.job(spec)
    with holder.locked(job.destination):
        threading.Timer(0.3, waiter.network.stop.set).start()
        with pytest.raises(Stopped):
            waiter.get(job)
    assert "waiting" in waiter.watcher.texts[0]


def test_an_error_of_one_file_stops_the_others(server: Mirror, fetcher_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [spec_of(f"{n}.json", server.add(f"/{n}", DATA, rate=10_000)) for n in range(4)]
    fetcher = fetcher_of(*specs)
    write = Part.write

    def full(self: Part, data: bytes) -> None:
        if "2.json" in self.path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, data)

    monkeypatch.setattr(Part, "write", full)
    start = time.monotonic()
    with pytest.raises(BenchError, match="No space left on device"):
        fetch_all(fetcher, [fetcher.job(spec) for spec in specs])
    assert time.monotonic() - start < 15
    assert not fetcher.folder.exists()


def test_ctrl_c_while_a_thread_is_being_started_stops_it_for_good(fetcher_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    fetcher = fetcher_of()
    begun, ended = threading.Event(), queue.SimpleQueue[bool]()
    start = threading.Thread.start

    def interrupted(self: threading.Thread) -> None:
        start(self)
        assert begun.wait(60)
        raise KeyboardInterrupt

    def work(index: int) -> None:
        begun.set()
        ended.put(fetcher.network.stop.wait(60))  # as long as a host that says nothing

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_threads(fetcher, work, [0, 1], 2)
    assert ended.get()
    assert fetcher.network.stop.is_set()  # or a thread that nobody knows of would ask its host again


def test_ctrl_c_waits_for_no_host_that_says_nothing(fetcher_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    fetcher = fetcher_of()
    begun, released = threading.Event(), threading.Event()
    monkeypatch.setattr("ldznet_bench.acquisition.batch.PARTING_SECONDS", 0.1)

    def work(index: int) -> None:
        if index:
            assert begun.wait(60)
            raise KeyboardInterrupt
        begun.set()
        assert released.wait(60)

    with pytest.raises(KeyboardInterrupt):
        run_threads(fetcher, work, [0, 1], 2)
    assert not released.is_set()
    released.set()


def test_work_that_is_left_is_done_by_whoever_is_free(fetcher_of: Make) -> None:
    done: list[int] = []
    run_threads(fetcher_of(), done.append, range(100), 3)
    assert sorted(done) == list(range(100))


@pytest.mark.parametrize("error", [IndexError, BenchError])
def test_an_error_of_the_work_is_raised_and_the_network_goes_on(fetcher_of: Make, error: type[Exception]) -> None:
    fetcher, done = fetcher_of(), []

    def work(index: int) -> None:
        done.append(index)
        raise error("it failed")

    with pytest.raises(error, match="it failed"):
        run_threads(fetcher, work, range(100), 2)
    assert len(done) < 100
    fetcher.network.check()


def test_what_is_opened_while_the_command_ends_is_not_read(server: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    network, request = Network(), Network._request
    address = server.add("/late", DATA)

    def late(self: Network, *arguments: Any) -> Any:
        answer = request(self, *arguments)
        self.halt()
        return answer

    monkeypatch.setattr(Network, "_request", late)
    with pytest.raises(Stopped), network.get(address):
        pytest.fail("the answer is handed out")
    assert not network._open


def test_what_arrived_before_a_stop_is_not_fetched_again(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA, rate=400_000), sha256=SHA)
    fetcher = fetcher_of(spec)
    threading.Timer(0.4, fetcher.network.stop.set).start()
    with pytest.raises(Stopped):
        fetcher.get(fetcher.job(spec))
    server.served["/a"].rate = 0
    again = fetcher_of(spec)
    assert isinstance(again.get(again.job(spec)), Arrival)
    start = int(server.asked[-1].range.removeprefix("bytes=").rstrip("-"))
    assert start % fetcher.chunk == 0
    assert start >= server.asked[0].sent - fetcher.chunk - (1 << 17)  # what lay in the sockets had not arrived


def test_a_part_of_another_mirror_is_gone_on_with_where_a_hash_proves_it(server: Mirror, fetcher_of: Make) -> None:
    from mirror import cut_after

    bad = server.add("/bad", DATA, cut_after(200_000), *always(status(404)))
    spec = spec_of("a.json", bad, server.add("/good", DATA), sha256=SHA)
    fetcher = fetcher_of(spec)
    assert isinstance(fetcher.get(fetcher.job(spec)), Arrival)
    assert server.sent("/good") < len(DATA) - 100_000


def test_a_part_of_another_mirror_is_not_mixed_where_nothing_proves_it(server: Mirror, fetcher_of: Make) -> None:
    from mirror import cut_after

    other = document(seed=8)[: len(DATA) - 1] + b"]"
    bad = server.add("/bad", other, cut_after(200_000), *always(status(404)))
    spec = spec_of("a.json", bad, server.add("/good", DATA))
    fetcher = fetcher_of(spec)
    assert isinstance(fetcher.get(fetcher.job(spec)), Arrival)
    assert (fetcher.folder / "a.json").read_bytes() == DATA


def test_a_mixture_with_a_wrong_hash_is_fetched_once_more_from_one_place(server: Mirror, fetcher_of: Make) -> None:
    from mirror import cut_after

    other = document(seed=8)[: len(DATA) - 1] + b"]"
    bad = server.add("/bad", other, cut_after(200_000), *always(status(404)))
    spec = spec_of("a.json", bad, server.add("/good", DATA, etag=None), sha256=SHA)
    fetcher = fetcher_of(spec)
    assert isinstance(fetcher.get(fetcher.job(spec)), Arrival)
    assert server.count()["/good"] == 2


@pytest.mark.parametrize(("value", "off"), [("1", True), ("true", True), ("0", False), ("", False), ("no", False)])
def test_the_offline_variable(monkeypatch: pytest.MonkeyPatch, value: str, off: bool) -> None:
    monkeypatch.setenv("LDZNET_BENCH_OFFLINE", value)
    assert is_offline() is off


def test_the_door_itself_is_shut_when_offline() -> None:
    with pytest.raises(OfflineError), Network(IMPATIENT, offline=True).get("http://127.0.0.1:9/x"):
        pass


def test_a_home_that_cannot_be_written(server: Mirror, fetcher_of: Make, home: Home) -> None:
    home.root.parent.mkdir(parents=True, exist_ok=True)
    home.root.write_text("a file where the home should be")
    spec = spec_of("a.json", server.add("/a", DATA))
    fetcher = fetcher_of(spec)
    with pytest.raises(BenchError, match="cannot write"):
        fetcher.get(fetcher.job(spec))


def test_the_ledger_outlives_a_line_that_was_cut(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    ledger = Ledger(tmp_path / "l.jsonl")
    ledger.record("a", tmp_path / "f", "0" * 64, "m")
    with (tmp_path / "l.jsonl").open("a") as file:
        file.write('{"path": "b", "si')
    ledger.record("c", tmp_path / "f", "1" * 64, "m")
    ledger.record("d", tmp_path / "f", "2" * 64, "m")
    assert Ledger(tmp_path / "l.jsonl").paths() == ["a", "d"]


def test_the_ledger_sees_what_another_process_wrote(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    one, two = Ledger(tmp_path / "l.jsonl"), Ledger(tmp_path / "l.jsonl")
    one.record("a", tmp_path / "f", "0" * 64, "m")
    assert two.unchanged("a", tmp_path / "f") is not None
    two.doubt("a")
    assert Ledger(tmp_path / "l.jsonl").unchanged("a", tmp_path / "f") is None


def test_a_refusal_names_what_was_tried(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.base + "/none")
    result = (fetcher := fetcher_of(spec)).get(fetcher.job(spec))
    assert isinstance(result, Refusal)
    assert json.dumps([reason for _, reason in result.reasons]) == '["HTTP 404: it is not there (any more)"]'
    assert list((fetcher.home.root / "partial").iterdir()) == []
