"""``ldznet-bench benchmark``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ldznet_bench.cli import options
from ldznet_bench.cli.data import data_options, open_datasets

if TYPE_CHECKING:
    from ldznet_bench.evaluation.benchmark import Effect, Measured

_DEFAULT_DATASET = "minicut-photo:test"
_ASKED = ("home", "data_root", "limit", "seed", "device", "precision", "micro_batch", "fast", "channels_last", "compiled")
_PAPER = "ldznet"


@click.command(context_settings={"max_content_width": 110})
@click.option("--models", multiple=True, required=True, metavar="NAMES", help="Comma-separated: box,clipseg/full+paper …")
@click.option("--dataset", default=_DEFAULT_DATASET, show_default=True, metavar="NAME", help="Whose images and phrases are timed.")
@click.option("--protocol", default="native@1", show_default=True, metavar="NAME", help="Whose counting is timed.")
@click.option("--limit", type=click.IntRange(2), default=24, show_default=True, metavar="N", help="The first images, until they hold N phrases.")
@options.together(data_options, options.weights, options.seed, options.device, options.precision, options.micro_batch)
@options.together(options.fast, options.channels_last, options.compiled, options.as_json)
def command(models: tuple[str, ...], dataset: str, protocol: str, **given: Any) -> int:  # noqa: ANN401
    """How fast models are here, where the time goes, and what --precision, --compile and their like do to the scores.

    It times the loop of `run` on the dataset's first images, and keeps nothing. Latency is from an image file and one phrase to a score map. Where
    an option departs from fp32 and the model's own micro-batch, the plain model runs beside it, and the scores are compared. The paper's own times
    (LD-ZNet, section 5.4) stand below for the same unit, on the authors' card.

    \b
    Examples:
      ldznet-bench benchmark --models box,noise
      ldznet-bench benchmark --models clipseg/full --weights clipseg=DIR --dataset phrasecut:test --data-root RELEASES --limit 50
      ldznet-bench benchmark --models ldznet/full --weights sd=DIR --weights ldznet=DIR --device cuda --precision bf16 --compile --fast --json
    """
    from ldznet_bench.atomic import dump_json
    from ldznet_bench.errors import BenchError
    from ldznet_bench.evaluation.benchmark import NOT_COUNTED, measure
    from ldznet_bench.evaluation.plan import Request

    data = open_datasets([dataset], given, quiet=given["as_json"])[0]
    asked = {key: given[key] for key in _ASKED}
    request = Request(models=options.names(models), datasets=[data], protocols=[protocol], weights=options.pairs(given["weights"]), **asked)
    request.check()
    published = _published()
    found: list[Measured] = []
    problems: list[str] = []
    for model in request.models:
        try:
            found.append(measure(request, model, data))
        except BenchError as error:
            problems.append(f"{model}: {error}")
            click.echo(f"Error: {problems[-1]}", err=True)
        except KeyboardInterrupt:
            click.echo("\nStopped; benchmark keeps nothing.", err=True)
            return 130
        else:
            if not given["as_json"]:
                click.echo(_text(found[-1], NOT_COUNTED, later=len(found) > 1))
    if given["as_json"]:
        measured = [{**one.to_json(), "flops_not_counted": NOT_COUNTED} for one in found]
        click.echo(dump_json({"models": measured, "published": published, "errors": problems}), nl=False)
    else:
        click.echo(_published_text(published))
    return 2 if problems else 0


def _text(one: Measured, not_counted: str, *, later: bool) -> str:
    memory = ", ".join(f"{where} {_bytes(value)}" for where, value in one.peak_memory.items() if value is not None)
    latency = "-" if one.latency_ms is None else f"p50 {one.latency_ms['p50']:.3g} ms, p95 {one.latency_ms['p95']:.3g} ms"
    threads = "" if one.threads is None else f", {one.threads} threads"
    batch = "" if one.micro_batch is None else f", micro-batch {one.micro_batch}"
    lines = [
        f"{one.model} on {one.dataset} under {one.protocol}: {one.samples} phrases on {one.images} images, "
        f"{one.device}{threads}, {one.precision}{batch}",
        f"  rate        {one.images_per_second:.2f} images/s, {one.phrases_per_second:.2f} phrases/s",
        f"  latency     {latency} (one image, one phrase)",
        f"  memory      peak {memory}{' (host: of this process, models before included)' if later else ''}",
        f"  parameters  {one.parameters:,}",
    ]
    if one.flops is not None:
        counted = ", ".join(f"{value / 1e9:.3g} GFLOP per {what}" for what, value in one.flops.items())
        lines.append(f"  work        {counted} (not counted: {not_counted})")
    lines.append("  time        " + ", ".join(f"{phase} {seconds:.3f} s" for phase, seconds in one.phases.items()))
    lines.append(
        f"  network     {100 * one.network_share:.1f} % of the loop's {one.seconds:.3f} s; before and after the loop {one.outside_loop:.3f} s"
    )
    if one.network is not None:
        each = ", ".join(f"{value:.3g} ms per {unit}" for unit, value in one.network.items())
        lines.append(f"              {each} (padding of micro-batches included)")
    if one.effect is not None:
        lines.append(_effect_text(one.effect))
    return "\n".join(lines) + "\n"


def _effect_text(effect: Effect) -> str:
    asked = ", ".join(f"{key}={value}" for key, value in effect.options.items())
    named = f": {', '.join(effect.counts[:8])}{' …' if len(effect.counts) > 8 else ''}" if effect.counts else ""
    return (
        f"  scores      {asked} against the plain model: {effect.unit} differ by at most {effect.largest:.3g}, sd {effect.deviation:.3g} "
        f"(their own sd is {effect.spread:.3g}); counts differ in {len(effect.counts)} of {effect.samples} samples{named}"
    )


def _published() -> list[dict[str, Any]]:
    from ldznet_bench.reports.published import load_published

    return [
        {"method": row.method, "ms_per_image": value.value, "device": row.notes, "source": f"{row.paper}, {row.table}"}
        for row in load_published().rows
        for value in row.values
        if row.paper == _PAPER and value.metric == "ms_per_image"
    ]


def _published_text(rows: list[dict[str, Any]]) -> str:
    lines = ["published: milliseconds per image (LD-ZNet, section 5.4)"]
    lines += [f"  {row['method']:<28}{row['ms_per_image']:>8.0f} ms  {row['device']}" for row in rows]
    return "\n".join(lines)


def _bytes(value: int) -> str:
    return f"{value / 2**20:,.0f} MiB"
