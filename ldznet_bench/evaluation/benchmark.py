"""How fast a model is on this machine, where the time goes, and what options that buy speed do to its scores.

What is timed is the loop of `run` itself, on the dataset's first images, into a folder that is thrown away. Images are whole and neighbours, as they
are in a run: a stratified sample leaves a phrase or two in each block, and a network would be timed on padding. Phases overlap in threads, so their
sum may exceed the wall time; the network's share is of the wall time of the loop.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from ldznet_bench.api import make_cell
from ldznet_bench.evaluation.agreement import differences
from ldznet_bench.evaluation.cell import Cell
from ldznet_bench.evaluation.images import open_rgb
from ldznet_bench.evaluation.plan import Request
from ldznet_bench.evaluation.seeds import seed_of
from ldznet_bench.evaluation.sharding import Shard
from ldznet_bench.models.load import MODELS, parse_model_name
from ldznet_bench.models.memory import PeakMemory
from ldznet_bench.models.segmenter import ImageInput, Pair, Segmenter
from ldznet_bench.models.trivial import WEIGHT_FREE, Oracle

if TYPE_CHECKING:
    from ldznet_bench.datasets.sample import Entry, ImageFile, ImageGroup, Sample
    from ldznet_bench.datasets.store import PreparedDataset

_LATENCIES = 30  # images at most whose latency is measured one by one
_NETWORK = ("encode_image", "encode_text", "decode")
NOT_COUNTED = "norms, activations, softmax, resizing and other element-wise work; a multiply-add is 2"
_DEVIATING = ("precision", "channels_last", "compiled", "fast", "micro_batch")


@dataclass(frozen=True)
class Effect:
    """What the options did to the scores, against fp32 with the model's own micro-batch and nothing else.

    Attributes:
        options: those that deviate.
        unit: ``logits`` or ``probabilities``: of the two figures that follow.
        largest: largest absolute difference of any pixel.
        deviation: standard deviation of the differences over all pixels.
        spread: standard deviation of the plain model's own values, to compare with.
        counts: ids of the samples whose counts differ.
        samples: how many were compared.
    """

    options: dict[str, Any]
    unit: str
    largest: float
    deviation: float
    spread: float
    counts: list[str]
    samples: int


@dataclass(frozen=True)
class Measured:
    """A model's figures. Seconds are wall seconds; what could not be measured is None.

    Attributes:
        model: full name.
        dataset: the samples' dataset.
        protocol: whose counting is part of the time.
        device: class and name.
        threads: of torch on the processor.
        precision: of the network.
        micro_batch: pairs per call.
        recipe: the model's.
        samples: phrases that were segmented.
        images: on which they were.
        seconds: of the loop.
        images_per_second: over the loop.
        phrases_per_second: over the loop.
        latency_ms: p50 and p95 from an image file and one phrase to a score map, each image by itself.
        peak_memory: host and device bytes while the loop ran; of the host, what the process had in use before is in it, models before included.
        parameters: of all networks; 0 without any.
        flops: per image, per prompt, per pair; None without a network.
        phases: seconds of load (weights, before the loop; not the search of ``--fast``), preprocess, network, score, write.
        network: milliseconds of the network per image, per prompt and per pair, padding included; None without a network.
        outside_loop: seconds that the run took before and after the loop: choosing samples, merging, summary.
        network_share: of the loop's wall time.
        effect: of the options that deviate from the plain model; None where none does.
    """

    model: str
    dataset: str
    protocol: str
    device: str
    threads: int | None
    precision: str
    micro_batch: int | None
    recipe: dict[str, Any]
    samples: int
    images: int
    seconds: float
    images_per_second: float
    phrases_per_second: float
    latency_ms: dict[str, float] | None
    peak_memory: dict[str, int | None]
    parameters: int
    flops: dict[str, float] | None
    phases: dict[str, float]
    network: dict[str, float] | None
    outside_loop: float
    network_share: float
    effect: Effect | None = field(default=None)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return dataclasses.asdict(self)


def measure(request: Request, model: str, dataset: PreparedDataset) -> Measured:
    """Load a model, warm it up, run it over a sample of the dataset, and throw the run away.

    Args:
        request: one protocol, a limit, and how the network is run; its places and models are not read.
        model: name.
        dataset: opened.

    Raises:
        BenchError: as a run of it would.
    """
    MODELS.find(parse_model_name(model).family).resolve()  # imports are not load
    with tempfile.TemporaryDirectory() as name:
        folder, options = Path(name), deviations(request)
        if not options or parse_model_name(model).family in WEIGHT_FREE:
            return _run(request, model, dataset, folder / "asked").measured
        plain, asked = (
            _run(of, model, dataset, folder / key, folder / f"{key}-maps") for key, of in (("plain", plain_request(request)), ("asked", request))
        )
        return dataclasses.replace(asked.measured, effect=_effect(options, plain, asked))


def deviations(request: Request) -> dict[str, Any]:
    """The options that make a run differ from a plain one."""
    plain = Request(models=["-"], datasets=[], protocols=[])
    return {key: getattr(request, key) for key in _DEVIATING if getattr(request, key) != getattr(plain, key)}


def plain_request(request: Request) -> Request:
    """The same without them."""
    plain = Request(models=["-"], datasets=[], protocols=[])
    return dataclasses.replace(request, **{key: getattr(plain, key) for key in _DEVIATING})


@dataclass(frozen=True)
class _Run:
    measured: Measured
    folder: Path
    maps: Sequence[Path]
    unit: str


class _Head:
    """The first images of a dataset."""

    def __init__(self, dataset: PreparedDataset, images: int) -> None:
        self._dataset, self.n_images = dataset, images
        self.n_samples = sum(dataset.counts_per_image()[:images])

    def groups(self, indices: Iterable[int] | None = None) -> Iterator[ImageGroup]:
        return self._dataset.groups(range(self.n_images) if indices is None else indices)

    def entries(self) -> Iterator[Entry]:
        return itertools.takewhile(lambda entry: entry.group < self.n_images, self._dataset.entries())

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - all else is the dataset's
        return getattr(self._dataset, name)


class _Watch:
    """When the loop began and ended, as progress tells."""

    def __init__(self) -> None:
        self.begin = self.end = 0.0

    def __call__(self, _title: str, _total: int) -> _Watch:
        self.begin = self.end = time.perf_counter()
        return self

    def update(self, _samples: int) -> None:
        self.end = time.perf_counter()


def _images(dataset: PreparedDataset, samples: int | None) -> int:
    """How many of the first images hold so many samples."""
    ends = list(itertools.accumulate(dataset.counts_per_image()))
    return len(ends) if samples is None else min(len(ends), bisect.bisect_left(ends, samples) + 1)


def _cell(request: Request, segmenter: Segmenter, dataset: PreparedDataset, images: int, output: Path) -> Cell:
    head: Any = _Head(dataset, images)
    settings: dict[str, Any] = {"limit": head.n_samples, "seed": request.seed, "shard": Shard(), "batch": request.micro_batch}
    return make_cell(segmenter, head, request.protocols[0], output=output, home=request.home, data_root=request.data_root, **settings)


def _run(request: Request, model: str, dataset: PreparedDataset, output: Path, maps: Path | None = None) -> _Run:
    start = time.perf_counter()
    segmenter = request.loaded(model, mini=dataset.mini)
    load = time.perf_counter() - start
    segmenter = request.sharpened(segmenter)
    cell = _cell(request, segmenter, dataset, _images(dataset, request.limit), output)
    # The first count imports, the first call allocates.
    _cell(request, segmenter, dataset, cell.selection.groups[0] + 1, output / "warm").run(_Watch())
    segmenter = cell.segmenter
    samples = _samples(cell)
    flops = _flops(segmenter, cell, samples[0], request)
    latency = _latencies(segmenter, cell, samples, request)
    watch = _Watch()
    start = time.perf_counter()
    with PeakMemory(segmenter.device) as peak:
        cell.run(watch)
    whole, seconds = time.perf_counter() - start, max(watch.end - watch.begin, 1e-9)
    spent = _spent(cell.folder.path)
    network = sum(spent[phase] for phase in _NETWORK) if segmenter.weights is not None else 0.0
    images = len({image.image_id for image, _ in samples})
    measured = Measured(
        model=cell.model,
        dataset=dataset.name,
        protocol=cell.protocol.full_name,
        device=_device(segmenter),
        threads=_threads(),
        precision=segmenter.precision,
        micro_batch=segmenter.micro_batch,
        recipe=dict(segmenter.recipe),
        samples=len(samples),
        images=images,
        seconds=seconds,
        images_per_second=images / seconds,
        phrases_per_second=len(samples) / seconds,
        latency_ms=latency,
        peak_memory={"host": peak.host, "device": peak.device},
        parameters=_parameters(segmenter),
        flops=flops,
        phases={
            "load": load,
            "preprocess": spent["preprocess"],
            "network": network,
            "score": spent["count"] + (0.0 if network else sum(spent[phase] for phase in _NETWORK)),
            "write": spent["write"],
        },
        network=None if segmenter.weights is None else _per_unit(spent, images, len({sample.phrase for _, sample in samples}), len(samples)),
        outside_loop=whole - seconds,
        network_share=network / seconds,
    )
    return _Run(measured, cell.folder.path, [] if maps is None else _maps(segmenter, cell, samples, maps), segmenter.output)


def _per_unit(spent: dict[str, float], images: int, prompts: int, pairs: int) -> dict[str, float]:
    units = (("image", "encode_image", images), ("prompt", "encode_text", prompts), ("pair", "decode", pairs))
    return {unit: 1000 * spent[phase] / count for unit, phase, count in units}


def _samples(cell: Cell) -> list[tuple[ImageFile, Sample]]:
    ids = set(cell.selection.sample_ids)
    return [(group.image, one) for group in cell.dataset.groups(cell.selection.groups) for one in group.samples if one.sample_id in ids]


def _spent(folder: Path) -> dict[str, float]:
    table = pq.read_table(folder / "timings.parquet").to_pydict()
    return {key: float(sum(values)) for key, values in table.items() if key not in ("block", "samples")}


def _latencies(segmenter: Segmenter, cell: Cell, samples: Sequence[tuple[ImageFile, Sample]], request: Request) -> dict[str, float] | None:
    if isinstance(segmenter, Oracle):
        return None
    first = list({image.image_id: (image, sample) for image, sample in samples}.values())[:_LATENCIES]
    seconds = []
    warm = first if request.compiled else first[:1]  # compiling takes seconds for every size that was not met before
    for image, sample in [*warm, *first]:
        start = time.perf_counter()
        maps = segmenter.predict([_pair(segmenter, cell, image, sample)])
        np.asarray(maps[0] if isinstance(maps[0], np.ndarray) else maps[0].cpu())
        seconds.append(time.perf_counter() - start)
    return {name: 1000 * float(np.quantile(seconds[len(warm) :], share)) for name, share in (("p50", 0.5), ("p95", 0.95))}


def _maps(segmenter: Segmenter, cell: Cell, samples: Sequence[tuple[ImageFile, Sample]], folder: Path) -> list[Path]:
    """Files of the logits or probabilities of every sample, in the micro-batches of its own image; in a run they differ by less than options do."""
    folder.mkdir()
    found: list[Path] = []
    size = segmenter.micro_batch or 1
    for image, its in groupby(samples, key=lambda item: item[0]):
        encoded, members = segmenter.encode_image([_input(cell, image)])[0], list(its)
        for start in range(0, len(members), size):
            pairs = [_pair(segmenter, cell, image, sample, encoded) for _, sample in members[start : start + size]]
            for one in segmenter.raw(pairs):
                found.append(folder / f"{len(found)}.npy")
                np.save(found[-1], np.asarray(one if isinstance(one, np.ndarray) else one.float().cpu(), dtype=np.float32))
    return found


def _pair(segmenter: Segmenter, cell: Cell, image: ImageFile, sample: Sample, encoded: Any = None) -> Pair:  # noqa: ANN401
    seed = seed_of(cell.settings.seed, cell.dataset.name, sample.sample_id)
    if encoded is None:
        encoded = segmenter.encode_image([_input(cell, image)])[0]
    text = segmenter.encode_text([segmenter.prompt(sample.phrase, seed)])[0]
    return Pair(sample.sample_id, sample.phrase, image.height, image.width, seed, encoded, text)


def _input(cell: Cell, image: ImageFile) -> ImageInput:
    seed = seed_of(cell.settings.seed, cell.dataset.name, image.image_id)
    return ImageInput(image.image_id, image.height, image.width, seed, partial(open_rgb, image))


def _effect(options: dict[str, Any], plain: _Run, asked: _Run) -> Effect:
    def values() -> Iterator[npt.NDArray[np.float64]]:
        return (np.load(one).astype(np.float64) for one in plain.maps)

    def apart() -> Iterator[npt.NDArray[np.float64]]:
        return (np.load(one) - other for one, other in zip(asked.maps, values(), strict=True))

    return Effect(
        options=options,
        unit=plain.unit,
        largest=max(float(np.abs(one).max()) for one in apart()),
        deviation=_deviation(apart),
        spread=_deviation(values),
        counts=[difference.sample_id for difference in differences(plain.folder, asked.folder)],
        samples=len(plain.maps),
    )


def _deviation(maps: Callable[[], Iterator[npt.NDArray[np.float64]]]) -> float:
    count = sum(one.size for one in maps())
    mean = sum(float(one.sum()) for one in maps()) / count
    return math.sqrt(sum(float(((one - mean) ** 2).sum()) for one in maps()) / count)


def _flops(segmenter: Segmenter, cell: Cell, sample: tuple[ImageFile, Sample], request: Request) -> dict[str, float] | None:
    if segmenter.weights is None:
        return None
    from ldznet_bench.models.cost import flops

    counted = segmenter
    if request.compiled:  # what is fused is not seen
        counted = request.loaded(segmenter.name, mini=cell.dataset.mini)
    return flops(counted, _input(cell, sample[0]), sample[1].phrase)


def _parameters(segmenter: Segmenter) -> int:
    if segmenter.weights is None:
        return 0
    from ldznet_bench.models.cost import parameters

    return parameters(segmenter)


def _threads() -> int | None:
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


def _device(segmenter: Segmenter) -> str:
    if segmenter.device != "cuda":
        return segmenter.device
    import torch

    return f"cuda ({torch.cuda.get_device_name()})"
