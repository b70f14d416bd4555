"""``ldznet-bench analyse``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ldznet_bench.cli import options
from ldznet_bench.cli.data import data_options, open_datasets


@click.command(context_settings={"max_content_width": 110})
@click.argument("run", metavar="RUN")
@options.together(options.output)
@click.option("--where", default="", metavar="SLICE", help="Only some samples: 'size<0.02'.")
@click.option("--boundary", is_flag=True, help="From masks: Boundary IoU, mistakes of outline; needs the dataset (--data-root).")
@data_options
@options.as_json
def command(run: str, output: Path, where: str, boundary: bool, as_json: bool, **given: Any) -> int:  # noqa: ANN401 - options
    """Look into a run: kinds of mistakes, calibration of its scores, what its threshold is worth, Boundary IoU.

    \b
    Examples:
      ldznet-bench analyse clipseg
      ldznet-bench analyse clipseg --where 'size<0.02'
      ldznet-bench analyse runs/phrasecut:test/native@1/box/0123456789ab --boundary --data-root RELEASES
    """
    from ldznet_bench.atomic import dump_json
    from ldznet_bench.reports.analysis import analyse, to_json, to_text
    from ldznet_bench.reports.runs import find_run

    runs = find_run(output, run)
    found = [analyse(item, open_datasets([item.dataset], given, quiet=True)[0] if boundary else None, where=where) for item in runs]
    click.echo(dump_json([to_json(item) for item in found]) if as_json else "\n".join(to_text(item) for item in found), nl=False)
    return 0
