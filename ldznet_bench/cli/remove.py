"""``ldznet-bench remove``."""

from __future__ import annotations

from typing import Any

import click

from ldznet_bench.cli import options
from ldznet_bench.cli.download import cards


@click.command(context_settings={"max_content_width": 110})
@click.argument("names", nargs=-1, required=True, metavar="NAME[:SPLIT]...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--forget-pins", is_flag=True, help="Also forget the hashes first seen: another content may then come under the same names.")
@options.together(options.home, cards)
def command(names: tuple[str, ...], **given: Any) -> int:  # noqa: ANN401 - options
    """Remove what was downloaded and prepared. Runs and results are left alone.

    \b
    Examples:
      ldznet-bench remove phrasecut
      ldznet-bench remove refcoco:testA --yes
    """
    from ldznet_bench.acquisition.home import find_home
    from ldznet_bench.acquisition.remove import plan_removal, remove
    from ldznet_bench.acquisition.specs import format_size
    from ldznet_bench.acquisition.targets import find_targets

    home = find_home(given["home"])
    for name in names:
        for target in find_targets([name], given["cards"]):
            removal = plan_removal(target, home, every_split=":" not in name)
            if not removal.paths:
                click.echo(f"{removal.name}: nothing of it is in {home.root}")
                continue
            click.echo(f"{removal.name}: {format_size(removal.size)} in")
            for path in removal.paths:
                click.echo(f"  {path}")
            for kept in removal.kept:
                click.echo(f"  kept: {kept}")
            if not given["yes"]:
                click.confirm("Remove it?", abort=True)
            remove(removal, given["forget_pins"])
    return 0
