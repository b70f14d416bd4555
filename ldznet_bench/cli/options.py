"""Options that several verbs share, and how lists and pairs are written on the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from ldznet_bench.errors import BenchError

Command = TypeVar("Command", bound=Callable[..., Any])

_FOLDER = click.Path(path_type=Path)

data_root = click.option("--data-root", type=_FOLDER, metavar="DIR", help="A dataset release, or a folder of releases. Only read.")
home = click.option("--home", type=_FOLDER, metavar="DIR", envvar="LDZNET_BENCH_HOME", help="Prepared sets, weights, caches. [~/.cache/ldznet_bench]")
output = click.option("--output", type=_FOLDER, metavar="RUNS", default=Path("runs"), show_default=True, help="The folder of run folders.")
as_json = click.option("--json", "as_json", is_flag=True, help="JSON on standard output, for scripts.")
weights = click.option("--weights", multiple=True, metavar="MODEL=PATH", help="Local weights of a model; repeat for more.")
seed = click.option("--seed", type=int, default=0, show_default=True, help="Run seed of every draw.")
device = click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
precision = click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32", show_default=True)
micro_batch = click.option("--micro-batch", type=click.IntRange(1, 4096), help="Pairs per network call. [the model's own]")
channels_last = click.option("--channels-last", is_flag=True, help="Keep convolutions channels last. Recorded: it is a run of its own.")
compiled = click.option("--compile", "compiled", is_flag=True, help="torch.compile the networks. Recorded: it is a run of its own.")
fast = click.option("--fast", is_flag=True, help="Try for the fastest micro-batch that fits in memory. Found once, remembered, recorded.")
repeats = click.option("--repeats", type=click.IntRange(2), metavar="K", help="Average the maps of K draws of a stochastic network.")
limit = click.option("--limit", type=click.IntRange(1), metavar="N", help="A stratified sample of N; stamped, kept apart, and out of tables.")
threshold_file = click.option("--threshold-file", type=_FOLDER, metavar="FILE", help="A threshold that `tune` wrote.")
no_masks = click.option("--no-masks", is_flag=True, help="Do not store predicted masks.")
quiet = click.option("--quiet", is_flag=True, help="No progress.")


def _go_offline(_context: click.Context, _parameter: click.Parameter, chosen: bool) -> bool:
    """These verbs make no network call of their own; libraries below them are told to make none, before they are imported."""
    if chosen:
        os.environ["HF_HUB_OFFLINE"] = "1"
    return chosen


offline = click.option(
    "--offline", is_flag=True, envvar="LDZNET_BENCH_OFFLINE", expose_value=False, callback=_go_offline, help="Make no network call; `download` did."
)


def names(values: Sequence[str]) -> list[str]:
    """Names from repeated and comma-separated options, in order, each once."""
    parts = [part.strip() for value in values for part in value.split(",")]
    return list(dict.fromkeys(part for part in parts if part))


def pairs(values: Sequence[str]) -> dict[str, Path]:
    """``MODEL=PATH`` options.

    Raises:
        BenchError: one has no ``=``.
    """
    found: dict[str, Path] = {}
    for value in values:
        key, equals, path = value.partition("=")
        if not equals or not key or not path:
            raise BenchError(f"--weights {value!r} is not MODEL=PATH.", "Write, for example, --weights clipseg=DIR.")
        found[key] = Path(path)
    return found


def together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Several options as one decorator, shown in the order given."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
