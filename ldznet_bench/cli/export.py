"""``ldznet-bench export``."""

from __future__ import annotations

from pathlib import Path

import click

from ldznet_bench.cli import options


@click.command(context_settings={"max_content_width": 110})
@click.argument("run", metavar="RUN")
@options.together(options.output)
@click.option(
    "--format", "form", type=click.Choice(["eval-results", "coco"]), required=True, help="Hugging Face .eval_results YAML, or COCO RLE JSON."
)
@click.option("--hub-dataset", metavar="OWNER/NAME", default="", help="The dataset's repository on the Hub, for eval-results.")
@click.option("--write", type=click.Path(path_type=Path), metavar="FILE", help="To a file instead of standard output.")
def command(run: str, output: Path, form: str, hub_dataset: str, write: Path | None) -> int:
    """A run in the form of others.

    \b
    Examples:
      ldznet-bench export clipseg --format eval-results --hub-dataset owner/phrasecut --write .eval_results/phrasecut.yaml
      ldznet-bench export runs/phrasecut:test/native@1/box/0123456789ab --format coco --write box.json
    """
    from ldznet_bench.atomic import write_bytes
    from ldznet_bench.errors import BenchError
    from ldznet_bench.reports.export import coco_results, eval_results
    from ldznet_bench.reports.runs import find_run

    found = find_run(output, run)
    if len(found) > 1:
        raise BenchError(f"{run!r} names {len(found)} runs: {', '.join(str(item.path) for item in found[:3])}, …", "Name one run folder.")
    text = eval_results(found[0], hub_dataset) if form == "eval-results" else coco_results(found[0])
    if write is None:
        click.echo(text, nl=False)
    else:
        write_bytes(write, text.encode())
    return 0
