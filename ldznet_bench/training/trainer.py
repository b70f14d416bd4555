"""The one training loop.

A step is a function of the seed, the step's number and the weights, so a training that was interrupted anywhere and continued ends in the same
bits as one that was not (at equal device, threads and number of processes).
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ldznet_bench.errors import BenchError
from ldznet_bench.training.checkpoints import Checkpoints, State
from ldznet_bench.training.draws import positions
from ldznet_bench.training.objective import Objective
from ldznet_bench.training.recipe import TrainRecipe

_SECONDS_BETWEEN_LOGS = 5.0
_SCALER = "scaler of fp16."  # what its state is called among the optimiser's


class Watcher(Protocol):
    """Is told how a training gets on."""

    def step(self, done: int, total: int, loss: float, rate: float, left: float) -> None:
        """Every few seconds: steps done, of how many, mean loss since the last time, samples per second, seconds left."""

    def validated(self, step: int, figures: Mapping[str, float], best: bool) -> None:
        """After each validation."""


@dataclass
class Trainer:
    """A training, from where it stands to its end.

    Attributes:
        objective: network, batches and loss.
        checkpoints: where its states are kept.
        accelerator: device, processes and mixed precision.
        watcher: is told how it gets on.
        made_from: for the manifest of what is published.
    """

    objective: Objective
    checkpoints: Checkpoints
    accelerator: Accelerator
    watcher: Watcher
    made_from: Mapping[str, Any]

    def __post_init__(self) -> None:
        recipe = self.recipe
        self.trained = {name: value for name, value in self.objective.network.named_parameters() if value.requires_grad}
        self.optimiser = torch.optim.AdamW(
            self.trained.values(), lr=recipe.learning_rate, betas=(recipe.betas[0], recipe.betas[1]), weight_decay=recipe.weight_decay, foreach=False
        )
        self.average = {name: value.detach().clone() for name, value in self.trained.items()} if recipe.ema is not None else {}
        self.step = 0
        self.best: tuple[float, int] | None = None
        self._wrapped: Any = None

    @property
    def recipe(self) -> TrainRecipe:
        """The objective's recipe."""
        return self.objective.recipe

    def run(self) -> Path:
        """Train to the last step and publish.

        Returns:
            The published folder.

        Raises:
            BenchError: the loss is no number; the last good state is kept. Or another process trains in the same folder.
        """
        with self.checkpoints.held() if self.accelerator.is_main_process else contextlib.nullcontext():
            return self._train()

    def _train(self) -> Path:
        if self.accelerator.is_main_process:
            self.checkpoints.begin()
        self.accelerator.wait_for_everyone()
        if self.checkpoints.final.is_dir():
            return self.checkpoints.final
        self._resume()
        self.average = {name: value.to(self.accelerator.device) for name, value in self.average.items()}
        self._wrapped = self.accelerator.prepare_model(self.objective)
        self.objective.train()
        self._loop()
        return self._publish()

    def _resume(self) -> None:
        state = self.checkpoints.load()
        if state is None:
            return
        _load(self.trained, state.network)
        _load(self.average, state.average)
        self.optimiser.load_state_dict(_optimiser_state(self.optimiser, self.trained, state.optimiser))
        self.step, self.best = state.step, state.best
        scaling = {key.removeprefix(_SCALER): value.item() for key, value in state.optimiser.items() if key.startswith(_SCALER)}
        if self.accelerator.scaler is not None and scaling:
            self.accelerator.scaler.load_state_dict(scaling)

    def _loop(self) -> None:
        recipe = self.recipe
        losses: list[float] = []
        began, first = time.monotonic(), self.step
        while self.step < recipe.steps:
            losses.append(self._one_step())
            self.step += 1
            now = time.monotonic()
            if now - began > _SECONDS_BETWEEN_LOGS or self.step == recipe.steps:
                rate = (self.step - first) * recipe.batch_size / (now - began)
                self._log({"step": self.step, "loss": sum(losses) / len(losses), "samples_per_s": float(f"{rate:.4g}")})
                left = (recipe.steps - self.step) * recipe.batch_size / rate
                self.watcher.step(self.step, recipe.steps, sum(losses) / len(losses), rate, left)
                losses, began, first = [], now, self.step
            if self._due():
                began += self._keep()

    def _due(self) -> bool:
        every = [self.recipe.checkpoint_every, *([self.recipe.validate_every] if self.recipe.validate_every else [])]
        return self.step == self.recipe.steps or any(self.step % n == 0 for n in every)

    def _one_step(self) -> float:
        recipe, accelerator = self.recipe, self.accelerator
        rate = learning_rate(recipe, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        total = 0.0
        for part in range(recipe.accumulate):
            places = positions(self.step, recipe.batch_size, accelerator.process_index, accelerator.num_processes, part, recipe.accumulate)
            batch = tuple(value.to(accelerator.device) for value in self.objective.draw(places))
            last = part == recipe.accumulate - 1
            with contextlib.nullcontext() if last else accelerator.no_sync(self._wrapped), accelerator.autocast():
                loss = self._wrapped(*batch) / recipe.accumulate
            accelerator.backward(loss)
            total += float(loss.detach())
        if not math.isfinite(total):
            self._stop_at_nan()
        self._update()
        self.optimiser.zero_grad()
        self._follow()
        return total

    def _update(self) -> None:
        """One step of the optimiser; in fp16 gradients were scaled, and a step in which they overflowed is left out."""
        scaler = self.accelerator.scaler
        if scaler is not None:
            scaler.unscale_(self.optimiser)
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(list(self.trained.values()), self.recipe.clip_norm)
        if scaler is None:
            self.optimiser.step()
        else:
            scaler.step(self.optimiser)
            scaler.update()

    def _stop_at_nan(self) -> None:
        kept = self.checkpoints.load()
        where = "Nothing was saved yet" if kept is None else f"The state of step {kept.step} is kept in {self.checkpoints.folder}"
        raise BenchError(
            f"{self.recipe.name}: the loss of step {self.step + 1} is not a number.",
            f"{where}. Try a lower learning_rate, a clip_norm, or --set precision=fp32.",
        )

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards the weights."""
        if self.recipe.ema is None:
            return
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.average.items():
            value.lerp_(self.trained[name].detach(), 1 - decay)

    def _keep(self) -> float:
        """Validate where it is time to, and save; returns the seconds that it took, which are no part of the rate."""
        began = time.monotonic()
        if self.accelerator.is_main_process:
            recipe = self.recipe
            best = False
            if self.step == recipe.steps or (recipe.validate_every and self.step % recipe.validate_every == 0):
                best = self._validate()
            self.checkpoints.save(State(self.step, _plain(self.trained), _plain(self.average), self._moments(), self.best), best=best)
        self.accelerator.wait_for_everyone()
        return time.monotonic() - began

    def _validate(self) -> bool:
        with self._published_weights():
            figures = self.objective.validate()
        if not figures:
            return False
        value = next(iter(figures.values()))
        best = self.best is None or value > self.best[0]
        if best:
            self.best = (value, self.step)
        self._log({"step": self.step, "validation": figures})
        self.watcher.validated(self.step, figures, best)
        return best

    @contextlib.contextmanager
    def _published_weights(self) -> Iterator[None]:
        """The network under its moving average and in evaluation mode, for the block."""
        raw = {name: value.detach().clone() for name, value in self.trained.items()} if self.average else {}
        _load(self.trained, self.average)
        self.objective.eval()
        try:
            yield
        finally:
            _load(self.trained, raw)
            self.objective.train()

    def _moments(self) -> dict[str, Tensor]:
        moments = {
            f"{name}.{key}": torch.as_tensor(value)
            for name, parameter in self.trained.items()
            for key, value in self.optimiser.state.get(parameter, {}).items()
        }
        scaler = self.accelerator.scaler
        return moments if scaler is None else moments | {_SCALER + key: torch.tensor(value) for key, value in scaler.state_dict().items()}

    def _publish(self) -> Path:
        if self.accelerator.is_main_process:
            aside = self.checkpoints.folder / ".publishing"  # some objectives write in several goes: final/ is there when all are done
            shutil.rmtree(aside, ignore_errors=True)
            with self._published_weights():
                self.objective.publish(aside, {**self.made_from, "step": self.step})
            aside.rename(self.checkpoints.final)
        self.accelerator.wait_for_everyone()
        return self.checkpoints.final

    def _log(self, line: Mapping[str, Any]) -> None:
        if self.accelerator.is_main_process:
            with self.checkpoints.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def learning_rate(recipe: TrainRecipe, step: int) -> float:
    """The rate of a step, from 0: linear warm-up, then constant or a cosine down to a hundredth at the last step."""
    if step < recipe.warmup:
        return recipe.learning_rate * (step + 1) / recipe.warmup
    if recipe.schedule == "constant":
        return recipe.learning_rate
    done = (step - recipe.warmup) / max(1, recipe.steps - 1 - recipe.warmup)
    return recipe.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


@torch.no_grad()
def _load(parameters: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, value in values.items():
        parameters[name].copy_(value)


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in tensors.items()}


def _optimiser_state(optimiser: torch.optim.Optimizer, trained: Mapping[str, Tensor], moments: Mapping[str, Tensor]) -> dict[str, Any]:
    state: dict[int, dict[str, Tensor]] = {}
    for index, name in enumerate(trained):
        keys = ("step", "exp_avg", "exp_avg_sq")
        if f"{name}.exp_avg" in moments:
            state[index] = {key: moments[f"{name}.{key}"] for key in keys}
    return {"state": state, "param_groups": optimiser.state_dict()["param_groups"]}
