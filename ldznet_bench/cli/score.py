"""``ldznet-bench score``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ldznet_bench.cli import options
from ldznet_bench.cli.data import data_options, open_datasets
from ldznet_bench.cli.unfinished import as_json, missing_lines


@click.command(context_settings={"max_content_width": 110})
@click.option("--dataset", required=True, metavar="NAME", help="dataset:split that the predictions are for.")
@click.option("--predictions", required=True, type=click.Path(path_type=Path), metavar="DIR|FILE", help="See below.")
@click.option("--protocol", "protocols", multiple=True, default=["native@1"], metavar="NAMES", help="Comma-separated. [default: native@1]")
@click.option("--name", required=True, help="The model's name, as tables will show it.")
@click.option("--missing", type=click.Choice(["error", "empty", "skip"]), default="error", show_default=True, help="What a missing prediction is.")
@click.option("--size-mismatch", type=click.Choice(["error", "official"]), default="error", show_default=True, help="What a mask of another size is.")
@options.together(data_options, options.output, options.threshold_file, options.micro_batch, options.no_masks)
@options.together(options.as_json, options.quiet)
def command(dataset: str, predictions: Path, name: str, **given: Any) -> int:  # noqa: ANN401 - options
    """Score predictions that another model wrote to disk.

    Predictions are a folder of <sample_id>.png masks (any non-zero stored value is foreground) or <sample_id>.npy score maps in [0, 1], one .npz
    of score maps by sample id, or a .json or .jsonl of COCO RLEs ([{"sample_id": …, "segmentation": {"size": [h, w], "counts": …}}, …]).
    A sample's id is the source's own: PhraseCut task_id, REFER sent_id. A model that never knew them dumps by image and phrase:
    [{"image": …, "phrase": …, "masks": [RLE, …]}, …] or {image: {phrase: RLE}}. docs/other-models.md has an example for each.

    `--missing skip` leaves samples without prediction out of every figure, as PhraseCut's evaluator does; `--missing empty` counts them as empty
    masks. `--size-mismatch official` draws the truth at the size of a mask that differs from the annotation.

    \b
    Examples:
      ldznet-bench score --dataset phrasecut:test --predictions masks/ --protocol phrasecut@1 --name mine --data-root RELEASES
      ldznet-bench score --dataset reasonseg:val --predictions lisa.json --protocol lisa@1 --name lisa-7b --data-root RELEASES
      ldznet-bench score --dataset refcoco:testA --predictions maps.npz --name mine --data-root RELEASES --json
    """
    from ldznet_bench.api import make_cell
    from ldznet_bench.atomic import dump_json
    from ldznet_bench.cli.progress import make_progress
    from ldznet_bench.errors import BenchError
    from ldznet_bench.evaluation.predictions import Predictions
    from ldznet_bench.reports.render import render
    from ldznet_bench.reports.runs import read_run

    if not name.strip() or name in (".", "..") or "~" in name:
        raise BenchError(f"--name {name!r} cannot name a model.", "Names are not empty, `.` or `..`, and a ~ is kept for phrase controls.")
    quiet = given["quiet"] or given["as_json"]
    data = open_datasets([dataset], given, quiet=quiet)[0]
    segmenter = Predictions(name, predictions, groups=data.groups, missing=given["missing"], size_mismatch=given["size_mismatch"])
    runs, waiting = [], []
    for protocol in options.names(given["protocols"]):
        keys = {key: given[key] for key in ("output", "home", "threshold_file")}
        cell = make_cell(segmenter, data, protocol, batch=given["micro_batch"], keep_masks=not given["no_masks"], **keys)
        if cell.run(make_progress(quiet)):
            runs.append(read_run(cell.folder.path))
        else:
            waiting.append(cell.folder.path)
            click.echo(f"{protocol}: waits for the other shards; the last one to finish merges them.", err=True)
            for text in missing_lines(cell.folder.path):
                click.echo(f"  {text}", err=True)
        if cell.missing and not quiet:
            meaning = "left out of every figure" if segmenter.missing == "skip" else "counted as empty masks"
            click.echo(f"{len(cell.missing)} samples have no prediction and are {meaning}.", err=True)
    if given["as_json"]:
        found = [{"path": str(run.path), **run.summary} for run in runs]
        click.echo(dump_json({"runs": found, "waiting": len(waiting), "unfinished": [as_json(path) for path in waiting]}), nl=False)
    elif runs:
        click.echo(render(runs, ["all"], style="plain"), nl=False)
    return 0
