"""``ldznet-bench download``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ldznet_bench.cli import options

if TYPE_CHECKING:
    from ldznet_bench.acquisition.download import Download, Meter, Outcome
    from ldznet_bench.acquisition.fetch import Preference
    from ldznet_bench.acquisition.plan import Plan

_PATH = click.Path(path_type=Path)
cards = click.option("--card", "cards", multiple=True, type=_PATH, metavar="FILE", help="Stands in for a card: mirrors, counts, checksums.")
offline = click.option("--offline", is_flag=True, envvar="LDZNET_BENCH_OFFLINE", help="Make no network call.")


@click.command(context_settings={"max_content_width": 110})
@click.argument("names", nargs=-1, required=True, metavar="NAME[:SPLIT]...")
@click.option("--from", "by_hand", multiple=True, type=_PATH, metavar="DIR|FILE", help="What you fetched by hand, in any layout; repeat for more.")
@click.option(
    "--mirror", "mirrors", multiple=True, metavar="URL|HOST", help="An address with the files below it, or a host of the card to try first."
)
@click.option("--with", "extra", multiple=True, metavar="FILE", help="An optional file of the card that you want, too; repeat for more.")
@click.option("--allow-partial", is_flag=True, help="Accept counts that differ from the card's; numbers are then stamped partial.")
@click.option("--keep-archives", is_flag=True, help="Leave archives in the home after unpacking.")
@click.option("--jobs", type=click.IntRange(1, 32), default=4, show_default=True, help="Files at once.")
@click.option("--dry-run", is_flag=True, help="Say what would be fetched, from where and how large, and stop.")
@options.together(offline, options.home, cards, options.quiet, options.as_json)
def command(names: tuple[str, ...], **given: Any) -> int:  # noqa: ANN401 - options
    """Fetch datasets and weights, verify them, and prepare the datasets.

    Says first what it will fetch, from where, how large, and under which licence. A command that was stopped goes on where it was.

    \b
    Examples:
      ldznet-bench download aigi
      ldznet-bench download phrasecut:test refcoco:testA --dry-run
      ldznet-bench download phrasecut:test --from ~/Downloads
      ldznet-bench download clipseg ldznet
    """
    from ldznet_bench.acquisition.download import Download, Options
    from ldznet_bench.acquisition.home import find_home
    from ldznet_bench.acquisition.network import Network, is_offline
    from ldznet_bench.acquisition.targets import find_targets
    from ldznet_bench.acquisition.watchers import Silent
    from ldznet_bench.atomic import dump_json

    asked = ("by_hand", "keep_archives", "allow_partial", "extra")
    chosen = Options(preference=_preference(given["mirrors"]), workers=given["jobs"], **{key: given[key] for key in asked})
    home, network = find_home(given["home"]), Network(offline=is_offline(given["offline"]))
    downloads = [Download(target, home, network, chosen, Silent()) for target in find_targets(names, given["cards"])]
    plans, outcomes = [], []
    for download in downloads:
        plans.append(download.plan())
        if not given["as_json"]:
            click.echo(plans[-1].text())
    if not given["dry_run"]:
        for download, plan in zip(downloads, plans, strict=True):
            if not given["by_hand"]:
                plan.check_room()
            outcomes.append(_run(download, plan, quiet=given["quiet"]))
            if not given["as_json"]:
                click.echo(_text(outcomes[-1]))
    if given["as_json"]:
        click.echo(dump_json({"plan": [plan.to_json() for plan in plans], "done": [outcome.to_json() for outcome in outcomes]}), nl=False)
    return 0


def _preference(mirrors: tuple[str, ...]) -> Preference:
    from ldznet_bench.acquisition.fetch import Preference
    from ldznet_bench.errors import BenchError

    addresses = [mirror for mirror in mirrors if "/" in mirror]
    if len(addresses) > 1 or any(not address.startswith(("http://", "https://")) for address in addresses):
        raise BenchError(f"--mirror takes one http(s) address, or hosts of the card; got {', '.join(addresses)}.", "For a folder on disk use --from.")
    return Preference(addresses[0] if addresses else None, tuple(mirror for mirror in mirrors if "/" not in mirror))


def _run(download: Download, plan: Plan, *, quiet: bool) -> Outcome:
    watcher = _watcher(plan, quiet)
    download.fetcher.watcher = watcher
    try:
        return download.run(Stages(quiet))
    finally:
        watcher.close()


def _watcher(plan: Plan, quiet: bool) -> Meter:
    from ldznet_bench.acquisition.watchers import Bar, Lines, Silent

    if quiet:
        return Silent()
    files = sum(line.state == "to fetch" for line in plan.lines)
    return (Bar if sys.stderr.isatty() else Lines)(plan.size or None, files)


def _text(outcome: Outcome) -> str:
    lines = [f"{outcome.name} is in {outcome.folder}"]
    for one in outcome.prepared:
        lines.append(f"  {one.name}: {one.samples:,} samples on {one.images:,} images, fingerprint {one.fingerprint}")
        if one.partial:
            lines.append(f"    stamped partial: {'; '.join(one.partial)}")
    lines += [f"  note: {note}" for note in outcome.notes]
    return "\n".join([*lines, f"Next: {outcome.next}"])


class Stages:
    """Progress of preparing and verifying: a bar per stage on a terminal, a line every few thousand elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None
        self._stage = ""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """See `ldznet_bench.datasets.adapter.Progress`."""
        if self._quiet:
            return
        if not sys.stderr.isatty():
            if done % 5000 == 0 or (done == total and total >= 1000):
                click.echo(f"{stage}: {done:,}" + (f" of {total:,}" if total else ""), err=True)
            return
        from tqdm import tqdm

        if stage != self._stage:
            self.close()
            self._bar, self._stage = tqdm(total=total, desc=stage, leave=False), stage
        self._bar.update(done - self._bar.n)
        if done == total:
            self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._stage = None, ""
