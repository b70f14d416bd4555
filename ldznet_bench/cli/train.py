"""``ldznet-bench train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ldznet_bench.cli import options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ldznet_bench.training.recipe import TrainRecipe
    from ldznet_bench.training.start import Order

_NETWORKS = ("autoencoder", "clip", "ldm", "rgbnet", "znet", "ldznet", "clipseg")


@click.command(context_settings={"max_content_width": 110})
@click.argument("network", required=False, type=click.Choice(_NETWORKS))
@click.option("--variant", type=click.Choice(["mini", "full"]), help="Which size of the network; mini by default. A recipe states its own.")
@click.option("--recipe", "name", metavar="NAME", help="A recipe or suite that comes with the package, or a YAML file. [VARIANT-NETWORK]")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe; repeat for more.")
@click.option("--dataset", metavar="NAME", help="The labelled train split of a segmentation network. [the recipe's]")
@click.option(
    "--weights",
    multiple=True,
    metavar="PART=PATH",
    help="Networks that are read and not trained: earlier trainings' final/, the latest first, or sd=DIR. [mini: the bundled ones]",
)
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="DIR", default=Path("trainings"), show_default=True, help="The folder of trainings."
)
@options.data_root
@options.home
@options.seed
@options.device
@click.option("--bundle", type=click.Path(path_type=Path), metavar="DIR", help="After a suite: write the weights that the package carries there.")
@click.option("--smoke", is_flag=True, help="A tenth of the steps, to see that everything works; the folder's name says so.")
@click.option("--tensorboard", is_flag=True, help="Loss, rate and validation also as TensorBoard reads them, in the training's folder.")
@click.option("--dry-run", is_flag=True, help="Parameters, memory, disk and estimated time; nothing is trained or written.")
@options.quiet
@options.as_json
def command(
    network: str | None,
    variant: str | None,
    name: str | None,
    changes: tuple[str, ...],
    dataset: str | None,
    weights: tuple[str, ...],
    output: Path,
    data_root: Path | None,
    home: Path | None,
    seed: int,
    device: str,
    bundle: Path | None,
    smoke: bool,
    tensorboard: bool,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Train a network, or with a suite's name everything that the miniature consists of.

    The same command continues after Ctrl-C, a crash or a SIGKILL, and ends in the same weights as if it had not been stopped. What it publishes lies
    in OUTPUT/RECIPE-seedN/final and is given to other verbs with --weights.

    \b
    Examples:
      ldznet-bench train autoencoder --dry-run
      ldznet-bench train znet --weights sd=trainings/sd --set steps=200
      ldznet-bench train --recipe mini --output trainings --bundle weights
      ldznet-bench train --recipe mini --smoke
      ldznet-bench train ldznet --variant full --weights sd=DIR --dataset phrasecut:train --data-root releases --device cuda
      accelerate launch --num-processes 2 -m ldznet_bench.cli.main train clipseg --weights clip=trainings/mini-clip-seed0/final
    """
    from ldznet_bench.errors import BenchError
    from ldznet_bench.places import home_folder
    from ldznet_bench.training.recipe import suite_names

    if name is not None and variant is not None:
        raise BenchError(f"--variant {variant} was given beside --recipe {name}, which states its own.", "Leave one of them out.")
    variant = variant or "mini"
    edits = _changes(changes, dataset)
    frozen = tuple(options.pairs(weights).values())
    for path in frozen:
        if not path.exists():
            raise BenchError(
                f"--weights: there is nothing at {path}.", "Give the final/ folder of an earlier training, or Stable Diffusion's folder."
            )
    ask = _Asked(seed, output, home_folder(home), device, data_root, quiet, smoke=smoke, tensorboard=tensorboard)
    if name in suite_names():
        if network is not None:
            raise BenchError(f"{name} trains several networks, not {network} alone.", f"Leave {network} out, or write --recipe {variant}-{network}.")
        return _suite(name or "", ask, edits, frozen, bundle, dry_run=dry_run, as_json=as_json)
    if bundle is not None:
        raise BenchError("--bundle goes with a suite.", "Write train --recipe mini --bundle DIR.")
    recipe = _recipe(network, variant, name, edits)
    order = ask.order(recipe, frozen or _bundled(recipe))
    if dry_run:
        return _estimate(order, as_json=as_json)
    folder = ask.train(order)
    _say({"published": str(folder)}, as_json=as_json)
    return 0


def _changes(changes: tuple[str, ...], dataset: str | None) -> dict[str, str]:
    from ldznet_bench.errors import BenchError

    found = {} if dataset is None else {"data": dataset}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise BenchError(f"--set {change!r} is not KEY=VALUE.", "Write, for example, --set steps=200.")
        found[key] = value
    return found


def _recipe(network: str | None, variant: str, name: str | None, changes: dict[str, str]) -> TrainRecipe:
    from ldznet_bench.errors import BenchError
    from ldznet_bench.training.recipe import load_recipe

    if network is None and name is None:
        raise BenchError("train was given neither a network nor a recipe.", f"Name one of {', '.join(_NETWORKS)}, or --recipe mini.")
    recipe = load_recipe(name or f"{variant}-{network}", changes)
    if network is not None and recipe.network != network:
        raise BenchError(f"the recipe {recipe.name} trains {recipe.network}, not {network}.", f"Write train {recipe.network}.")
    return recipe


def _bundled(recipe: TrainRecipe) -> tuple[Path, ...]:
    """The miniature's own frozen networks, where the package carries them; they are read where none were given."""
    from ldznet_bench.share import shared

    if not recipe.variant.startswith("mini") or recipe.network in ("autoencoder", "clip"):
        return ()
    folder = shared("baselines") / "mini" / ("clipseg" if recipe.network == "clipseg" else "sd")
    return (folder,) if folder.is_dir() else ()


