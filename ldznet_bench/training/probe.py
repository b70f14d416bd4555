"""Probes: how well a small decoder segments from one block's features of the frozen diffusion model, at one timestep (the paper's figure 4).

One pass of the diffusion model serves the decoders of all its blocks; they share batches, timestep and noise, and nothing else, so that which blocks
are probed together changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ldznet_bench.datasets.load import load_dataset
from ldznet_bench.datasets.sample import ImageFile, Sample
from ldznet_bench.errors import BenchError, WeightsError, unknown_name
from ldznet_bench.evaluation.counting import count, make_records
from ldznet_bench.evaluation.images import open_rgb
from ldznet_bench.evaluation.seeds import seed_of
from ldznet_bench.evaluation.selection import select
from ldznet_bench.evaluation.targets import make_target
from ldznet_bench.metrics.scores import Accumulator, Columns
from ldznet_bench.models.devices import inference, pick_device
from ldznet_bench.models.diffusion import DiffusionSegmenter, Recipe, moved
from ldznet_bench.models.diffusion_parts import load_frozen
from ldznet_bench.models.sd import (
    FeatureTaps,
    block_names,
    build_unet,
    encode_moments,
    noise_schedule,
    scaled_latents,
    text_hidden,
    transformer_names,
)
from ldznet_bench.models.segmenter import ImageInput, Pair
from ldznet_bench.models.weight_folders import Part, fill, open_bundle
from ldznet_bench.protocols import get_protocol
from ldznet_bench.training.draws import draw_seed, positions, torch_generator
from ldznet_bench.training.labelled import LabelledPairs
from ldznet_bench.training.objective import seeded
from ldznet_bench.training.probe_decoder import ProbeDecoder
from ldznet_bench.training.stand_in import stand_in
from ldznet_bench.training.start import installed_versions, weight_hashes
from ldznet_bench.training.tokenizer import padded_ids

if TYPE_CHECKING:
    from ldznet_bench.datasets.store import PreparedDataset
    from ldznet_bench.evaluation.loop import Progress

Ldm = Literal["trained", "random"]
RULES = "native@1"
_LARGEST = 384  # pixels, the paper's; a miniature's own size is smaller
_BATCH = 8  # samples per pass on val


@dataclass(frozen=True)
class ProbeRecipe:
    """How every probe is trained and scored.

    Attributes:
        train: a labelled train split.
        val: what is scored, under native@1.
        limit: samples of it.
        steps: of AdamW.
        batch_size: samples per step.
        learning_rate: at its highest; it rises over a tenth of the steps and falls as a cosine to 0.
        seed: of initial weights, batches and noise.
    """

    train: str = "minicut-photo:train"
    val: str = "minicut-photo:val"
    limit: int = 150
    steps: int = 300
    batch_size: int = 16
    learning_rate: float = 4e-3
    seed: int = 0


@dataclass(frozen=True)
class ProbeOrder:
    """What a command asks for.

    Attributes:
        recipe: how.
        ldms: which diffusion models are probed.
        timesteps: at which.
        blocks: names; empty takes every block, or with `gate` every transformer, which is what LD-ZNet can tap.
        gate: compare the trained one with the random one.
        weights: folders that hold the diffusion model, text encoder and autoencoder, best first.
        output: folder of ``probe.json``.
        home: prepared datasets.
        data_root: a dataset release.
        device: ``cpu`` or ``cuda``.
    """

    recipe: ProbeRecipe
    ldms: tuple[Ldm, ...]
    timesteps: tuple[int, ...]
    blocks: tuple[str, ...]
    gate: bool
    weights: tuple[Path, ...]
    output: Path
    home: Path
    data_root: Path | None = None
    device: str = "cpu"


class _Features(DiffusionSegmenter):
    """Images, prompts and noise as the deterministic recipe makes them; its passes give features at a timestep of ours."""

    reads_features = True
    at = 0

    def timestep(self, seed: int) -> int:
        """The probed one."""
        return self.at

    def features(self, pairs: Sequence[Pair]) -> tuple[list[Tensor], Tensor]:
        """Features of every tap, and the text."""
        text = torch.stack([pair.text for pair in pairs])
        return self._features(pairs, torch.stack([pair.image.source for pair in pairs]), text), text


class Prober:
    """The frozen networks and the data; trains and scores the decoders of one timestep.

    Raises:
        BenchError: an unknown block or timestep, weights or data that are missing, data that is not for training.
    """

    def __init__(self, order: ProbeOrder) -> None:
        self.order, recipe = order, order.recipe
        part, schedule = _unet(order.weights)
        self.blocks = _blocks(order, part.config)
        self.device = pick_device(order.device)
        bundles = [open_bundle(path) for path in order.weights]
        self.frozen = load_frozen("probe", bundles, taps=(), vae=True, ldm=None, home=order.home, device=self.device, dtype=torch.float32).diffusion
        self.frozen.schedule = noise_schedule(type(self.frozen.config)(**{**vars(self.frozen.config), **schedule}))
        self.size = min(_LARGEST, int(part.config["sample_size"]) * self.frozen.config.downsample)
        steps = len(self.frozen.schedule)
        for timestep in order.timesteps:
            if not 0 <= timestep < steps:
                raise BenchError(f"--timesteps: {timestep} is none of the diffusion model's timesteps.", f"They are 0 to {steps - 1}.")
        self.taps: dict[Ldm, FeatureTaps] = {ldm: self._tapped(ldm, part) for ldm in order.ldms}
        self.train_set, self.val_set = (load_dataset(name, data_root=order.data_root, home=order.home) for name in (recipe.train, recipe.val))
        if self.val_set.fingerprint == self.train_set.fingerprint:
            raise BenchError(f"--val is {recipe.val}, which is trained on.", "Give the val split.")
        if (self.val_set.split or "").startswith("test"):
            raise BenchError(f"--val is {recipe.val}, a test split.", "Probes are looked at before claims are made: score them on val.")
        self.pairs = LabelledPairs(self.train_set, self.size, recipe.seed)

    def _tapped(self, ldm: Ldm, part: Part) -> FeatureTaps:
        unet = (
            stand_in(part.config, self.order.recipe.seed)
            if ldm == "random"
            else fill(lambda: build_unet(part.config), part, "the UNet of its config")
        )
        taps: FeatureTaps = moved(FeatureTaps(unet.requires_grad_(False).eval(), self.blocks, keep_rest=True), self.device, torch.float32)
        return taps

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for results to stand beside one another; blocks, timesteps and diffusion models do not."""
        return {
            "recipe": asdict(self.order.recipe),
            "image_size": self.size,
            "train": self.train_set.fingerprint,
            "val": self.val_set.fingerprint,
            "weights": weight_hashes(self.order.weights),
            "device": self.device.type,
            "versions": installed_versions(),
        }

    def work(self) -> int:
        """Samples of one timestep, for progress."""
        return (self.order.recipe.steps * self.order.recipe.batch_size + min(self.order.recipe.limit, self.val_set.n_samples)) * len(self.taps)

    def probe(self, timestep: int, progress: Progress) -> dict[Ldm, dict[str, dict[str, float]]]:
        """Train and score every block of every diffusion model at a timestep.

        Returns:
            Diffusion model -> block -> ``ap`` and ``miou``, in [0, 1].

        Raises:
            BenchError: a loss is no number.
        """
        decoders = self._train(timestep, progress)
        return {ldm: self._score(ldm, its, timestep, progress) for ldm, its in decoders.items()}

    def _decoders(self) -> dict[str, ProbeDecoder]:
        """One per block; its first weights depend on the seed and the block's name alone."""
        text, seed = int(self.frozen.config.text["hidden_size"]), self.order.recipe.seed
        widths = _widths(next(iter(self.taps.values())), self.blocks)
        build = {block: partial(ProbeDecoder, widths[block], text) for block in self.blocks}
        return {block: seeded(draw_seed(seed, f"probe {block}"), build[block]).to(self.device) for block in self.blocks}

    def _train(self, timestep: int, progress: Progress) -> dict[Ldm, dict[str, ProbeDecoder]]:
        recipe = self.order.recipe
        decoders = {ldm: self._decoders() for ldm in self.taps}
        trained = [value for its in decoders.values() for decoder in its.values() for value in decoder.parameters()]
        optimiser = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=0.01, foreach=False)
        for step in range(recipe.steps):
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate * _rate(step, recipe.steps)
            places = positions(step, recipe.batch_size, 0, 1, 0, 1)
            noisy, text, masks, noise = self._batch(places)
            for ldm, its in decoders.items():
                with torch.no_grad():
                    self.frozen.ldm = self.taps[ldm]
                    features = self.frozen.features(noisy, noise, torch.full((len(places),), timestep), text)
                losses = [_loss(its[block](feature, text, noisy.shape[-2:]), masks) for block, feature in zip(self.blocks, features, strict=True)]
                _refuse_nan(losses, self.blocks, f"{ldm} diffusion model, timestep {timestep}, step {step + 1}")
                torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
                progress.update(len(places))
            optimiser.step()
            optimiser.zero_grad()
        return decoders

    def _batch(self, places: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Latents, hidden states, masks and noise, drawn as the segmentation networks' trainings draw them."""
        pixels, masks, prompts = self.pairs.batch(places)
        ids = padded_ids(self.frozen.tokenizer, prompts, self.frozen.max_tokens)
        draws = [torch_generator(self.order.recipe.seed, "diffusion", place) for place in places]
        shape = self.frozen.latent_shape(pixels)[1:]
        sampled, noise = (torch.stack([torch.randn(shape, generator=draw) for draw in draws]).to(self.device) for _ in range(2))
        with torch.no_grad():
            text = text_hidden(self.frozen.text_encoder, ids.to(self.device))
            moments = encode_moments(self.frozen.vae, pixels.to(self.device))
            latents = scaled_latents(moments, sampled, float(self.frozen.config.vae["scaling_factor"]))
        return latents, text, masks.to(self.device), noise

    def _score(self, ldm: Ldm, decoders: Mapping[str, ProbeDecoder], timestep: int, progress: Progress) -> dict[str, dict[str, float]]:
        rules = get_protocol(RULES)
        self.frozen.ldm = self.taps[ldm]
        source = _Features("probe", self.frozen, Recipe(), image_size=self.size, multiple=1, weights="probe", options={}, micro_batch=_BATCH)
        source.at = timestep
        totals = {block: Accumulator(rules, dense=True) for block in self.blocks}
        for batch in _batches(self.val_set, self.order.recipe.limit):
            pairs = _paired(source, batch, self.val_set.name)
            with inference("probe", _BATCH):
                features, text = source.features(pairs)
                grid = pairs[0].image.source.shape[-2:]
                maps = {block: decoders[block](feature, text, grid)[:, 0].sigmoid() for block, feature in zip(self.blocks, features, strict=True)}
            for block, scores in maps.items():
                counted = [
                    count(sample, image, make_target(sample.geometry, rules), scores[row].cpu(), rules, rules.threshold, seed=pairs[row].seed)
                    for row, (image, sample) in enumerate(batch)
                ]
                totals[block].add(Columns.from_records(make_records(counted, keep_masks=False)))
            progress.update(len(batch))
        return {block: {name: float(total.result()[name] or 0) for name in ("ap", "miou")} for block, total in totals.items()}


def _unet(weights: Sequence[Path]) -> tuple[Part, Mapping[str, Any]]:
    for bundle in map(open_bundle, weights):
        if "unet" in bundle.parts:
            return bundle.parts["unet"], bundle.schedule
    where = ", ".join(map(str, weights)) or "no folder was given"
    raise WeightsError(f"probe needs a diffusion model, and there is none in the weights ({where}).", "Give one: --weights sd=DIR.")


def _blocks(order: ProbeOrder, config: Mapping[str, Any]) -> tuple[str, ...]:
    known = block_names(config)
    for block in order.blocks:
        if block not in known:
            raise unknown_name("block", block, known)
    return order.blocks or (transformer_names(config) if order.gate else known)


def _widths(taps: FeatureTaps, blocks: Sequence[str]) -> dict[str, int]:
    modules: dict[str, Any] = {block: taps.unet.get_submodule(block) for block in blocks}
    return {block: int(module.in_channels if "attentions" in block else module.out_channels) for block, module in modules.items()}


def _rate(step: int, steps: int) -> float:
    warm = max(1, steps // 10)
    return min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * step / steps)))


