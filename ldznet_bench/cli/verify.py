"""``ldznet-bench verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ldznet_bench.cli import options
from ldznet_bench.cli.download import Stages, cards

if TYPE_CHECKING:
    from ldznet_bench.acquisition.verify import Report


@click.command(context_settings={"max_content_width": 110})
@click.argument("names", nargs=-1, required=True, metavar="NAME[:SPLIT]...")
@click.option("--allow-partial", is_flag=True, help="Counts that differ from the card's are told, but not held against it.")
@options.together(options.home, cards, options.quiet, options.as_json)
def command(names: tuple[str, ...], **given: Any) -> int:  # noqa: ANN401 - options
    """Look again at everything that was downloaded: every hash, every image, every count.

    Makes no network call. Exits with 1 when something is not right, and says how to mend it.

    \b
    Examples:
      ldznet-bench verify phrasecut:test
      ldznet-bench verify clipseg --json
    """
    from ldznet_bench.acquisition.download import Download, Options
    from ldznet_bench.acquisition.home import find_home
    from ldznet_bench.acquisition.network import Network
    from ldznet_bench.acquisition.targets import find_targets
    from ldznet_bench.acquisition.verify import verify
    from ldznet_bench.acquisition.watchers import Silent
    from ldznet_bench.atomic import dump_json

    home, network = find_home(given["home"]), Network(offline=True)
    stages = Stages(given["quiet"] or given["as_json"])
    reports = [verify(Download(target, home, network, Options(), Silent()), stages) for target in find_targets(names, given["cards"])]
    if given["as_json"]:
        click.echo(dump_json([report.to_json() for report in reports]), nl=False)
    else:
        for report in reports:
            click.echo(_text(report))
    wrong = any(report.bad or (report.differences and not given["allow_partial"]) for report in reports)
    return 1 if wrong else 0


def _text(report: Report) -> str:
    from ldznet_bench.acquisition.specs import format_size

    lines = [f"{report.name}: {report.checked:,} files, {format_size(report.size)}, {len(report.bad)} bad"]
    lines += [f"  {bad.path}: {bad.fault}" for bad in report.bad]
    lines += [f"  {line}" for line in report.differences]
    if report.bad:
        lines.append(f"Mend it: {report.mend}")
    return "\n".join(lines)
