"""Official checkpoints, tensor by tensor.

Every tensor of LD-ZNet's Lightning checkpoint and of Stable Diffusion's single-file checkpoints is used, set aside for a stated reason, or
reported. Nothing is loaded with `strict=False`, behind which the authors' code loads a wrong file without a word.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ldznet_bench.errors import WeightsError
from ldznet_bench.models.official_names import (
    ema_name,
    official_text_name,
    official_unet_namer,
    official_vae_name,
)
from ldznet_bench.models.safe_checkpoint import Checkpoint
from ldznet_bench.models.sd import SDConfig, build_text_encoder, build_unet, build_vae, noise_schedule
from ldznet_bench.models.segunet import SegmentationUNet, SegUNetConfig
from ldznet_bench.models.weights import listed

LdmWeights = Literal["non-ema", "ema"]
SegmenterWeights = Literal["ema", "raw"]

_BUFFERS = (
    *("betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod"),
    *("log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance"),
    *("posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2", "lvlb_weights", "logvar"),
)
_LDM = "sd_features_stage_model.model."
_UNET = "model.diffusion_model."
_SCHEDULE_REASON = "schedule, computed here"
_RECOMPUTED = {
    **{prefix + name: _SCHEDULE_REASON for prefix in ("", _LDM) for name in _BUFFERS},
    "model_ema.decay": "EMA bookkeeping",
    "model_ema.num_updates": "EMA bookkeeping",
    "cond_stage_model.transformer.text_model.embeddings.position_ids": "0..76, computed here",
}


@dataclass(frozen=True)
class Architecture:
    """What a checkpoint's tensors should be: full size unless told otherwise."""

    sd: SDConfig = field(default_factory=SDConfig)
    segmenter: SegUNetConfig = field(default_factory=SegUNetConfig)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"sd": self.sd.to_json(), "segmenter": self.segmenter.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Architecture:
        """From `to_json`'s form.

        Raises:
            WeightsError: something else.
        """
        if not isinstance(values, Mapping) or set(values) != {"sd", "segmenter"}:
            raise WeightsError("this is no architecture.", 'Expected {"sd": {...}, "segmenter": {...}}.')
        return cls(SDConfig.from_json(values["sd"]), SegUNetConfig.from_json(values["segmenter"]))


@dataclass(frozen=True)
class Report:
    """Where every tensor of a checkpoint went.

    Attributes:
        kind: ``ldznet`` or ``stable-diffusion``.
        used: part to number of tensors that were taken.
        labels: part to which of its weights were taken: ``ema``, ``raw``, ``non-ema``, ``unlabelled``.
        set_aside: reason to names that were left, rightly.
        unmatched: (name, shape) in the file that nothing knows.
        missing: (part/name, shape) of ours that the file lacks, in parts that it has.
        misshapen: (name, shape in the file, our shape).
        absent: parts of which the file has nothing.
    """

    kind: str
    used: Mapping[str, int]
    labels: Mapping[str, str]
    set_aside: Mapping[str, tuple[str, ...]]
    unmatched: tuple[tuple[str, tuple[int, ...]], ...]
    missing: tuple[tuple[str, tuple[int, ...]], ...]
    misshapen: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    absent: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """True where nothing is unmatched, missing or of another shape."""
        return not (self.unmatched or self.missing or self.misshapen)

    def problems(self) -> list[str]:
        """One line per tensor that does not fit."""
        return [f"{what}: {tensor}" for what, tensors in self._problems().items() for tensor in tensors]

    def _problems(self) -> dict[str, list[str]]:
        return {
            "only in the file": [f"{name} {list(shape)}" for name, shape in self.unmatched],
            "missing from the file": [f"{name} {list(shape)}" for name, shape in self.missing],
            "of another shape": [f"{name} {list(found)}, expected {list(expected)}" for name, found, expected in self.misshapen],
        }

    def refuse(self, path: Path) -> None:
        """Raise unless complete.

        Raises:
            WeightsError: naming the first tensors of each kind of misfit.
        """
        if not self.complete:
            said = "; ".join(f"{what}: {listed(tensors)}" for what, tensors in self._problems().items() if tensors)
            raise WeightsError(
                f"{path} does not fit ({self.kind}). {said}.",
                "Give a checkpoint of this architecture; `ldznet-bench convert FILE --dry-run` lists every tensor.",
            )

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**dataclasses.asdict(self), "complete": self.complete}


