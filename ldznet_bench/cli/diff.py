"""``ldznet-bench diff``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from ldznet_bench.cli import options


@click.command(context_settings={"max_content_width": 110})
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@options.as_json
def command(first: Path, second: Path, as_json: bool) -> int:
    """Samples that two runs of one dataset and protocol counted differently; exit code 1 where there are any.

    FIRST and SECOND are run folders. Meant for runs that should agree: another micro-batch, device, precision, thread count or machine.

    \b
    Examples:
      ldznet-bench diff runs/phrasecut:test/native@1/box/be650fe02a19 other/phrasecut:test/native@1/box/be650fe02a19
    """
    from ldznet_bench.atomic import dump_json
    from ldznet_bench.evaluation.agreement import differences

    found = differences(first, second)
    if as_json:
        click.echo(dump_json([dataclasses.asdict(difference) for difference in found]), nl=False)
    else:
        for difference in found:
            changed = {key: (value, difference.second[key]) for key, value in difference.first.items() if value != difference.second[key]}
            click.echo(f"{difference.sample_id}: " + ", ".join(f"{key} {one} -> {other}" for key, (one, other) in changed.items()))
        click.echo(f"{len(found)} samples differ.")
    return 1 if found else 0
