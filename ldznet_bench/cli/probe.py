"""``ldznet-bench probe``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ldznet_bench.cli import options


@click.command(context_settings={"max_content_width": 110})
@click.option("--dataset", default="minicut-photo:train", show_default=True, metavar="NAME", help="The labelled train split.")
@click.option("--val", default="minicut-photo:val", show_default=True, metavar="NAME", help="What is scored, under native@1.")
@click.option("--blocks", multiple=True, metavar="NAMES", help="Comma-separated: mid_block.attentions.0 … [all; with --gate every transformer]")
@click.option("--timesteps", multiple=True, metavar="T", help="Comma-separated. [100,300,500,700; with --gate 400]")
@click.option("--ldm", type=click.Choice(["trained", "random"]), help="Which diffusion model: as it is, or one that never learned. [trained]")
@click.option("--gate", is_flag=True, help="Both, and whether the trained one's AP is 5 points above the random one's.")
@click.option("--steps", type=click.IntRange(1), metavar="N", help="Of each decoder's training. [300; with --gate 1500]")
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Samples per step.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=4e-3, show_default=True, help="At its highest.")
@click.option("--limit", type=click.IntRange(1), default=150, show_default=True, metavar="N", help="A stratified sample of N of the val split.")
@click.option("--weights", multiple=True, metavar="sd=DIR", help="Diffusion model, text encoder, autoencoder. [the package's miniature]")
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", default=Path("probes"), show_default=True, help="The folder of probe.json.")
@click.option("--figure", type=click.Path(path_type=Path), metavar="FILE", help="AP against timestep: a .pdf, .png or .svg.")
@options.together(options.data_root, options.home, options.seed, options.device, options.quiet, options.as_json)
def command(
    blocks: tuple[str, ...],
    timesteps: tuple[str, ...],
    ldm: str | None,
    gate: bool,
    weights: tuple[str, ...],
    figure: Path | None,
    steps: int | None,
    **given: Any,  # noqa: ANN401
) -> int:
    """Train a small decoder on each block's features of the frozen diffusion model, at each timestep, and score it on val.

    Decoders are equal for all blocks but for the width that they read. Timesteps that are in OUTPUT/probe.json already are not done again, so the
    same command continues. The gate must pass before anything is claimed about features of the diffusion model.

    \b
    Examples:
      ldznet-bench probe --figure probes/figure4.pdf
      ldznet-bench probe --gate --output gate
      ldznet-bench probe --weights sd=trainings/mini-ldm-seed0/final --timesteps 300,500 --blocks mid_block.attentions.0
    """
    from ldznet_bench.atomic import dump_json
    from ldznet_bench.cli.progress import make_progress
    from ldznet_bench.errors import BenchError
    from ldznet_bench.places import home_folder
    from ldznet_bench.reports.figures import check_figure, draw_probes
    from ldznet_bench.share import shared

    if gate and ldm is not None:
        raise BenchError("--gate compares both diffusion models, --ldm names one.", "Leave one of them out.")
    if figure is not None:
        check_figure(figure)
    folders = tuple(options.pairs(weights).values()) or (shared("baselines") / "mini" / "sd",)
    for folder in folders:
        if not folder.exists():
            raise BenchError(f"--weights: there is nothing at {folder}.", "Give a folder with a diffusion model, text encoder and autoencoder.")
    probed = _numbers(options.names(timesteps)) or ((400,) if gate else (100, 300, 500, 700))

    from ldznet_bench.training.gate import GATE_STEPS, run_probes
    from ldznet_bench.training.probe import ProbeOrder, ProbeRecipe

    length = steps or (GATE_STEPS if gate else ProbeRecipe.steps)
    recipe = ProbeRecipe(given["dataset"], given["val"], given["limit"], length, given["batch_size"], given["learning_rate"], given["seed"])
    places = {key: given[key] for key in ("output", "data_root", "device")}
    which: Any = ("trained", "random") if gate else (ldm or "trained",)
    order = ProbeOrder(recipe, which, probed, tuple(options.names(blocks)), gate, folders, home=home_folder(given["home"]), **places)
    found = run_probes(order, make_progress(given["quiet"] or given["as_json"]))
    if figure is not None:
        draw_probes(found["scores"], figure)
    click.echo(dump_json(found) if given["as_json"] else _text(found, gate=gate), nl=False)
    return 0


def _numbers(names: list[str]) -> tuple[int, ...]:
    from ldznet_bench.errors import BenchError

    for name in names:
        if not name.isdecimal():
            raise BenchError(f"--timesteps: {name!r} is no timestep.", "Write --timesteps 100,300,500.")
    return tuple(map(int, names))


def _text(found: dict[str, Any], *, gate: bool) -> str:
    """A table per diffusion model, blocks by timesteps, AP and mIoU in percent; then the gate."""
    lines = []
    for ldm, rows in found["scores"].items():
        steps = sorted(rows, key=int)
        blocks = list(dict.fromkeys(block for step in steps for block in rows[step]))
        width = max(map(len, blocks))
        lines.append(f"{ldm} diffusion model, AP (mIoU) in % on {found['identity']['recipe']['val']}, native@1")
        lines.append(f"{'block':<{width}}" + "".join(f"{'t=' + step:>15}" for step in steps))
        for block in blocks:
            cells = [rows[step].get(block) for step in steps]
            texts = ["" if cell is None else f"{100 * cell['ap']:.2f} ({100 * cell['miou']:.2f})" for cell in cells]
            lines.append(f"{block:<{width}}" + "".join(f"{text:>15}" for text in texts))
        lines.append("")
    if gate:
        its = found["gate"]
        lines += [
            f"t={row['timestep']}: AP {row['trained']:.2f} trained, {row['random']:.2f} random, difference {row['difference']:+.2f} "
            f"(mean of {len(its['blocks'])} blocks); best block {row['best_difference']:+.2f}"
            for row in its["timesteps"]
        ]
        lines.append(f"{its['difference']:+.2f} AP against the {its['margin']:.0f} that are asked for: {its['verdict']}.")
    return "\n".join(lines).rstrip("\n") + "\n"
