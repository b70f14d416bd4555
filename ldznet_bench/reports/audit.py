"""Leakage: what the parts of a model were exposed to, and image by image what that is worth."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from ldznet_bench.errors import BenchError, DataError
from ldznet_bench.reports.grid import metric_title
from ldznet_bench.reports.measure import check_rules
from ldznet_bench.reports.runs import Run
from ldznet_bench.statistics.estimators import NEEDS_HISTOGRAMS
from ldznet_bench.statistics.intervals import Interval
from ldznet_bench.statistics.leakage import Leakage, Part, measure_leakage
from ldznet_bench.statistics.samples import read_samples
from ldznet_bench.statistics.slices import COLUMNS, Slices

# Where the images of a dataset come from, and what the sources are known to share: half of Visual Genome is COCO.
_IMAGES = {"phrasecut": "visual-genome", "refcoco": "coco", "refcoco+": "coco", "refcocog": "coco"}
_KINDRED = {"visual-genome": ("visual-genome", "coco"), "coco": ("coco", "visual-genome")}
_IMAGE_LISTS = ("image_data_split3000.json", "image_data_split.json")


class Component(Protocol):
    """What a model card says of one component's training; see `ldznet_bench.models.card.TrainingData`."""

    @property
    def component(self) -> str: ...  # noqa: D102
    @property
    def data(self) -> str: ...  # noqa: D102
    @property
    def images(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def source(self) -> str: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Exposure:
    """What one component was exposed to.

    Attributes:
        component: of the model.
        data: that it was trained on.
        kind: ``the same masks``, ``other phrases' masks``, ``pre-training pixels``, ``none known`` or ``unknown``.
        source: where its training is stated.
    """

    component: str
    data: str
    kind: str
    source: str


@dataclass(frozen=True, slots=True)
class Audit:
    """Of one run.

    Attributes:
        model: full name.
        dataset: expanded name.
        protocol: full name.
        exposures: per component; empty for a model without weights, None where no card says anything.
        leaked_from: what the image-by-image list was made from.
        results: per metric.
        reference: model without that training; None without one.
    """

    model: str
    dataset: str
    protocol: str
    exposures: tuple[Exposure, ...] | None
    leaked_from: str
    results: tuple[Leakage, ...]
    reference: str | None


def exposures(components: Sequence[Component], dataset: str) -> tuple[Exposure, ...]:
    """What each component of a model has seen of a dataset, as far as its card knows.

    Args:
        components: of the card.
        dataset: full name.
    """
    family = re.split("[-:]", dataset, maxsplit=1)[0]
    return tuple(Exposure(item.component, item.data, _kind(item, family), item.source) for item in components)


def training_images(release: Path, split: str = "train") -> frozenset[str]:
    """Images of a PhraseCut split, as ids for the slice ``leaked``: Visual Genome's own, and ``coco:ID`` where the release knows one.

    Args:
        release: folder of a PhraseCut release, or its image list.
        split: of PhraseCut.

    Raises:
        DataError: no image list there, or one of another form.
    """
    file = release
    if release.is_dir():
        places = [folder / name for folder in (release, release / "VGPhraseCut_v0", release / "data" / "VGPhraseCut_v0") for name in _IMAGE_LISTS]
        found = [place for place in places if place.is_file()]
        if not found:
            raise DataError(f"{release} holds no {' or '.join(_IMAGE_LISTS)}.", "Name a PhraseCut release with --phrasecut, or the file itself.")
        file = found[0]
    try:
        entries = json.loads(file.read_bytes())
        chosen = [entry for entry in entries if entry["split"] == split]
        ids = {str(entry["image_id"]) for entry in chosen} | {f"coco:{entry['coco_id']}" for entry in chosen if entry.get("coco_id")}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{file} is not PhraseCut's image list ({type(error).__name__}: {error}).", "It is a list with image_id, coco_id, split."
        ) from error
    if not ids:
        raise DataError(
            f"{file} lists no image of the split {split!r}.", "Name the whole release: the image list of test alone says nothing about training."
        )
    return frozenset(ids)