class _Asked:
    """What the command line says beside the recipe."""

    def __init__(
        self, seed: int, output: Path, home: Path, device: str, data_root: Path | None, quiet: bool, *, smoke: bool, tensorboard: bool
    ) -> None:
        self.seed, self.output, self.home, self.device, self.data_root, self.quiet = seed, output, home, device, data_root, quiet
        self.smoke, self.tensorboard = smoke, tensorboard

    def order(self, recipe: TrainRecipe, frozen: tuple[Path, ...]) -> Order:
        from ldznet_bench.training.recipe import shortened
        from ldznet_bench.training.start import Order

        return Order(shortened(recipe) if self.smoke else recipe, self.seed, self.output, frozen, self.home, self.device, self.data_root)

    def train(self, order: Order) -> Path:
        from ldznet_bench.models.devices import emulates_bf16
        from ldznet_bench.training.start import make_trainer, refuse_if_too_small

        words = _Words(order.recipe.name, self.quiet)
        if order.recipe.precision == "bf16" and emulates_bf16(order.device) and not self.quiet:
            click.echo(f"{order.recipe.name}: this processor emulates bf16, and is faster with --set precision=fp32.", err=True)
        trainer = make_trainer(order, _Curves(words, order.folder / "tensorboard") if self.tensorboard else words)
        refuse_if_too_small(order, sum(value.numel() for value in trainer.trained.values()))
        return trainer.run()


def _suite(name: str, ask: _Asked, changes: dict[str, str], frozen: tuple[Path, ...], bundle: Path | None, *, dry_run: bool, as_json: bool) -> int:
    from ldznet_bench.errors import BenchError
    from ldznet_bench.training.recipe import load_recipe, load_suite
    from ldznet_bench.training.start import run_suite, suite_recipes

    if changes.keys() - {"precision"}:
        raise BenchError(
            "--set and --dataset change one recipe, a suite has several.",
            "Train them one by one, or write a suite of your own; precision alone may be set for all.",
        )
    suite = load_suite(name)
    if bundle is not None and (bundle.exists() or not suite.bundled):
        reason = "is there already" if bundle.exists() else f"would hold nothing: {name} has no weights that the package carries"
        raise BenchError(f"--bundle: {bundle} {reason}.", "Give a new folder, with --recipe mini.")
    if dry_run:
        recipes = [ask.order(recipe, ()).recipe for recipe in suite_recipes(suite)]
        rows = [{"recipe": recipe.name, "steps": recipe.steps, "batch_size": recipe.batch_size} for recipe in recipes]
        _say({"suite": name, "recipes": rows}, as_json=as_json)
        return 0

    def order(recipe: TrainRecipe, folders: tuple[Path, ...]) -> Order:
        return ask.order(load_recipe(recipe.name, changes), folders or _bundled(recipe))

    done = run_suite(suite, order, ask.train, frozen)
    said: dict[str, Any] = {"published": {recipe: str(path) for recipe, path in done.items()}}
    if bundle is not None:
        from ldznet_bench.training.bundle import write_bundle

        said["bundled"] = write_bundle(suite, done, bundle)
    _say(said, as_json=as_json)
    return 0


def _estimate(order: Order, *, as_json: bool) -> int:
    from ldznet_bench.training.start import estimate

    _say(estimate(order), as_json=as_json)
    return 0


def _say(value: Mapping[str, Any], *, as_json: bool) -> None:
    from ldznet_bench.atomic import dump_json

    if as_json:
        click.echo(dump_json(value), nl=False)
        return
    for key, item in value.items():
        words = key.replace("_bytes", "").replace("_", " ")
        click.echo(f"{words:<20} {item / 1e9:.2f} GB" if key.endswith("_bytes") else f"{words:<20} {_text(item)}")


def _text(item: Any) -> str:  # noqa: ANN401 - a JSON value
    if isinstance(item, dict):
        return "; ".join(f"{key} {_text(value)}" for key, value in item.items())
    if isinstance(item, list):
        return "\n" + "\n".join(f"  {_text(value)}" for value in item)
    return f"{item:,}" if isinstance(item, int) else str(item)


class _Words:
    """Progress as lines on standard error."""

    def __init__(self, name: str, quiet: bool) -> None:
        self.name, self.quiet = name, quiet

    def step(self, done: int, total: int, loss: float, rate: float, left: float) -> None:
        if not self.quiet:
            click.echo(f"{self.name}: {done}/{total} steps, loss {loss:.4f}, {rate:.3g} samples/s, {_duration(left)} left", err=True)

    def validated(self, step: int, figures: Mapping[str, float], best: bool) -> None:
        if not self.quiet:
            words = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
            click.echo(f"{self.name}: step {step}: {words}{' (best so far)' if best else ''}", err=True)


class _Curves:
    """The same, and as TensorBoard reads them."""

    def __init__(self, words: _Words, folder: Path) -> None:
        from ldznet_bench.errors import BenchError

        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise BenchError("--tensorboard needs the package tensorboard.", "pip install tensorboard; log.jsonl has the same numbers.") from error
        self._words = words
        self._writer: Any = SummaryWriter(str(folder))

    def step(self, done: int, total: int, loss: float, rate: float, left: float) -> None:
        self._words.step(done, total, loss, rate, left)
        self._write({"loss": loss, "samples_per_s": rate}, done)

    def validated(self, step: int, figures: Mapping[str, float], best: bool) -> None:
        self._words.validated(step, figures, best)
        self._write({f"validation/{name}": value for name, value in figures.items()}, step)

    def _write(self, figures: Mapping[str, float], step: int) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"
