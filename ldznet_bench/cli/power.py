"""``ldznet-bench power``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ldznet_bench.cli import options


@click.command(context_settings={"max_content_width": 110})
@click.argument("a", metavar="A")
@click.argument("b", metavar="B", required=False)
@options.together(options.output)
@click.option("--metric", type=click.Choice(["miou", "dice"]), default="miou", show_default=True, help="A mean over samples.")
@click.option("--power", type=click.FloatRange(0.5, 0.999), default=0.8, show_default=True, help="Chance to find the difference.")
@click.option("--alpha", type=click.FloatRange(0.0001, 0.5), default=0.05, show_default=True, help="Chance to find one where none is.")
@click.option("--difference", type=click.FloatRange(0, min_open=True), metavar="POINTS", help="How many images would show a difference of that size?")
@options.as_json
def command(a: str, b: str | None, output: Path, metric: str, power: float, alpha: float, difference: float | None, as_json: bool) -> int:
    """The smallest difference that a split can show, from the measured spread and the correlation within images.

    With two runs the spread is that of their differences, which is what `compare` tests.

    \b
    Examples:
      ldznet-bench power clipseg
      ldznet-bench power clipseg ldznet --difference 1
    """
    from ldznet_bench.atomic import dump_json
    from ldznet_bench.reports.comparison import find_models, measure_power

    mine = find_models(output, a)
    other = None if b is None else find_models(output, b)
    keys = [key for key in sorted(mine) if other is None or key in other]
    share = None if difference is None else difference / 100
    found = [
        measure_power(mine[key][0], None if other is None else other[key][0], metric, power=power, alpha=alpha, difference=share) for key in keys
    ]
    if as_json:
        click.echo(dump_json([asdict(item) for item in found]), nl=False)
        return 0
    for item in found:
        of = "differences" if item.paired else "one run"
        icc = "n/a" if item.spread.icc is None else f"{item.spread.icc:.2f}"
        click.echo(
            f"{item.dataset} {item.metric}@{item.protocol}: {item.spread.n} samples on {item.spread.n_clusters} images; spread of {of}: "
            f"sd {100 * item.spread.sd:.1f}, correlation within images {icc}, design effect {item.spread.design_effect:.2f}, "
            f"standard error {100 * item.spread.se:.2f}\n"
            f"  smallest difference found with power {power:g}: {100 * item.detectable:.2f} points"
            + ("" if item.paired else " between two unpaired runs; name a second run for the paired test")
        )
        if item.images_needed is not None:
            click.echo(f"  {difference:g} points would need {item.images_needed} images of the kind")
    return 0
