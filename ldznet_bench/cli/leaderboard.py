"""``ldznet-bench leaderboard``."""

from __future__ import annotations

from pathlib import Path

import click

from ldznet_bench.cli import options

_BOARD = click.Path(path_type=Path)


@click.group("leaderboard")
def command() -> None:
    """A folder of runs that anybody can check again from their records.

    \b
    Examples:
      ldznet-bench leaderboard add mine --to board
      ldznet-bench leaderboard build board
      ldznet-bench leaderboard check board
    """


@command.command()
@click.argument("run", metavar="RUN")
@click.option("--to", "board", type=_BOARD, required=True, metavar="DIR", help="The leaderboard's folder; made where it is new.")
@options.together(options.output)
def add(run: str, board: Path, output: Path) -> int:
    """Check a run, by making every number again from its records, and copy it to a leaderboard."""
    from ldznet_bench.reports.leaderboard import add as add_run
    from ldznet_bench.reports.runs import find_run

    for item in find_run(output, run):
        click.echo(str(add_run(item, board)))
    return 0


@command.command()
@click.argument("board", type=_BOARD, metavar="DIR")
def check(board: Path) -> int:
    """Check every entry of a leaderboard; what CI does with a contribution."""
    from ldznet_bench.reports.leaderboard import check_all

    click.echo(f"{len(check_all(board))} entries follow from their records.")
    return 0


@command.command()
@click.argument("board", type=_BOARD, metavar="DIR")
def build(board: Path) -> int:
    """Write LEADERBOARD.md and index.html."""
    from ldznet_bench.reports.leaderboard import build as build_board

    for file in build_board(board):
        click.echo(str(file))
    return 0
