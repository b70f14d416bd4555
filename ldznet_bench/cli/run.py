"""``ldznet-bench run``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ldznet_bench.cli import options
from ldznet_bench.cli.data import data_options, open_datasets
from ldznet_bench.cli.unfinished import as_json as unfinished
from ldznet_bench.cli.unfinished import listed, missing_lines

if TYPE_CHECKING:
    from ldznet_bench.errors import BenchError
    from ldznet_bench.evaluation.cell import Cell
    from ldznet_bench.evaluation.plan import Request
    from ldznet_bench.reports.repeats import Repeated

DEFAULT_DATASET = "minicut-photo:test"
_ASKED = ("home", "data_root", "output", "limit", "seed", "threshold_file", "keep_maps", "shard", "device", "precision", "micro_batch", "spread")
_HOW = ("channels_last", "compiled", "fast")


@click.command(context_settings={"max_content_width": 110})
@click.option("--models", multiple=True, required=True, metavar="NAMES", help="Comma-separated: oracle,box,clipseg/full+paper …")
@click.option("--datasets", multiple=True, metavar="NAMES", help=f"Comma-separated dataset:split. [default: the bundled {DEFAULT_DATASET}]")
@click.option("--protocol", "protocols", multiple=True, metavar="NAMES", default=["native@1"], help="Comma-separated. [default: native@1]")
@options.together(data_options, options.weights, options.output, options.limit, options.seed, options.threshold_file)
@options.together(options.device, options.precision, options.micro_batch, options.no_masks, options.repeats)
@options.together(options.fast, options.channels_last, options.compiled)
@click.option("--keep-maps", default="none", show_default=True, metavar="none|N|all", help="Store that many score maps, quantised to 8 bits.")
@click.option("--control", "controls", multiple=True, metavar="NAMES", help="Other words for the phrases: none,blank,shuffled … or all. See below.")
@click.option("--spread", is_flag=True, help="With --repeats: a run per draw, and a table of how much comes from template, timestep, noise and VAE.")
@click.option("--shard", metavar="i/n", help="This process's part of the images. [default: RANK and WORLD_SIZE, else all]")
@click.option("--dry-run", is_flag=True, help="Print the plan (cells, samples, what is finished and why not) and stop.")
@options.together(options.as_json, options.quiet)
def command(models: tuple[str, ...], datasets: tuple[str, ...], protocols: tuple[str, ...], controls: tuple[str, ...], **given: Any) -> int:  # noqa: ANN401
    """Run models over datasets and count: one cell per dataset, protocol and model.

    The same command continues after an interruption and skips what is finished. It ends in a table.

    Controls tell how much a model listens: the same images and truths under other words, each a run of its own beside the plain one (`none`).
    They are blank, shuffled (across images), shuffled-within (images), noun, word-order, upper, misspelt, template1 to template9; `templates` and
    `all` are several. `ldznet-bench controls` makes the table and the figure.

    A stochastic model draws from --seed. --repeats K makes one run whose maps are the mean of K draws; --repeats K --spread makes K runs under the
    seeds from --seed on, and for each thing that is drawn K - 1 runs that draw it alone anew. `report --repeats` shows the K as mean and deviation.

    \b
    Examples:
      ldznet-bench run --models oracle,empty,full,box
      ldznet-bench run --models clipseg --weights clipseg=DIR --datasets phrasecut:test,refcoco:testA --data-root RELEASES
      ldznet-bench run --models noise --datasets phrasecut:test --protocol clipseg@1,phrasecut@1 --data-root RELEASES
      ldznet-bench run --models clipseg --datasets phrasecut:test --data-root RELEASES --limit 500 --dry-run
      ldznet-bench run --models clipseg --datasets phrasecut:test --data-root RELEASES --control none,blank,shuffled
      ldznet-bench run --models ldznet+paper-stochastic --repeats 5 --spread --datasets phrasecut:test --data-root RELEASES --limit 200
      torchrun --nproc-per-node 2 --no-python ldznet-bench run --models noise
    """
    from ldznet_bench.evaluation.controls import parse_controls
    from ldznet_bench.evaluation.plan import Request

    quiet = given["quiet"] or given["as_json"]
    request = Request(
        controls=tuple(parse_controls(options.names(controls))),
        models=options.names(models),
        datasets=open_datasets(options.names(datasets) or [DEFAULT_DATASET], given, quiet=quiet),
        protocols=options.names(protocols),
        weights=options.pairs(given["weights"]),
        keep_masks=not given["no_masks"],
        repeats=given["repeats"] or 1,
        **{key: given[key] for key in (*_ASKED, *_HOW)},
    )
    request.check()
    if given["dry_run"]:
        return _print_plan(request, as_json=given["as_json"])
    return _run(request, quiet=quiet, as_json=given["as_json"])


def _print_plan(request: Request, *, as_json: bool) -> int:
    from ldznet_bench.atomic import dump_json
    from ldznet_bench.evaluation.plan import describe

    lines = [describe(cell) for cell in request.cells()]
    if as_json:
        click.echo(dump_json({"cells": [{**line, "missing": [part.to_json() for part in line["missing"]]} for line in lines]}), nl=False)
        return 0
    for line in lines:
        text = {"complete": "finished, will not be run again", "started": f"continues at {line['done']}", "new": "new"}[line["state"]]
        why = f" (differs from the finished one: {', '.join(line['why'])})" if line["why"] else ""
        click.echo(f"{line['model']} on {line['dataset']} under {line['protocol']}: {line['samples']} samples, {text}{why}\n  {line['path']}")
        for text in listed(line["missing"]):
            click.echo(f"  {text}")
    return 0


@dataclass
class _Made:
    """What became of the cells; models are not held on to.

    Attributes:
        finished: run folders.
        waiting: names and run folders of cells that other processes still work on.
        problems: in words.
    """

    finished: list[Path] = field(default_factory=list)
    waiting: list[tuple[str, Path]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def failed(self, what: str, error: BenchError) -> None:
        self.problems.append(f"{what}: {error}")
        click.echo(f"Error: {self.problems[-1]}", err=True)


def _run(request: Request, *, quiet: bool, as_json: bool) -> int:
    made = _make(request, quiet=quiet)
    spread = _spread(made.finished) if request.spread and not made.waiting and not made.problems else []
    if as_json:
        click.echo(_to_json(made, spread if request.spread else None), nl=False)
    elif made.finished:
        click.echo(_spread_text(spread) if spread else _table(made.finished), nl=False)
    for name, path in made.waiting:
        click.echo(f"{name} waits for the other shards; the last one to finish merges them.", err=True)
        for text in missing_lines(path):
            click.echo(f"  {text}", err=True)
    if made.waiting:
        click.echo("A part that died: start it again as before. The same command without --shard makes all that is missing.", err=True)
    return 2 if made.problems else 0


def _make(request: Request, *, quiet: bool) -> _Made:
    from ldznet_bench.errors import BenchError

    made = _Made()
    for model in request.models:
        try:
            _make_of(dataclasses.replace(request, models=[model]), made, quiet=quiet)
        except BenchError as error:  # it cannot be loaded; the others can
            made.failed(model, error)
    return made


def _make_of(request: Request, made: _Made, *, quiet: bool) -> None:
    """The cells of one model, which is let go of on return."""
    from ldznet_bench.errors import BenchError

    for cell in request.cells():
        try:
            if _run_cell(cell, quiet=quiet):
                made.finished.append(cell.folder.path)
            else:
                made.waiting.append((_name(cell), cell.folder.path))
        except BenchError as error:
            made.failed(_name(cell), error)


def _to_json(made: _Made, spread: list[Repeated] | None) -> str:
    from ldznet_bench.atomic import dump_json

    value = {
        "runs": [_as_json(path) for path in made.finished],
        "waiting": len(made.waiting),
        "unfinished": [unfinished(path) for _, path in made.waiting],
        "errors": made.problems,
    }
    return dump_json(value if spread is None else {**value, "spread": [one.to_json() for one in spread]})


def _run_cell(cell: Cell, *, quiet: bool) -> bool:
    from ldznet_bench.cli.progress import make_progress

    state, name = cell.state(), _name(cell)
    if not quiet:
        if state == "complete":
            click.echo(f"{name}: finished before, not run again.", err=True)
        elif state == "started":
            click.echo(f"{name}: continues.", err=True)
            for text in listed([part for part in cell.folder.missing() if part.state in ("died", "stopped")]):
                click.echo(f"  {text}", err=True)
        elif why := cell.folder.why_new():
            click.echo(f"{name}: run anew beside the finished one, because of {', '.join(why)}.", err=True)
    return cell.run(make_progress(quiet))


def _name(cell: Cell) -> str:
    return f"{cell.model} on {cell.dataset.name} under {cell.protocol.full_name}"


def _as_json(path: Path) -> dict[str, Any]:
    import json

    return {"path": str(path), **json.loads((path / "summary.json").read_bytes())}


def _spread(paths: list[Path]) -> list[Repeated]:
    from ldznet_bench.reports.repeats import measure_repeats
    from ldznet_bench.reports.runs import read_run

    return measure_repeats([read_run(path) for path in paths])


def _spread_text(found: list[Repeated]) -> str:
    from ldznet_bench.reports.grid import metric_title
    from ldznet_bench.reports.repeats import spread_text

    metrics = dict.fromkeys(metric for one in found for metric in list(one.sources[0].scores)[:3])
    return spread_text(found, {metric: metric_title(metric) for metric in metrics})


def _table(paths: list[Path]) -> str:
    from ldznet_bench.reports.render import render
    from ldznet_bench.reports.runs import read_run

    runs = [read_run(path) for path in paths]
    graded = any(run.summary["metrics"].get("ap") is not None for run in runs)  # a low threshold score alone misleads about an unsure network
    return render(runs, ("headline", "ap") if graded else (), style="plain")
