"""Which samples a reader should see: the worst, the best, and those on which models disagree most; with their pictures as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ldznet_bench.metrics.scores import sample_iou
from ldznet_bench.protocols import get_protocol
from ldznet_bench.reports.pictures import BoolArray, Dataset, fit, picture, predictions
from ldznet_bench.reports.runs import Run
from ldznet_bench.statistics.paired import common_ids, restrict
from ldznet_bench.statistics.samples import Samples, read_batches

KINDS = ("asked for", "worst", "best", "most disputed")


@dataclass(frozen=True)
class Shown:
    """One sample of a gallery.

    Attributes:
        kind: of `KINDS`.
        sample_id: its id.
        image_id: of its image.
        phrase: byte for byte.
        scores: IoU by model.
        mean: of them, the oracle's left out.
        image: data URI of a JPEG, or empty where no dataset was given.
        truth: data URI of a transparent PNG.
        masks: the same by model; models that stored none are absent.
        maps: data URI of the score map by model, where it was kept.
        size: (width, height) of the pictures.
    """

    kind: str
    sample_id: str
    image_id: str
    phrase: str
    scores: Mapping[str, float]
    mean: float
    image: str
    truth: str
    masks: Mapping[str, str]
    maps: Mapping[str, str]
    size: tuple[int, int]


def judges_of(runs: Mapping[str, Run]) -> list[int]:
    """Positions of the models whose scores say how hard a sample is: the oracle is right everywhere, and says nothing."""
    return [place for place, run in enumerate(runs.values()) if run.model != "oracle"] or list(range(len(runs)))


def choose_samples(
    samples: Mapping[str, Samples], runs: Mapping[str, Run], count: int, asked: Sequence[str] = ()
) -> list[tuple[str, str, dict[str, float]]]:
    """(kind, id, IoU by model) of the samples to show, worst first; ids settle ties, so that the choice is the same on every machine.

    Args:
        samples: by model label.
        runs: by model label.
        count: samples of each kind.
        asked: ids that are shown whatever their scores; those that are not here are passed over.
    """
    ids = common_ids(list(samples.values()))
    images = restrict(next(iter(samples.values())), ids).image_id
    table = np.array([_iou(restrict(item, ids), runs[name]) for name, item in samples.items()])
    judges = judges_of(runs)
    mean, spread = table[judges].mean(axis=0), np.ptp(table[judges], axis=0)
    orders = {"worst": np.argsort(mean, kind="stable"), "best": np.argsort(-mean, kind="stable"), "most disputed": np.argsort(-spread, kind="stable")}
    if len(judges) < 2:
        orders.pop("most disputed")
    places = [("asked for", int(np.searchsorted(ids, ident))) for ident in asked if ident in set(ids.tolist())]
    places += [(kind, place) for kind, order in orders.items() for place in _one_per_image(order.tolist(), images, count)]
    return [(kind, str(ids[place]), {name: float(table[row, place]) for row, name in enumerate(samples)}) for kind, place in places]


def _one_per_image(order: Sequence[int], images: np.ndarray, count: int) -> list[int]:
    """The first samples of an order, none of an image that is there already."""
    found: dict[str, int] = {}
    for place in order:
        found.setdefault(str(images[place]), place)
        if len(found) == count:
            break
    return list(found.values())


def show(chosen: Sequence[tuple[str, str, dict[str, float]]], runs: Mapping[str, Run], dataset: Dataset | None, side: int = 320) -> list[Shown]:
    """The samples with their pictures.

    Args:
        chosen: of `choose_samples`.
        runs: by model label, of one dataset and protocol.
        dataset: where images and truths are read from; None shows words and numbers only.
        side: of the thumbnails' longer side, in pixels.
    """
    wanted = {ident for _, ident, _ in chosen}
    first = next(iter(runs.values()))
    texts, maps = _texts(first, wanted), {name: _maps(run, wanted) for name, run in runs.items()}
    masks = {name: predictions(run.path, wanted) for name, run in runs.items()} if dataset is not None else {}
    judges = [name for place, name in enumerate(runs) if place in judges_of(runs)]
    rules = get_protocol(first.protocol)
    shown = []
    for kind, ident, scores in chosen:
        image_id, phrase = texts[ident]
        image = truth = ""
        overlays: dict[str, str] = {}
        size = (side, side)
        if dataset is not None:
            found = picture(dataset, ident, rules, side)
            size = found.image.size
            image, truth = jpeg(found.image), overlay(found.truth, (0, 158, 115))
            overlays = {name: overlay(fit(kept[ident], size), (213, 94, 0)) for name, kept in masks.items() if ident in kept}
        kept_maps = {name: kept[ident] for name, kept in maps.items() if ident in kept}
        mean = sum(scores[name] for name in judges) / len(judges)
        shown.append(Shown(kind, ident, image_id, phrase, scores, mean, image, truth, overlays, kept_maps, size))
    return shown


def jpeg(image: Image.Image) -> str:
    """A data URI."""
    return _uri(image, "JPEG", quality=80)


def overlay(mask: BoolArray, colour: tuple[int, int, int]) -> str:
    """A data URI of a one-bit PNG: the mask in a half-transparent colour on nothing."""
    image = Image.fromarray(mask.astype(np.uint8), "P")
    image.putpalette([0, 0, 0, *colour])
    return _uri(image, "PNG", transparency=bytes([0, 165]), bits=1, optimize=True)


def _uri(image: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _iou(samples: Samples, run: Run) -> np.ndarray:
    return sample_iou(samples.counts.intersection, samples.counts.union, get_protocol(run.protocol))


def _texts(run: Run, wanted: set[str]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for batch in read_batches(run.path, ["sample_id", "image_id", "phrase"]):
        rows = zip(*(batch.column(name).to_pylist() for name in ("sample_id", "image_id", "phrase")), strict=True)
        found.update({ident: (image, phrase) for ident, image, phrase in rows if ident in wanted})
    return found


def _maps(run: Run, wanted: set[str]) -> dict[str, str]:
    """Kept score maps are 8-bit PNGs already."""
    found: dict[str, str] = {}
    if "maps" not in str(run.about.get("content", "")):
        return found
    for batch in read_batches(run.path, ["sample_id", "score_map"]):
        for ident, content in zip(batch.column("sample_id").to_pylist(), batch.column("score_map").to_pylist(), strict=True):
            if content is not None and ident in wanted:
                found[ident] = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return found
