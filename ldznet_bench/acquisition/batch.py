"""Many files at once, over parallel connections, until all are here, one error stops everything, or the user does."""

from __future__ import annotations

import collections
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from ldznet_bench.acquisition.fetch import Fetcher, Job, Refusal
from ldznet_bench.acquisition.ledger import Arrival

FILE_WORKERS = 4
IMAGE_WORKERS = 16
"""Images are small: what counts is the number of answers awaited at once. More than 16 makes university hosts answer 429."""
HOPELESS = 50
"""When the first 50 images were all refused, the other 2,495 are not asked for."""
PARTING_SECONDS = 2.0
"""After Ctrl-C threads have this long to close what they hold."""


def fetch_all(fetcher: Fetcher, jobs: Sequence[Job], workers: int = FILE_WORKERS, hopeless: int | None = None) -> tuple[list[Arrival], list[Refusal]]:
    """Get every file.

    Args:
        fetcher: gets one file.
        jobs: the files.
        workers: how many at once.
        hopeless: after this many refusals without a single arrival the rest is not tried.

    Returns:
        Arrivals and refusals, each in the order of `jobs`.

    Raises:
        BenchError: the first error that is no mirror's fault (disk full, offline); the others are stopped.
        KeyboardInterrupt: by the user; no worker fetches anything more then.
    """
    results: dict[int, Arrival | Refusal] = {}
    arrived = threading.Event()

    def work(index: int) -> None:
        give_up = hopeless is not None and len(results) >= hopeless and not arrived.is_set()
        result = Refusal(jobs[index], ()) if give_up else fetcher.get(jobs[index])
        if isinstance(result, Arrival):
            arrived.set()
        results[index] = result

    run_threads(fetcher, work, range(len(jobs)), workers)
    ordered = [results[index] for index in range(len(jobs))]
    return [one for one in ordered if isinstance(one, Arrival)], [one for one in ordered if isinstance(one, Refusal)]


def run_threads(fetcher: Fetcher, work: Callable[[int], None], items: Sequence[int], workers: int) -> None:
    """Call `work` on every item from several threads; the first exception stops all of them and is raised.

    After Ctrl-C the network stays halted, and a thread that waits for a host which says nothing is waited for no longer than `PARTING_SECONDS`:
    it ends with the process. Ctrl-C may also come while a thread is being started, when nobody can tell whether it runs.
    """
    waiting, ended = collections.deque(items), queue.SimpleQueue[BaseException | None]()
    threads = [threading.Thread(target=_labour, args=(work, waiting, ended), daemon=True) for _ in range(min(max(1, workers), len(items)))]
    try:
        for thread in threads:
            thread.start()
        _await_all(ended, len(threads))
    except KeyboardInterrupt:
        _stop(fetcher, waiting, threads, PARTING_SECONDS)
        raise
    except BaseException:
        _stop(fetcher, waiting, threads, None)
        fetcher.network.stop.clear()
        raise


def _labour(work: Callable[[int], None], waiting: collections.deque[int], ended: queue.SimpleQueue[BaseException | None]) -> None:
    """What a thread does: take what is left until nothing is, then say how it ended."""
    try:
        for item in _taken(waiting):
            work(item)
    except BaseException as error:  # noqa: BLE001 - raised again where the threads are waited for
        ended.put(error)
    else:
        ended.put(None)


def _taken(waiting: collections.deque[int]) -> Iterator[int]:
    while True:
        try:
            item = waiting.popleft()
        except IndexError:
            return
        yield item


def _await_all(ended: queue.SimpleQueue[BaseException | None], threads: int) -> None:
    for _ in range(threads):
        error = ended.get()
        if error is not None:
            raise error


def _stop(fetcher: Fetcher, waiting: collections.deque[int], threads: Sequence[threading.Thread], seconds: float | None) -> None:
    waiting.clear()
    fetcher.network.halt()
    begun = time.monotonic()
    for thread in threads:
        if thread.is_alive():
            thread.join(None if seconds is None else max(0.0, begun + seconds - time.monotonic()))
