"""``ldznet-bench audit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ldznet_bench.cli import options

if TYPE_CHECKING:
    from ldznet_bench.reports.audit import Component


@click.command(context_settings={"max_content_width": 110})
@click.option("--model", required=True, metavar="RUN", help="The model, a run folder or an identity.")
@click.option("--dataset", metavar="NAME", help="Full name, where the model has runs on several.")
@click.option("--reference", metavar="RUN", help="A model that was not trained on the leaked images: difference in differences.")
@click.option(
    "--phrasecut", type=click.Path(path_type=Path), metavar="DIR|FILE", help="A PhraseCut release: leaked are the images of its train split."
)
@click.option("--split", default="train", show_default=True, help="Of PhraseCut.")
@click.option("--leaked-ids", type=click.Path(path_type=Path), metavar="FILE", help="Instead: image ids, one a line (COCO's as coco:ID).")
@click.option("--metrics", multiple=True, metavar="NAMES", help="[default: the protocol's first with a fixed threshold]")
@click.option("--write-ids", type=click.Path(path_type=Path), metavar="FILE", help="Write the leaked ids, for report --leaked-ids.")
@click.option("--resamples", type=click.IntRange(100), default=10_000, show_default=True, help="Draws of images.")
@options.together(options.output, options.as_json)
def command(model: str, output: Path, as_json: bool, **given: Any) -> int:  # noqa: ANN401 - options
    """Leakage: what a model's components were exposed to, and its scores on images that it has and has not seen.

    \b
    Examples:
      ldznet-bench audit --model ldznet --dataset refcoco-unc:val --phrasecut RELEASES
      ldznet-bench audit --model ldznet --dataset refcoco-unc:val --phrasecut RELEASES --reference clip-only --write-ids leaked.txt
      ldznet-bench report --by leaked --leaked-ids leaked.txt
    """
    from ldznet_bench.atomic import dump_json, write_bytes
    from ldznet_bench.errors import BenchError
    from ldznet_bench.reports.audit import audit, to_json, to_text, training_images
    from ldznet_bench.reports.comparison import find_models
    from ldznet_bench.reports.runs import read_ids

    if (given["phrasecut"] is None) == (given["leaked_ids"] is None):
        raise BenchError("which images are leaked?", "Give one of --phrasecut DIR and --leaked-ids FILE.")
    if given["phrasecut"] is not None:
        leaked, source = training_images(given["phrasecut"], given["split"]), f"images of PhraseCut {given['split']}"
    else:
        leaked, source = read_ids(given["leaked_ids"]), f"images of {given['leaked_ids'].name}"
    if given["write_ids"] is not None:
        write_bytes(given["write_ids"], ("\n".join(sorted(leaked)) + "\n").encode())
    runs = find_models(output, model)
    others = find_models(output, given["reference"]) if given["reference"] else {}
    keys = [key for key in sorted(runs) if given["dataset"] in (None, key[0])]
    if not keys:
        raise BenchError(f"{model} has no run on {given['dataset']}.", "It has runs on " + ", ".join(sorted({key[0] for key in runs})) + ".")
    found = []
    for key in keys:
        reference = others[key][0] if key in others else None
        wanted = options.names(given["metrics"])
        found.append(audit(runs[key][0], _components(key, runs), leaked, source, metrics=wanted, reference=reference, resamples=given["resamples"]))
    click.echo(dump_json([to_json(item) for item in found]) if as_json else "\n".join(to_text(item) for item in found), nl=False)
    return 0


def _components(key: tuple[str, str], runs: dict[tuple[str, str], Any]) -> tuple[Component, ...] | None:
    """The training data that the model's card states; None where nothing does, which is not the same as clean."""
    from ldznet_bench.cards import card_names
    from ldznet_bench.models.card import model_card

    name = runs[key][0].model.split("/")[0].split("+")[0]
    if name not in card_names("baselines"):
        return None
    card = model_card(name)
    return tuple(card.training_data) if card.training_data or card.kind == "weight-free" else None
