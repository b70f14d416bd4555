"""What a training recipe (``baselines/recipes/*.yaml``) may say. `ldznet_bench.cards` reads it strictly into these dataclasses."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from ldznet_bench.cards import read_card
from ldznet_bench.errors import BenchError, unknown_name
from ldznet_bench.share import shared

Network = Literal["autoencoder", "clip", "ldm", "rgbnet", "znet", "ldznet", "clipseg"]
NETWORKS: tuple[Network, ...] = ("autoencoder", "clip", "ldm", "rgbnet", "znet", "ldznet", "clipseg")
SEGMENTERS: tuple[Network, ...] = ("rgbnet", "znet", "ldznet", "clipseg")
_COUNTS = ("steps", "batch_size", "accumulate", "checkpoint_every", "held_out", "images", "validate_limit", "validate_every")
# Keys, what their values must satisfy where they are not null, and that in words.
_BOUNDS: tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...] = (
    (_COUNTS, lambda value: value >= 1, "at least 1"),
    (("learning_rate", "clip_norm"), lambda value: 0 < value < math.inf, "above 0, and finite"),
    (("warmup", "weight_decay", "kl_weight", "embeddings"), lambda value: 0 <= value < math.inf, "0 or more, and finite"),
    (("ema",), lambda value: 0 <= value < 1, "in [0, 1)"),
)


@dataclass(frozen=True, slots=True)
class TrainRecipe:
    """Everything that decides a training's weights, but for the seed and the frozen weights that it starts from.

    Attributes:
        name: of the recipe, also the file's; ``mini-znet``.
        network: what is trained.
        variant: ``mini`` or ``full``: which of the model's sizes.
        summary: in a sentence.
        data: a labelled split (``minicut-photo:train``) for segmenters, a caption stream (``minicut-captions``) for the others.
        steps: of the optimiser.
        batch_size: samples per step, over all processes and accumulated micro-batches.
        learning_rate: at its highest.
        source: where the recipe comes from.
        warmup: steps of linear warm-up.
        schedule: what follows it: ``constant``, or ``cosine`` down to a hundredth.
        weight_decay: AdamW's.
        betas: AdamW's.
        clip_norm: largest norm of the gradient; None leaves it.
        ema: decay of the weights' moving average, which is what is validated and published; None keeps the raw weights. The decay rises as
            (1 + step) / (10 + step) up to it.
        accumulate: micro-batches per step and process.
        gradient_checkpointing: recompute activations in the backward pass.
        precision: ``fp32``, ``bf16`` or ``fp16`` (mixed; weights and optimiser stay in float32).
        channels_last: memory layout of convolutions.
        images: of a caption stream, how many different ones; None takes a new one for every sample.
        held_out: how many held-out captions the networks that are no segmenters are validated on.
        validate_on: labelled split that a segmenter is validated on; None for the other networks, which keep held-out captions.
        validate_limit: how many of its samples; None takes all.
        validate_every: steps between validations; the last step is always validated.
        checkpoint_every: steps between checkpoints.
        start: ``ldm`` (Stable Diffusion's weights, as the paper), or ``scratch``.
        head: how the head of one channel begins: as PyTorch begins layers (``plain``, as the authors), or as an ``upsampler`` whose last bias is
            -2, since most pixels are background.
        ldm: whose features LD-ZNet reads: the ``trained`` diffusion model's, or as controls those of one with ``random`` weights, or of one
            whose weights are all ``zero`` and so are its features (a ZNet with LD-ZNet's parameters).
        phrases: ``given``, or ``blank`` (a control: a network that cannot read).
        templates: draw one of the authors' nine prompt templates per sample, or take the first.
        crop: share of the image's shorter side that square crops take, lowest and highest.
        embeddings: standard deviation that CLIP's token embeddings begin with (its place embeddings with half); None keeps transformers' 0.02.
        recentre: bring the text vectors that CLIPSeg's decoder is conditioned on to mean 0 and deviation 1 first, by the text encoder's last norm.
        kl_weight: of the autoencoder's Kullback-Leibler term, per latent value.
        model: sizes; keys as the network's config has them.
    """

    name: str
    network: Network
    variant: str
    summary: str
    data: str
    steps: int
    batch_size: int
    learning_rate: float
    source: str = ""
    warmup: int = 0
    schedule: Literal["constant", "cosine"] = "constant"
    weight_decay: float = 0.01
    betas: tuple[float, ...] = (0.9, 0.999)
    clip_norm: float | None = None
    ema: float | None = None
    accumulate: int = 1
    gradient_checkpointing: bool = False
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = False
    images: int | None = None
    held_out: int = 64
    validate_on: str | None = None
    validate_limit: int | None = None
    validate_every: int | None = None
    checkpoint_every: int = 500
    start: Literal["ldm", "scratch"] = "ldm"
    head: Literal["plain", "upsampler"] = "plain"
    ldm: Literal["trained", "random", "zero"] = "trained"
    phrases: Literal["given", "blank"] = "given"
    templates: bool = True
    crop: tuple[float, ...] = (1.0, 1.0)
    embeddings: float | None = None
    recentre: bool = False
    kl_weight: float = 1e-6
    model: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for keys, fits, wanted in _BOUNDS:
            for key in keys:
                value = getattr(self, key)
                if value is not None and not fits(value):
                    raise ValueError(f"{key} is {value}, it must be {wanted}")
        if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", self.name):
            raise ValueError(f"name is {self.name!r}, it names a folder: letters, digits, and . _ + - after the first")
        if len(self.crop) != 2 or not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise ValueError(f"crop is {list(self.crop)}, it must be two shares in (0, 1], the lower one first")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas is {list(self.betas)}, it must be two numbers in [0, 1)")
        if self.network in SEGMENTERS and ":" not in self.data:
            raise ValueError(f"data is {self.data!r}, {self.network} is trained on a labelled split, such as minicut-photo:train")

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return dataclasses.asdict(self)


# What a recipe says by saying nothing.
DEFAULTS: dict[str, Any] = {each.name: each.default for each in dataclasses.fields(TrainRecipe) if each.default is not dataclasses.MISSING}


@dataclass(frozen=True, slots=True)
class Suite:
    """Several recipes that build on one another, in order.

    Attributes:
        name: also the file's.
        summary: in a sentence.
        recipes: names, in the order in which they are trained.
        bundled: those whose weights the package carries.
    """

    name: str
    summary: str
    recipes: tuple[str, ...]
    bundled: tuple[str, ...] = ()


def recipe_folder() -> Path:
    """The folder of the recipes that come with the package."""
    return shared("baselines") / "recipes"


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package, sorted."""
    return sorted(path.stem for path in recipe_folder().glob("*.yaml"))


def suite_names() -> list[str]:
    """Names of the suites that come with the package, sorted."""
    return sorted(path.stem for path in (recipe_folder() / "suites").glob("*.yaml"))


def load_recipe(name: str, changes: dict[str, str] | None = None) -> TrainRecipe:
    """A recipe by name or path, with single keys changed.

    Args:
        name: of a recipe that comes with the package, or the path of a YAML file.
        changes: key to value as YAML (``steps`` to ``200``); a key of `model` is written ``model.key``, one within it ``model.key.key``.

    Raises:
        BenchError: unknown recipe or key (the nearest is named), or a value that does not fit.
    """
    path = Path(name)
    if not path.is_file():
        if name not in recipe_names():
            raise unknown_name("recipe", name, [*recipe_names(), *suite_names()])
        path = recipe_folder() / f"{name}.yaml"
    recipe = read_card(path, TrainRecipe)
    return changed(recipe, changes) if changes else recipe


def changed(recipe: TrainRecipe, changes: dict[str, str]) -> TrainRecipe:
    """A recipe with keys changed from the command line; its name stays, and the folder of a training refuses another recipe of that name.

    Raises:
        BenchError: unknown key, or a value of the wrong kind.
    """
    values = recipe.to_json()
    known = {field.name for field in dataclasses.fields(TrainRecipe)}
    for key, text in changes.items():
        top, _, rest = key.partition(".")
        if top not in known or (rest and top != "model"):
            raise unknown_name("recipe key", key, sorted(known))
        value = _yaml(key, text)
        if rest:
            _put(values["model"], key, rest, value)
        else:
            values[top] = value
    return _checked(values)


def _put(model: dict[str, Any], key: str, path: str, value: Any) -> None:  # noqa: ANN401 - any YAML value
    *within, last = path.split(".")
    for name in within:
        model = model.setdefault(name, {})
        if not isinstance(model, dict):
            raise BenchError(f"--set {key}: {name} has no keys of its own.", f"Write --set model.{name}=VALUE.")
    model[last] = value


def shortened(recipe: TrainRecipe) -> TrainRecipe:
    """The recipe's smoke test: the same training in a tenth of its steps (twenty at least), under a name of its own."""
    steps = min(recipe.steps, max(20, recipe.steps // 10))
    return dataclasses.replace(
        recipe,
        name=f"{recipe.name}-smoke",
        steps=steps,
        warmup=min(recipe.warmup, steps // 4),
        validate_every=None,
        checkpoint_every=min(recipe.checkpoint_every, max(1, steps // 4)),
        images=None if recipe.images is None else min(recipe.images, steps * recipe.batch_size),
    )


def _yaml(key: str, text: str) -> Any:  # noqa: ANN401 - any YAML value
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BenchError(f"--set {key}={text!r} is not YAML.", "Write --set steps=200 or --set 'crop=[0.8, 1.0]'.") from error
    return float(text) if isinstance(value, str) and _is_number(text) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _checked(values: dict[str, Any]) -> TrainRecipe:
    """Through the card reader, so that kinds are checked by the same rules as in a file."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(yaml.safe_dump(_plain(values)), encoding="utf-8")
        try:
            return read_card(path, TrainRecipe)
        except BenchError as error:
            raise BenchError(f"--set: {str(error).split(': ', 1)[-1]}") from error


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def load_suite(name: str) -> Suite:
    """A suite by name.

    Raises:
        BenchError: unknown.
    """
    if name not in suite_names():
        raise unknown_name("suite", name, suite_names())
    return read_card(recipe_folder() / "suites" / f"{name}.yaml", Suite)
