"""Many files at once, over parallel connections, until all are here, one error stops everything, or the user does."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Sequence

from ldznet_bench.acquisition.fetch import Fetcher, Job, Refusal
from ldznet_bench.acquisition.ledger import Arrival

FILE_WORKERS = 4
IMAGE_WORKERS = 16
"""Images are small: what counts is the number of answers awaited at once. More than 16 makes university hosts answer 429."""
HOPELESS = 50
"""When the first 50 images were all refused, the other 2,495 are not asked for."""


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
        KeyboardInterrupt: by the user; every worker has stopped then.
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
    """Call `work` on every item from several threads; the first exception stops all of them and is raised."""
    with concurrent.futures.ThreadPoolExecutor(max(1, min(workers, len(items)))) as pool:
        try:
            # Ctrl-C may come while work is still being handed out, and what has begun must not be waited for then.
            futures = [pool.submit(work, item) for item in items]
            for future in concurrent.futures.as_completed(futures):
                future.result()
        except BaseException:
            fetcher.network.halt()
            pool.shutdown(wait=True, cancel_futures=True)
            fetcher.network.stop.clear()
            raise
