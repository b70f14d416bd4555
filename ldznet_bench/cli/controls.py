"""``ldznet-bench controls``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ldznet_bench.cli import options

FORMATS = ("text", "markdown", "csv", "latex", "json")


@click.command(context_settings={"max_content_width": 110})
@options.together(options.output)
@click.option("--models", multiple=True, metavar="NAMES", help="Only these, without their control: clipseg.")
@click.option("--datasets", multiple=True, metavar="NAMES", help="Only these.")
@click.option("--protocol", "protocols", multiple=True, metavar="NAMES", help="Only these.")
@click.option("--metric", default="", metavar="NAME", help="[default: the protocol's headline]")
@click.option("--format", "style", type=click.Choice(FORMATS), default="text", show_default=True, help="Of the table.")
@click.option("--write", type=click.Path(path_type=Path), metavar="FILE", help="Write the table there.")
@click.option("--figure", type=click.Path(path_type=Path), metavar="FILE", help="Draw it too: FILE.pdf and FILE.png.")
def command(output: Path, models: tuple[str, ...], style: str, write: Path | None, figure: Path | None, **given: Any) -> int:  # noqa: ANN401
    """How much a model listens: its score under other words, paired with its plain run.

    The runs are made by `run --control`: the same images and truths, the same draws, other words. A model that keeps its score under `blank` or
    `shuffled` does not read.

    \b
    Examples:
      ldznet-bench run --models center --control none,blank,shuffled
      ldznet-bench controls
      ldznet-bench controls --models clipseg --format latex --write controls.tex --figure controls
    """
    from ldznet_bench.atomic import dump_json, write_bytes
    from ldznet_bench.evaluation.controls import CONTROLS
    from ldznet_bench.reports import controls
    from ldznet_bench.reports.runs import Run, choose, find_runs

    runs, _ = find_runs(output)

    def admitted(run: Run) -> bool:
        name = run.model.partition("~")[0]
        names = {key: options.names(given[key]) for key in ("datasets", "protocols")}
        return bool(choose([run], models=[run.model], **names)) and _model_admitted(name, options.names(models))

    found = controls.listeners([run for run in runs if admitted(run)], given["metric"], CONTROLS)
    makers = {"markdown": controls.to_markdown, "csv": controls.to_csv, "latex": controls.to_latex, "text": controls.to_text}
    text = dump_json(controls.to_json(found)) if style == "json" else makers[style](found)
    if figure is not None:
        from ldznet_bench.reports.figures import draw_controls

        for file in draw_controls(found, figure.with_suffix("") if figure.suffix in (".pdf", ".png") else figure):
            click.echo(str(file), err=True)
    if write is None:
        click.echo(text, nl=False)
    else:
        write_bytes(write, text.encode())
    return 0


def _model_admitted(name: str, wanted: list[str]) -> bool:
    return not wanted or any(name == one or (name.startswith(one) and name[len(one)] in "/+") for one in wanted)