def _loss(logits: Tensor, masks: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(F.interpolate(logits, masks.shape[-2:], mode="bilinear", align_corners=False), masks)


def _refuse_nan(losses: Sequence[Tensor], blocks: Sequence[str], where: str) -> None:
    for loss, block in zip(losses, blocks, strict=True):
        if not bool(loss.isfinite()):
            raise BenchError(
                f"the probe of {block} has a loss that is no number ({where}).",
                "What was scored before is kept. Check the weights, or try a lower --learning-rate.",
            )


def _batches(dataset: PreparedDataset, limit: int) -> Iterator[list[tuple[ImageFile, Sample]]]:
    chosen = select(dataset.entries(), get_protocol(RULES), family=dataset.family, limit=limit)
    ids = set(chosen.sample_ids)
    items = [(group.image, sample) for group in dataset.groups(chosen.groups) for sample in group.samples if sample.sample_id in ids]
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))


def _paired(source: _Features, batch: Sequence[tuple[ImageFile, Sample]], dataset: str) -> list[Pair]:
    images: dict[str, Any] = {}
    pairs = []
    for image, sample in batch:
        if image.image_id not in images:
            its = ImageInput(image.image_id, image.height, image.width, seed_of(0, dataset, image.image_id), partial(open_rgb, image))
            images[image.image_id] = source.encode_image([its])[0]
        (text,) = source.encode_text([source.prompt(sample.phrase, 0)])
        seed = seed_of(0, dataset, sample.sample_id)
        pairs.append(Pair(sample.sample_id, sample.phrase, image.height, image.width, seed, images[image.image_id], text))
    return pairs