@dataclass(frozen=True)
class Mapped:
    """A checkpoint under our names.

    Attributes:
        parts: part (``segmenter``, ``unet``, ``vae``, ``text_encoder``) to its tensors.
        report: where everything went.
    """

    parts: Mapping[str, Mapping[str, Tensor]]
    report: Report


def meta_shapes(build: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a module's state, without making it."""
    with torch.device("meta"):
        module = build()
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def kind_of(names: Mapping[str, Any], path: Path) -> str:
    """Whose checkpoint these names are.

    Raises:
        WeightsError: nobody's that is known here.
    """
    if any(name.startswith(("model.diffusion_model.final.", "model_ema.diffusion_modelfinal")) for name in names):
        return "ldznet"
    if any(name.startswith(_UNET) for name in names):
        return "stable-diffusion"
    raise WeightsError(
        f"{path} is neither LD-ZNet's checkpoint nor Stable Diffusion's: its tensors are {listed(names)}.",
        "Expected names under model.diffusion_model; for CLIPSeg's files use the clipseg model.",
    )


def map_official(
    checkpoint: Checkpoint,
    architecture: Architecture | None = None,
    ldm: LdmWeights = "non-ema",
    segmenter: SegmenterWeights = "ema",
) -> Mapped:
    """Give every tensor of an official checkpoint its place.

    Args:
        checkpoint: its tensors; they may be on the meta device.
        architecture: what to expect; full size by default.
        ldm: which of Stable Diffusion's two sets of UNet weights to take, where the file has both. The authors' code takes the non-EMA ones.
        segmenter: which of LD-ZNet's; the authors run its EMA. A file with one set gives that one.

    Returns:
        Tensors by part, and the report; call `Report.refuse` before using them.

    Raises:
        WeightsError: the file is of another kind, or was made with another noise schedule.
    """
    architecture = architecture or Architecture()
    kind = kind_of(checkpoint.tensors, checkpoint.path)
    _check_schedule(checkpoint, architecture.sd)
    book = _Book(checkpoint.tensors)
    for part, build, alternatives in _parts(kind, architecture, ldm, segmenter):
        book.take(part, meta_shapes(build), alternatives)
    return Mapped(book.parts, book.close(kind))


Namer = Callable[[str], str]


def _parts(
    kind: str, architecture: Architecture, ldm: LdmWeights, segmenter: SegmenterWeights
) -> Iterator[tuple[str, Callable[[], nn.Module], dict[str, Namer]]]:
    """Each part of a kind of checkpoint: how to build it, and what its tensors are called, best alternative first."""
    sd, seg = architecture.sd, architecture.segmenter
    unet_name = official_unet_namer(sd.unet)
    if kind == "ldznet":
        raw: Namer = lambda name: _UNET + official_segmenter_name(name, seg)  # noqa: E731
        both = {"ema": lambda name: ema_name(raw(name)), "raw": raw}
        yield "segmenter", lambda: SegmentationUNet(seg), _preferred(both, segmenter)
        yield "unet", lambda: build_unet(sd.unet), {"non-ema": lambda name: _LDM + _UNET + unet_name(name)}
    else:
        plain: Namer = lambda name: _UNET + unet_name(name)  # noqa: E731
        yield "unet", lambda: build_unet(sd.unet), _preferred({"non-ema": plain, "ema": lambda name: ema_name(plain(name))}, ldm)
    levels = len(sd.vae["block_out_channels"])
    yield "vae", lambda: build_vae(sd.vae), {"": lambda name: "first_stage_model." + official_vae_name(name, levels)}
    yield "text_encoder", lambda: build_text_encoder(sd.text), {"": lambda name: "cond_stage_model.transformer." + official_text_name(name)}


def official_segmenter_name(name: str, config: SegUNetConfig) -> str:
    """A name in `SegmentationUNet` as the official checkpoint has it behind ``model.diffusion_model.``."""
    return official_unet_namer(config.unet)(name.removeprefix("unet.")) if name.startswith("unet.") else name


def _preferred(alternatives: dict[str, Namer], first: str) -> dict[str, Namer]:
    return {first: alternatives[first], **alternatives}


class _Book:
    """Keeps the account of a checkpoint's tensors."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self.left = dict.fromkeys(tensors)
        self.parts: dict[str, dict[str, Tensor]] = {}
        self.labels: dict[str, str] = {}
        self.absent: list[str] = []
        self.set_aside: dict[str, list[str]] = {}
        self.missing: list[tuple[str, tuple[int, ...]]] = []
        self.misshapen: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = []
        for name in tensors:
            if name in _RECOMPUTED:
                self._aside(_RECOMPUTED[name], name)

    def take(self, part: str, shapes: Mapping[str, tuple[int, ...]], alternatives: Mapping[str, Namer]) -> None:
        """Take a part from the first alternative that is complete, else from the first of which there is anything."""
        named = {label: {ours: namer(ours) for ours in shapes} for label, namer in alternatives.items()}
        found = {label: sum(theirs in self.tensors for theirs in names.values()) for label, names in named.items()}
        whole = [label for label in named if found[label] == len(shapes)]
        some = [label for label in named if found[label]]
        if not some:
            self.absent.append(part)
            return
        chosen = (whole or some)[0]
        # One set of weights under the raw names: sd-v1-4.ckpt holds the EMA ones there, so nobody can tell which they are.
        self.labels[part] = "unlabelled" if chosen == "non-ema" and "ema" in named and "ema" not in some else chosen
        self.parts[part] = dict(self._fitting(part, shapes, named[chosen]))
        for label in some:
            if label != chosen:
                for theirs in named[label].values():
                    if theirs in self.tensors:
                        self._aside(f"{label} weights of {part}: the {chosen} ones are used", theirs)

    def _fitting(self, part: str, shapes: Mapping[str, tuple[int, ...]], names: Mapping[str, str]) -> Iterator[tuple[str, Tensor]]:
        for ours, theirs in names.items():
            if theirs not in self.tensors:
                self.missing.append((f"{part}/{theirs}", shapes[ours]))
                continue
            self.left.pop(theirs, None)
            value = squeezed(self.tensors[theirs], shapes[ours])
            if tuple(value.shape) != shapes[ours]:
                self.misshapen.append((theirs, tuple(value.shape), shapes[ours]))
                continue
            yield ours, value

    def _aside(self, reason: str, name: str) -> None:
        self.set_aside.setdefault(reason, []).append(name)
        self.left.pop(name, None)

    def close(self, kind: str) -> Report:
        """The account."""
        return Report(
            kind=kind,
            used={part: len(values) for part, values in self.parts.items()},
            labels=self.labels,
            set_aside={reason: tuple(names) for reason, names in self.set_aside.items()},
            unmatched=tuple((name, tuple(self.tensors[name].shape)) for name in self.left),
            missing=tuple(self.missing),
            misshapen=tuple(self.misshapen),
            absent=tuple(self.absent),
        )


def squeezed(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The autoencoder's attention is 1x1 convolutions there and linear layers here."""
    return value[:, :, 0, 0] if value.shape == (*shape, 1, 1) else value


def _check_schedule(checkpoint: Checkpoint, config: SDConfig) -> None:
    ours = noise_schedule(config).float()
    for prefix in ("", _LDM):
        theirs = checkpoint.tensors.get(prefix + "alphas_cumprod")
        if theirs is not None and not theirs.is_meta and (theirs.shape != ours.shape or not torch.allclose(theirs.float(), ours, atol=1e-6)):
            raise WeightsError(
                f"{checkpoint.path} was trained with another noise schedule.",
                f"Expected betas from {config.beta_start} to {config.beta_end} in {config.steps} steps, as Stable Diffusion v1 has.",
            )
