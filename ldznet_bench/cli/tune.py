"""``ldznet-bench tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ldznet_bench.cli import options
from ldznet_bench.cli.data import data_options, open_datasets

_ASKED = ("home", "data_root", "output", "limit", "seed", "device", "precision", "micro_batch")


@click.command(context_settings={"max_content_width": 110})
@click.option("--model", metavar="NAME", help="The model to run on the val split.")
@click.option(
    "--predictions", type=click.Path(path_type=Path), metavar="DIR|FILE", help="Instead of --model: score maps on the val split, with --name."
)
@click.option("--name", help="With --predictions: the model's name.")
@click.option("--dataset", required=True, metavar="NAME", help="A val split: phrasecut:val.")
@click.option("--protocol", default="native@1", show_default=True, help="Must count at several thresholds: native@1, clipseg@1, ldznet@1.")
@click.option("--write", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Where the threshold goes (JSON).")
@options.together(data_options, options.weights, options.output, options.limit, options.seed, options.repeats)
@options.together(options.device, options.precision, options.micro_batch, options.as_json, options.quiet)
def command(model: str | None, predictions: Path | None, name: str | None, dataset: str, protocol: str, write: Path, **given: Any) -> int:  # noqa: ANN401
    """Choose the threshold with the highest mIoU on a val split, for `run --threshold-file` and `score --threshold-file`.

    \b
    Examples:
      ldznet-bench tune --model clipseg --weights clipseg=DIR --dataset phrasecut:val --data-root RELEASES --write clipseg.json
      ldznet-bench run --models clipseg --weights clipseg=DIR --datasets phrasecut:test --data-root RELEASES --threshold-file clipseg.json
    """
    from ldznet_bench.api import make_cell
    from ldznet_bench.atomic import dump_json
    from ldznet_bench.cli.progress import make_progress
    from ldznet_bench.errors import BenchError
    from ldznet_bench.evaluation.plan import Request
    from ldznet_bench.evaluation.predictions import Predictions
    from ldznet_bench.evaluation.tuning import check_tunable, tune

    if (model is None) == (predictions is None) or (predictions is not None and not name):
        raise BenchError("name what is tuned.", "Give either --model NAME, or --predictions DIR|FILE with --name NAME.")
    quiet = given["quiet"] or given["as_json"]
    data = open_datasets([dataset], given, quiet=quiet)[0]
    if predictions is not None:
        cell = make_cell(Predictions(str(name), predictions), data, protocol, output=given["output"], home=given["home"], limit=given["limit"])
    else:
        asked = {**{key: given[key] for key in _ASKED}, "repeats": given["repeats"] or 1}
        request = Request(models=[str(model)], datasets=[data], protocols=[protocol], weights=options.pairs(given["weights"]), **asked)
        request.check()
        cell = next(request.cells())
    check_tunable(cell)
    if not cell.run(make_progress(quiet)):
        raise BenchError("other processes still work on this cell.", "Repeat the command when they have finished.")
    content = tune(cell, write)
    if given["as_json"]:
        click.echo(dump_json(content), nl=False)
    else:
        click.echo(
            f"threshold {content['threshold']:.4f} (mIoU {100 * content['score']:.2f} on {content['dataset']}, {content['protocol']}) -> {write}"
        )
    return 0
