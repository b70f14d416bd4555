"""``ldznet-bench check-reproduction``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ldznet_bench.cli import options


@click.command("check-reproduction", context_settings={"max_content_width": 110})
@click.argument("run", metavar="RUN")
@options.together(options.output)
@click.option("--row", "rows", multiple=True, metavar="IDS", help="Rows of results/published.yaml. [default: those of the run's model and dataset]")
@click.option("--tolerance", type=click.FloatRange(0), default=0.5, show_default=True, help="Points that two runs of one network may be apart.")
@options.as_json
def command(run: str, output: Path, rows: tuple[str, ...], tolerance: float, as_json: bool) -> int:
    """Compare a run with the published numbers of its model; a verdict only where the rules are the same.

    RUN is a run folder, an identity, or a model.

    \b
    Examples:
      ldznet-bench check-reproduction clipseg/full+paper
      ldznet-bench check-reproduction mine --row mdetr-r101
    """
    from ldznet_bench.atomic import dump_json
    from ldznet_bench.reports.reproduction import check_reproduction, to_text
    from ldznet_bench.reports.runs import find_run

    found = [(item, check_reproduction(item, rows=options.names(rows), tolerance=tolerance)) for item in find_run(output, run)]
    if as_json:
        click.echo(dump_json([{"run": str(item.path), **asdict(check)} for item, checks in found for check in checks]), nl=False)
    else:
        click.echo("\n".join(to_text(checks, item) for item, checks in found), nl=False)
    return 0
