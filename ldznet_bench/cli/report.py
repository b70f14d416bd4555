"""``ldznet-bench report``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ldznet_bench.cli import options


@click.command(context_settings={"max_content_width": 110})
@options.together(options.output)
@click.option("--models", multiple=True, metavar="NAMES", help="Only these; clipseg admits every variant of it.")
@click.option("--datasets", multiple=True, metavar="NAMES", help="Only these; phrasecut admits every split.")
@click.option("--protocol", "protocols", multiple=True, metavar="NAMES", help="Only these.")
@click.option("--metrics", multiple=True, metavar="NAMES", help="Columns per protocol, or `all`. [default: each protocol's headline]")
@click.option("--markdown", "style", flag_value="markdown", default=True, help="The default.")
@click.option("--latex", "style", flag_value="latex", help="A booktabs tabular.")
@click.option("--csv", "style", flag_value="csv", help="One line per score, exact values.")
@click.option("--json", "style", flag_value="json", help="One object per score, exact values.")
@click.option("--limited", is_flag=True, help="Admit limited runs, marked.")
@click.option("--write", type=click.Path(path_type=Path), metavar="FILE", help="To a file instead of standard output.")
def command(output: Path, style: str, limited: bool, write: Path | None, **names: Any) -> int:  # noqa: ANN401 - options
    """A table over finished runs: a row is a model, a column one dataset:split and one metric@protocol.

    \b
    Examples:
      ldznet-bench report
      ldznet-bench report --latex --write table.tex
      ldznet-bench report --datasets phrasecut:test --protocol clipseg@1 --metrics miou,iou_fg,ap --csv
    """
    from ldznet_bench.atomic import write_bytes
    from ldznet_bench.reports.runs import choose, find_runs
    from ldznet_bench.reports.table import render

    found, unfinished = find_runs(output)
    wanted = {key: options.names(names[key]) for key in ("models", "datasets", "protocols")}
    chosen = choose(found, **wanted)
    kept = [run for run in chosen if limited or not run.limited]
    text = render(kept, options.names(names["metrics"]), style)
    if len(kept) < len(chosen):
        click.echo(f"{len(chosen) - len(kept)} limited runs are left out; --limited admits them, marked.", err=True)
    if unfinished:
        click.echo(f"{len(unfinished)} runs are unfinished and left out: {', '.join(str(path) for path in unfinished[:3])}", err=True)
    if write is None:
        click.echo(text, nl=False)
    else:
        write_bytes(write, text.encode())
    return 0
