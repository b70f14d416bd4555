"""``ldznet-bench report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ldznet_bench.cli import options
from ldznet_bench.cli.data import data_options, open_datasets

if TYPE_CHECKING:
    from ldznet_bench.reports.grid import Options
    from ldznet_bench.reports.runs import Run


@click.command(context_settings={"max_content_width": 110})
@options.together(options.output)
@click.option("--models", multiple=True, metavar="NAMES", help="Only these; clipseg admits every variant of it.")
@click.option("--datasets", multiple=True, metavar="NAMES", help="Only these; phrasecut admits every split.")
@click.option("--protocol", "protocols", multiple=True, metavar="NAMES", help="Only these.")
@click.option("--metrics", multiple=True, metavar="NAMES", help="Columns per protocol, `headline`, or `all`. [each protocol's headline]")
@click.option("--layout", metavar="NAME|FILE", help="A paper's table: ldznet-table1, ldznet-table2, ldznet-table3, or a YAML file like theirs.")
@click.option("--markdown", "style", flag_value="markdown", default=True, help="The default.")
@click.option("--latex", "style", flag_value="latex", help="A booktabs tabular.")
@click.option("--macros", "style", flag_value="macros", help=r"A LaTeX \newcommand per number.")
@click.option("--csv", "style", flag_value="csv", help="One line per score, exact values.")
@click.option("--json", "style", flag_value="json", help="One object per score, exact values.")
@click.option("--ci", "intervals", is_flag=True, help="95 % intervals and ties, by drawing images.")
@click.option("--pm", is_flag=True, help="Print intervals as half-widths.")
@click.option("--where", default="", metavar="SLICE", help="Only some samples: 'size<0.02 and n_instances>=2'.")
@click.option("--by", default="", metavar="SLICES", help="A column per slice: size, n_instances, words, category, tags, leaked, or 'A; B'.")
@click.option("--leaked-ids", type=click.Path(path_type=Path), metavar="FILE", help="Image ids, one a line, for the slices leaked and clean.")
@click.option("--published", is_flag=True, help="Rows from papers as well, marked.")
@click.option("--papers", multiple=True, metavar="NAMES", help="Only rows from these papers: ldznet, clipseg, lavt …")
@click.option("--repeats", is_flag=True, help="Runs that differ in their draws alone (--seed, run --repeats) become one row: mean and deviation.")
@click.option(
    "--training-seeds", is_flag=True, help="Runs that differ in their weights alone become one row; with --ci seeds are drawn too, from six on."
)
@click.option("--margin", type=click.FloatRange(0), default=0.0, metavar="POINTS", help="Differences within it do not part ranks (--ci).")
@click.option("--order", type=click.Choice(["name", "score"]), default="name", show_default=True, help="Of rows; score of the first column.")
@click.option("--decimals", type=click.IntRange(0, 6), default=2, show_default=True, help="Of scores in percent.")
@click.option("--caption", default="", help="Put the LaTeX tabular into a table with this caption.")
@click.option("--label", default="", help=r"For \ref.")
@click.option("--limited", is_flag=True, help="Admit limited runs, marked.")
@click.option("--allow-mixed", is_flag=True, help="Print runs that cannot be compared, marked, instead of refusing them.")
@click.option("--html", is_flag=True, help="One self-contained page: leaderboard, charts, galleries; pictures with --data-root.")
@click.option("--figures", type=click.Path(path_type=Path), metavar="DIR", help="PDF and PNG figures as well; grids with --data-root.")
@click.option("--width", type=click.Choice(["single", "double"]), default="single", show_default=True, help="Of figures: a paper's column or page.")
@click.option("--count", type=click.IntRange(1, 200), default=8, show_default=True, help="Samples of each kind in galleries.")
@click.option("--show", multiple=True, metavar="IDS", help="Samples whose pictures --html holds whatever their scores.")
@data_options
@click.option("--write", type=click.Path(path_type=Path), metavar="FILE", help="To a file instead of standard output.")
def command(output: Path, style: str, write: Path | None, layout: str | None, **given: Any) -> int:  # noqa: ANN401 - options
    """A table over finished runs: a row is a model, a column one dataset:split and one metric@protocol.

    Limited and dirty runs, partial runs beside whole ones, and runs of other data in one column are refused by name.

    \b
    Examples:
      ldznet-bench report
      ldznet-bench report --ci --latex --write table.tex
      ldznet-bench report --layout ldznet-table1 --ci --latex --write table1.tex
      ldznet-bench report --datasets phrasecut:test --protocol clipseg@1 --metrics miou,iou_fg,ap --published
      ldznet-bench report --ci --training-seeds --models mine
      ldznet-bench report --by size --where 'n_instances=1' --csv
      ldznet-bench report --ci --html --data-root RELEASES --write report.html
      ldznet-bench report --html --data-root RELEASES --show 285761__11,285761__12 --write report.html
      ldznet-bench report --figures figures --data-root RELEASES
    """
    from ldznet_bench.atomic import write_bytes
    from ldznet_bench.reports.render import emitter
    from ldznet_bench.reports.runs import choose, find_runs

    found, unfinished = find_runs(output) if output.is_dir() or not layout else ([], [])
    names = {key: options.names(given[key]) for key in ("models", "datasets", "protocols")}
    chosen = choose(found, **names)
    if unfinished:
        _tell_unfinished(unfinished)
    # A layout names its rows in full, runs under a phrase control too.
    table = _table(found if layout and not any(names.values()) else chosen, layout, _options(given))
    datasets = _datasets(chosen, given) if given["html"] or given["figures"] else {}
    if given["figures"] is not None:
        from ldznet_bench.reports.figures import write_figures

        for file in write_figures(given["figures"], chosen, datasets, width=given["width"], rows=min(given["count"], 6)):
            click.echo(str(file), err=True)
    if given["html"]:
        from ldznet_bench.reports.html import report

        text = report(
            table, chosen, datasets, title=given["caption"] or "ldznet_bench report", count=given["count"], asked=options.names(given["show"])
        )
    else:
        text = emitter(style)(table)
    if write is None:
        click.echo(text, nl=False)
    else:
        write_bytes(write, text.encode())
    return 0


def _tell_unfinished(paths: list[Path]) -> None:
    from ldznet_bench.cli.unfinished import describe

    click.echo(f"{len(paths)} runs are unfinished and left out: {', '.join(str(path) for path in paths[:3])}", err=True)
    for line in describe(paths):
        click.echo(line, err=True)


def _table(runs: list[Run], layout: str | None, chosen: Options) -> Any:  # noqa: ANN401 - a Table; its module is not imported for --help
    from ldznet_bench.reports.layout import lay_out, load_layout
    from ldznet_bench.reports.table import make_table

    return make_table(runs, chosen) if layout is None else lay_out(load_layout(layout), runs, chosen)


def _datasets(runs: list[Run], given: dict[str, Any]) -> dict[str, Any]:
    """The prepared sets behind the runs, where the user says where releases are, and the bundled ones always."""
    mini = {run.dataset for run in runs if run.about.get("data", {}).get("mini")}
    names = sorted({run.dataset for run in runs} if given["data_root"] is not None else mini)
    return dict(zip(names, open_datasets(names, given, quiet=True), strict=True))


def _options(given: dict[str, Any]) -> Options:
    from ldznet_bench.reports.grid import Options
    from ldznet_bench.reports.runs import read_ids

    leaked = given["leaked_ids"]
    measured = ("limited", "allow_mixed", "published", "where", "by", "intervals", "pm", "repeats", "training_seeds")
    printed = ("margin", "order", "decimals", "caption", "label")
    return Options(
        metrics=tuple(options.names(given["metrics"])),
        papers=tuple(options.names(given["papers"])),
        leaked=None if leaked is None else read_ids(leaked),
        strict=True,
        **{key: given[key] for key in (*measured, *printed)},
    )
