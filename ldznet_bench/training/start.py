"""From a recipe to a training, a dry run, or a whole suite of trainings that build on one another."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldznet_bench.errors import BenchError
from ldznet_bench.training.recipe import Network, Suite, TrainRecipe, load_recipe

if TYPE_CHECKING:
    from ldznet_bench.training.objective import Objective
    from ldznet_bench.training.trainer import Trainer, Watcher

_OBJECTIVES: dict[Network, str] = {
    "autoencoder": "autoencoder:Autoencoder",
    "clip": "contrastive:Contrastive",
    "ldm": "diffusion:LatentDiffusion",
    "rgbnet": "segmentation:Segmentation",
    "znet": "segmentation:Segmentation",
    "ldznet": "segmentation:Segmentation",
    "clipseg": "clipseg_decoder:ClipSegDecoder",
}
_BYTES = 4  # weights, gradients, moments and average are float32


@dataclass(frozen=True)
class Order:
    """What a command asks for.

    Attributes:
        recipe: how.
        seed: of initial weights and draws.
        output: folder of trainings.
        frozen: folders or files with the networks that it reads.
        home: prepared datasets.
        device: ``cpu`` or ``cuda``.
        data_root: a dataset release.
    """

    recipe: TrainRecipe
    seed: int
    output: Path
    frozen: tuple[Path, ...]
    home: Path
    device: str = "cpu"
    data_root: Path | None = None

    @property
    def folder(self) -> Path:
        """Of this training."""
        return self.output / f"{self.recipe.name}-seed{self.seed}"


def make_trainer(order: Order, watcher: Watcher) -> Trainer:
    """A training, ready to run or to continue.

    Raises:
        BenchError: frozen weights that are missing or do not fit, a dataset without a train split, another training in the folder.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    from ldznet_bench.models.devices import pick_device
    from ldznet_bench.training.checkpoints import Checkpoints
    from ldznet_bench.training.trainer import Trainer

    pick_device(order.device)  # accelerate would train on the processor without a word
    mixed = {"fp32": "no"}.get(order.recipe.precision, order.recipe.precision)
    AcceleratorState._reset_state()  # or a second training in this process could not have another precision
    accelerator = Accelerator(cpu=order.device == "cpu", mixed_precision=mixed)
    _refuse_uneven(order.recipe, accelerator.num_processes)
    objective = _objective(order, accelerator.device).to(accelerator.device)
    identity = {
        "recipe": order.recipe.to_json(),
        "seed": order.seed,
        "data": objective.fingerprint(),
        "frozen": weight_hashes(order.frozen),
        "processes": accelerator.num_processes,
    }
    made_from = {**identity, "versions": installed_versions()}
    return Trainer(objective, Checkpoints(order.folder, identity), accelerator, watcher, made_from)


def _refuse_uneven(recipe: TrainRecipe, processes: int) -> None:
    if recipe.batch_size % (processes * recipe.accumulate):
        raise BenchError(
            f"{recipe.name}: a batch of {recipe.batch_size} does not divide among {processes} processes and {recipe.accumulate} micro-batches.",
            f"Give --set batch_size=… a multiple of {processes * recipe.accumulate}.",
        )


def _objective(order: Order, device: Any) -> Objective:  # noqa: ANN401 - torch is not imported here
    from ldznet_bench.training.objective import Setting

    module, name = _OBJECTIVES[order.recipe.network].split(":")
    build: Callable[[Setting], Objective] = getattr(import_module(f"ldznet_bench.training.{module}"), name)
    return build(Setting(order.recipe, order.seed, order.frozen, device, order.home, order.data_root))


def weight_hashes(paths: Sequence[Path]) -> dict[str, str]:
    """Sha256 of every weights file, by its place below the folder that was given; the folders' own places do not count."""
    found: dict[str, str] = {}
    for root in paths:
        files = [root] if root.is_file() else sorted(root.rglob("*.safetensors"))
        for file in files:
            name = file.name if root.is_file() else file.relative_to(root).as_posix()
            while name in found:
                name += "'"  # of another folder
            with file.open("rb") as opened:
                found[name] = hashlib.file_digest(opened, "sha256").hexdigest()
    return found


