"""``ldznet-bench download``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ldznet_bench.cli import options

if TYPE_CHECKING:
    from ldznet_bench.acquisition.download import Download, Options, Outcome
    from ldznet_bench.acquisition.home import Home
    from ldznet_bench.acquisition.plan import Plan

_PATH = click.Path(path_type=Path)


@click.command(context_settings={"max_content_width": 110})
@click.argument("names", nargs=-1, required=True, metavar="NAME[:SPLIT]...")
@click.option("--from", "by_hand", multiple=True, type=_PATH, metavar="DIR|FILE", help="What you fetched by hand, in any layout; repeat for more.")
@click.option(
    "--mirror", "mirrors", multiple=True, metavar="URL|HOST", help="An address with the files under it, or a host of the card to try first."
)
@click.option("--allow-partial", is_flag=True, help="Accept counts that differ from the card's; numbers are then stamped partial.")
@click.option("--keep-archives", is_flag=True, help="Leave archives in the home after unpacking.")
@click.option("--jobs", type=click.IntRange(1, 32), default=4, show_default=True, help="Files at once.")
@click.option("--dry-run", is_flag=True, help="Say what would be fetched, from where and how large, and stop.")
@click.option("--offline", is_flag=True, envvar="LDZNET_BENCH_OFFLINE", help="No network: take what is here, or given with --from.")
@options.together(options.home, options.card, options.quiet, options.as_json)
def command(
    names: tuple[str, ...],
    by_hand: tuple[Path, ...],
    mirrors: tuple[str, ...],
    allow_partial: bool,
    keep_archives: bool,
    jobs: int,
    dry_run: bool,
    offline: bool,
    home: Path | None,
    card: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Fetch datasets and weights, verify and prepare them.

    It first says what it will fetch, from where, how large, and under which licence. A command that was stopped goes on where it was.

    \b
    Examples:
      ldznet-bench download aigi
      ldznet-bench download phrasecut:test refcoco:testA --dry-run
      ldznet-bench download phrasecut:test --from ~/Downloads
      ldznet-bench download clipseg ldznet
    """
    from ldznet_bench.acquisition.download import Options
    from ldznet_bench.acquisition.home import find_home
    from ldznet_bench.acquisition.network import Network, is_offline
    from ldznet_bench.acquisition.targets import find_targets

    place = find_home(home)
    chosen = Options(by_hand, _preference(mirrors), keep_archives, allow_partial, jobs, card)
    network = Network(offline=is_offline(offline))
    downloads = [_download(target, place, network, chosen) for target in find_targets(list(names), card)]
    plans = []
    for download in downloads:
        plan = download.plan()
        plans.append(plan)
        if not as_json:
            click.echo(plan.text(), nl=False)
        if not by_hand and not dry_run:
            plan.check_room()
    outcomes = [] if dry_run else [_run(download, plan, quiet) for download, plan in zip(downloads, plans, strict=True)]
    _report(plans, outcomes, as_json)
    return 0


def _preference(mirrors: tuple[str, ...]):  # noqa: ANN202 - imported late
    from ldznet_bench.acquisition.fetch import Preference
    from ldznet_bench.errors import BenchError

    addresses = [mirror for mirror in mirrors if "://" in mirror]
    if len(addresses) > 1 or any(not address.startswith(("http://", "https://")) for address in addresses):
        raise BenchError(f"--mirror takes one http(s) address, got {', '.join(addresses)}.", "For a folder on disk use --from.")
    return Preference(addresses[0] if addresses else None, tuple(mirror for mirror in mirrors if "://" not in mirror))


def _download(target, home: Home, network, chosen: Options) -> Download:  # noqa: ANN001 - imported late
    from ldznet_bench.acquisition.download import Download
    from ldznet_bench.acquisition.watchers import Silent

    return Download(target, home, network, chosen, Silent())


def _run(download: Download, plan: Plan, quiet: bool) -> Outcome:
    from ldznet_bench.acquisition.watchers import Bar, Lines, Silent

    files = sum(line.state == "to fetch" for line in plan.lines)
    kind = Silent if quiet else None
    watcher = Silent() if kind else (Bar if sys.stderr.isatty() else Lines)(plan.size or None, files)
    download.fetcher.watcher = watcher
    try:
        return download.run(_stage(quiet))
    finally:
        watcher.close()