def audit(
    run: Run,
    components: Sequence[Component] | None,
    leaked: frozenset[str],
    leaked_from: str,
    *,
    metrics: Sequence[str] = (),
    reference: Run | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Audit:
    """Scores on leaked and clean images, with what the card knows.

    Args:
        run: of the model.
        components: of its card; empty for a model without weights, None where no card says anything.
        leaked: ids of `training_images`, or of a file.
        leaked_from: in words, where the ids are from.
        metrics: to be measured; none takes the first of the protocol.
        reference: a run of a model that was not trained on those images.
        resamples: draws.
        seed: of the draws.

    Raises:
        BenchError: runs of different columns, or metrics that the protocol has not.
    """
    rules = check_rules(run)
    names = list(metrics) or [next(name for name in rules.metrics if not name.endswith("_best"))]
    for name in names:
        if name not in rules.metrics:
            raise BenchError(f"{rules.full_name} has no metric {name!r}.", "It has " + ", ".join(rules.metrics) + ".")
    if reference is not None and (reference.summary["fingerprint"], reference.protocol) != (run.summary["fingerprint"], run.protocol):
        raise BenchError(f"{reference.path} is of other data or another protocol than {run.path}.", "Name a reference run of the same column.")
    histograms: Any = "coarse" if set(names) & NEEDS_HISTOGRAMS else "none"
    samples = read_samples(run.path, histograms=histograms, columns=COLUMNS)
    other = None if reference is None else read_samples(reference.path, histograms=histograms)
    rows = Slices(samples.table, leaked).name("leaked")
    results = tuple(measure_leakage(samples, rows, name, rules, other, n_resamples=resamples, seed=seed) for name in names)
    known = None if components is None else exposures(components, run.dataset)
    return Audit(run.model, run.dataset, run.protocol, known, leaked_from, results, None if reference is None else reference.model)


def to_json(found: Audit) -> dict[str, Any]:
    """Plain values, scores in [0, 1]."""
    return asdict(found)


def to_text(found: Audit) -> str:
    """For people."""
    lines = [f"{found.model} on {found.dataset} under {found.protocol}", "", "Exposure of its components, by its card:"]
    lines += [f"  {item.component}: {item.kind} ({item.data}; {item.source})" for item in found.exposures or ()]
    if found.exposures is None:
        lines.append("  unknown: the model has no card that states its training data; unknown is not clean")
    elif not found.exposures:
        lines.append("  none: it has no weights")
    lines += ["", f"Image by image, leaked = {found.leaked_from}:"]
    for item in found.results:
        lines.append(f"  {metric_title(item.metric)}: all {_part(item.all)}; clean {_part(item.clean)}; leaked {_part(item.leaked)}")
        if item.gap is None:
            lines.append("    no gap: one of the two parts is empty")
            continue
        lines.append(f"    leaked - clean {100 * item.gap:+.2f}{_ends(item.gap_interval)}")
        if item.excess is not None and item.reference_gap is not None:
            p = "" if item.excess_p is None else f", p = {item.excess_p:.2g}"
            excess = f"difference in differences {100 * item.excess:+.2f}{_ends(item.excess_interval)}{p}"
            lines.append(f"    {found.reference}: {100 * item.reference_gap:+.2f}; {excess}")
        else:
            lines.append("    leaked images differ in kind as well: name a model that was not trained on them with --reference")
    return "\n".join(lines) + "\n"


def _kind(item: Component, family: str) -> str:
    data = item.data.lower()
    if family in ("refcoco", "refcoco+", "refcocog") and "refcoco" in data.replace("phrasecut", ""):
        return "the same masks"
    if family == "phrasecut" and "phrasecut" in data:
        return "the same dataset's train split"
    source = _IMAGES.get(family)
    if source is None or not item.images:
        return "unknown"
    if set(item.images) & set(_KINDRED[source]):
        return "other phrases' masks" if any(name in data for name in ("phrasecut", "refcoco", "mask")) else "pre-training pixels"
    return "none known"


def _part(part: Part) -> str:
    score = "n/a" if part.score is None else f"{100 * part.score:.2f}{_ends(part.interval)}"
    return f"{score} ({part.n_samples} samples, {part.n_images} images)"


def _ends(found: Interval) -> str:
    return "" if found.low is None or found.high is None else f" [{100 * found.low:.2f}, {100 * found.high:.2f}]"