def installed_versions() -> dict[str, str]:
    """Of the packages that decide a training's bits."""
    from importlib.metadata import version

    return {name: version(name) for name in ("ldznet-bench", "torch", "diffusers", "transformers", "accelerate")}


def estimate(order: Order) -> dict[str, Any]:
    """What a training would take: parameters, memory and disk, and the time of a step, measured on one micro-batch.

    Raises:
        BenchError: as `make_trainer`.
    """
    import time

    from ldznet_bench.models.devices import pick_device

    device, recipe = pick_device(order.device), order.recipe
    _refuse_uneven(recipe, 1)
    objective = _objective(order, device).to(device)
    trained = sum(value.numel() for value in objective.network.parameters() if value.requires_grad)
    copies = _copies(recipe)
    objective.train()
    began = time.monotonic()
    objective(*(value.to(device) for value in objective.draw(range(recipe.batch_size // recipe.accumulate)))).backward()
    seconds = (time.monotonic() - began) * recipe.accumulate
    return {
        "recipe": recipe.name,
        "network": recipe.network,
        "parameters": sum(value.numel() for value in objective.network.parameters()),
        "trained_parameters": trained,
        "state_bytes": trained * _BYTES * copies,
        "checkpoint_bytes": trained * _BYTES * (copies - 1),
        "peak_bytes": _peak() + trained * _BYTES * (copies - 2),
        "steps": recipe.steps,
        "seconds_per_step": round(seconds, 3),
        "hours": round(seconds * recipe.steps / 3600, 2),
        "folder": str(order.folder),
        "disk_free_bytes": shutil.disk_usage(_existing(order.output)).free,
        "memory_free_bytes": _memory_free(),
    }


def refuse_if_too_small(order: Order, trained: int) -> None:
    """Meet a machine that cannot hold the training before it starts.

    Args:
        order: what is asked for.
        trained: number of trained parameters.

    Raises:
        BenchError: too little memory or disk, with the figures.
    """
    copies = _copies(order.recipe)
    need, free = trained * _BYTES * copies, _memory_free()
    if order.device == "cpu" and free < need - trained * _BYTES:  # the weights themselves are there already
        raise BenchError(
            f"{order.recipe.name} needs {need / 1e9:.1f} GB for weights, gradients and optimiser, {free / 1e9:.1f} GB are free.",
            "Use a machine with more memory, or --set ema=null.",
        )
    disk, room = 3 * trained * _BYTES * (copies - 1), shutil.disk_usage(_existing(order.output)).free
    if room < disk:
        raise BenchError(
            f"{order.output} has {room / 1e9:.2f} GB free, three checkpoints of {order.recipe.name} take {disk / 1e9:.2f} GB.",
            "Give another --output.",
        )


def _copies(recipe: TrainRecipe) -> int:
    """How often a training holds its parameters: weights, gradients, two moments, and the average where there is one."""
    return 4 + (recipe.ema is not None)


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _memory_free() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def _peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run_suite(
    suite: Suite, order: Callable[[TrainRecipe, tuple[Path, ...]], Order], train: Callable[[Order], Path], given: Sequence[Path] = ()
) -> dict[str, Path]:
    """Train every recipe of a suite, each on what those before it published; the latest comes first, since it may hold a part anew.

    Args:
        suite: which.
        order: makes a recipe's order, given the frozen folders.
        train: runs one.
        given: frozen folders from elsewhere, read after the suite's own.

    Returns:
        Published folder by recipe.
    """
    done: dict[str, Path] = {}
    for name in suite.recipes:
        recipe = load_recipe(name)
        own = [done[other] for other in reversed(suite.recipes) if other in done and _feeds(other)]
        done[name] = train(order(recipe, (*own, *given)))
    return done


def _feeds(name: str) -> bool:
    """Whether other trainings read what a recipe makes."""
    return load_recipe(name).network in ("autoencoder", "clip", "ldm")


def suite_recipes(suite: Suite) -> list[TrainRecipe]:
    """The recipes of a suite, in order."""
    return [load_recipe(name) for name in suite.recipes]
