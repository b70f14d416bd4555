"""``ldznet-bench compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ldznet_bench.cli import options


@click.command(context_settings={"max_content_width": 110})
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@options.together(options.output)
@click.option("--metrics", multiple=True, metavar="NAMES", help="To compare. [default: each protocol's first that has a threshold of its own]")
@click.option("--where", default="", metavar="SLICE", help="Only some samples: 'size<0.02'.")
@click.option("--leaked-ids", type=click.Path(path_type=Path), metavar="FILE", help="Image ids for the slices leaked and clean.")
@click.option("--average", is_flag=True, help="The mean over datasets too; images that they share are drawn once.")
@click.option("--allow-oracle", is_flag=True, help="Compare scores whose threshold was chosen on the test set.")
@click.option("--allow-mixed", is_flag=True, help="Compare limited and dirty runs.")
@click.option("--resamples", type=click.IntRange(100), default=10_000, show_default=True, help="Draws of images.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws.")
@options.as_json
def command(a: str, b: str, output: Path, leaked_ids: Path | None, as_json: bool, **given: Any) -> int:  # noqa: ANN401 - options
    """Compare two models sample by sample: difference, interval, p, Holm over datasets, samples won and lost.

    A and B are models, run folders or identities; several training seeds of a model are separated by commas.

    \b
    Examples:
      ldznet-bench compare clipseg ldznet
      ldznet-bench compare runs/phrasecut:test/clipseg@1/a/0123456789ab mine --metrics miou,iou_fg,ap
      ldznet-bench compare seed1,seed2,seed3 other1,other2,other3 --average
    """
    from ldznet_bench.atomic import dump_json
    from ldznet_bench.reports.comparison import Settings, compare_models, to_json, to_text
    from ldznet_bench.reports.runs import read_ids

    leaked = None if leaked_ids is None else read_ids(leaked_ids)
    settings = Settings(metrics=tuple(options.names(given.pop("metrics"))), leaked=leaked, **given)
    lines = compare_models(output, a, b, settings)
    click.echo(dump_json(to_json(lines)) if as_json else to_text(lines, a, b), nl=False)
    return 0
