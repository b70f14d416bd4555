"""What every training has in common: a network, batches by place in the training, a loss, a validation, and what is published of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn

from ldznet_bench.errors import BenchError, WeightsError, unknown_name
from ldznet_bench.models.sd import SDConfig
from ldznet_bench.models.weight_folders import Bundle, Part, open_bundle, write_folder
from ldznet_bench.training.draws import draw_seed
from ldznet_bench.training.recipe import TrainRecipe


@dataclass(frozen=True)
class Setting:
    """Where and from what a training starts.

    Attributes:
        recipe: what is trained, how.
        seed: of initial weights and every draw.
        frozen: folders or files that hold the networks that it reads, best first.
        device: of this process.
        home: prepared datasets.
        data_root: a dataset release; only read.
    """

    recipe: TrainRecipe
    seed: int
    frozen: tuple[Path, ...]
    device: torch.device
    home: Path
    data_root: Path | None = None

    def bundles(self) -> list[Bundle]:
        """The frozen networks' files, opened anew."""
        return [open_bundle(path) for path in self.frozen]

    def part(self, name: str) -> tuple[Bundle, Part]:
        """One frozen network's weights and the bundle that they are in.

        Raises:
            WeightsError: none of the folders holds it.
        """
        for bundle in self.bundles():
            if name in bundle.parts:
                return bundle, bundle.parts[name]
        where = ", ".join(map(str, self.frozen)) or "nothing was given"
        raise WeightsError(
            f"{self.recipe.name} needs a {name}, and there is none in the frozen weights ({where}).",
            "Give the folders of earlier trainings, or Stable Diffusion: --weights sd=DIR.",
        )


class Objective(nn.Module, ABC):
    """A network in training. `forward` is the loss, so that a wrapper for several processes sees every gradient.

    Frozen networks are kept out of the module tree: they have no gradients, no optimiser state, and no place in checkpoints.

    Attributes:
        network: what is trained; its parameters that require gradients are.
        setting: where it starts.
    """

    network: Any  # a module, of whatever class the objective trains

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.setting = setting

    @property
    def recipe(self) -> TrainRecipe:
        """The setting's recipe."""
        return self.setting.recipe

    def begun(self, build: Callable[[], Any]) -> Any:  # noqa: ANN401 - what `build` makes
        """The network with its initial weights, a function of the training's seed.

        Raises:
            BenchError: the recipe's sizes make no network.
        """
        try:
            return seeded(draw_seed(self.setting.seed, "weights"), build)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, StrictDataclassError) as error:
            raise BenchError(f"the sizes under model of {self.recipe.name} make no network: {error}.", "Change them back.") from error

    @abstractmethod
    def draw(self, positions: Sequence[int]) -> tuple[Any, ...]:
        """The micro-batch at these places of the training; a function of the seed and the places alone."""

    @abstractmethod
    def forward(self, *batch: Any) -> Tensor:  # noqa: ANN401 - what `draw` returns
        """The mean loss of a micro-batch."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Figures of the network as it is now; the first one decides which checkpoint is the best (more is better)."""

    @abstractmethod
    def publish(self, folder: Path, made_from: Mapping[str, Any]) -> None:
        """Write the network as it is now in the form that models are loaded from. The folder must not exist."""

    def fingerprint(self) -> str:
        """What names the training data."""
        return self.recipe.data


def refuse_unknown(recipe: TrainRecipe, given: Mapping[str, Any], known: Iterable[str], within: str = "model") -> None:
    """Meet a misspelt size, which diffusers and transformers pass over.

    Raises:
        BenchError: a key that the network does not have; the nearest is named.
    """
    if not isinstance(given, Mapping):
        raise BenchError(f"{recipe.name}: {within} is {given!r}, it must be a mapping.", f"Write {within}.KEY: VALUE.")
    known = {key for key in known if key not in ("self", "kwargs")}
    for key in given:
        if key not in known:
            raise unknown_name(f"key in {recipe.name}'s {within},", key, known)


def seeded(seed: int, build: Any) -> Any:  # noqa: ANN401 - what `build` makes
    """A module whose initial weights depend on the seed alone; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def write_parts(folder: Path, parts: Mapping[str, Part], made_from: Mapping[str, Any], tokenizer: Path | None = None) -> None:
    """Write networks in our own format; see `weight_folders`."""
    default = SDConfig()
    schedule = {"beta_start": default.beta_start, "beta_end": default.beta_end, "steps": default.steps}
    write_folder(folder, Bundle(folder, dict(parts), schedule, tokenizer), made_from)


def as_part(config: Mapping[str, Any], tensors: Mapping[str, Tensor], where: Path) -> Part:
    """A network's present weights, as a part of our own format."""
    copies = {name: value.detach().to("cpu").contiguous().clone() for name, value in tensors.items()}
    return Part(config, copies, "", where, {})
