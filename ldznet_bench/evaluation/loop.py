"""The evaluation loop: image, phrases, score maps, counts, journal."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import groupby
from typing import Any
from typing import Protocol as Interface

import numpy as np

from ldznet_bench.datasets.sample import ImageFile, ImageGroup, Sample
from ldznet_bench.evaluation.counting import Counted, count, make_records
from ldznet_bench.evaluation.images import open_rgb
from ldznet_bench.evaluation.journal import Journal
from ldznet_bench.evaluation.overlap import IMAGES_AHEAD, Clock, Lane, Prepared, look_ahead
from ldznet_bench.evaluation.seeds import seed_of
from ldznet_bench.evaluation.sharding import BLOCK_IMAGES, Shard
from ldznet_bench.evaluation.targets import Target, TargetCache, make_target
from ldznet_bench.masks.spans import StoredMask, spans_of_stored
from ldznet_bench.models.segmenter import ImageInput, Pair, Segmenter
from ldznet_bench.models.trivial import Oracle
from ldznet_bench.protocols import Protocol
from ldznet_bench.records import Record

# Encoded prompts that are kept: at 77x768 float32 (0.24 MB) 256 of them are 61 MB, and phrases repeat within neighbouring images.
_PROMPTS_KEPT = 256
# Score maps per journal frame where the segmenter has no micro-batch of its own.
DEFAULT_BATCH = 16
# Stored masks wait as bits where score maps are floats, so 32 times as many are taken at once, and from more blocks: no byte depends on which.
_STORED_AS_MAPS = 32
_STORED_BLOCKS = 12
_COUNTED = 32  # samples at once: what they look up stays in the processor's cache, and few spans and masks of the truth are held

Item = tuple[ImageFile, Sample]
_HERE = Lane(threaded=False)


class Progress(Interface):
    """What the loop tells about how far it is."""

    def update(self, samples: int) -> None:
        """That many more samples are counted."""


@dataclass(frozen=True)
class Loop:
    """One model over one dataset under one protocol.

    Attributes:
        dataset: expanded name, which enters the seeds.
        segmenter: the model.
        protocol: the rules.
        targets: gives the truth on the protocol's canvas.
        threshold: a pixel is predicted where its score is > this.
        seed: ``--seed``.
        batch: samples per micro-batch, for segmenters that have none of their own; of stored masks, 32 times as many.
        keep_masks: store predicted masks.
        keep_map: whether the score map of a sample id is stored.
        follow_prediction_size: draw the truth at a prediction's own size where the two differ, as PhraseCut's evaluator does.
        flags: what is odd about a sample beside its image, by id.
        overlap: decode and count beside a network, in threads, which changes no byte; None does so beside a GPU.
    """

    dataset: str
    segmenter: Segmenter
    protocol: Protocol
    targets: TargetCache
    threshold: float
    seed: int = 0
    batch: int = DEFAULT_BATCH
    keep_masks: bool = True
    keep_map: Callable[[str], bool] = lambda _: False
    follow_prediction_size: bool = False
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    overlap: bool | None = None

    def run(self, groups: Iterable[ImageGroup], journal: Journal, done: set[str], shard: Shard, progress: Progress) -> None:
        """Count every sample of this process's blocks that no journal holds yet.

        What is in a network's micro-batch depends on the cell alone: blocks are runs of `BLOCK_IMAGES` of its images, batches are cut within a
        block, and a batch that is partly done is done again whole. While a network has one micro-batch, the one before is counted and the
        images to come are decoded, so a crash loses at most these two.

        Args:
            groups: the selected image groups with their selected samples, in dataset order; their index counts selected ones.
            journal: takes the records.
            done: ids that some journal holds.
            shard: which blocks are ours.
            progress: is told of every micro-batch.
        """
        texts = _Encoded(self.segmenter.encode_text, _PROMPTS_KEPT)
        mine = (group for group in groups if shard.has(group.index))
        with Lane(threaded=self.overlapping) as ahead, Lane(threaded=self.overlapping) as behind:

            def begin(group: ImageGroup) -> Prepared | None:
                if all(sample.sample_id in done for sample in group.samples):
                    return None  # most likely nobody will ask for it
                return Prepared(self._input(group.image), self.segmenter, ahead)

            counted: Callable[[], int] = lambda: 0  # noqa: E731
            begun = look_ahead(mine, begin, IMAGES_AHEAD if self.overlapping else 0)
            together = BLOCK_IMAGES * (_STORED_BLOCKS if self.segmenter.stored else 1)
            for block, members in groupby(begun, key=lambda member: member[0].index // together):
                images = _Encoded(self.segmenter.encode_image, together)
                prepared = list(members)
                waiting = {group.image.image_id: its for group, its in prepared if its is not None}
                for batch in self._batches(group for group, _ in prepared):
                    if all(sample.sample_id in done for _, sample in batch):
                        progress.update(len(batch))
                        continue
                    clock = Clock()
                    maps = self._predict(batch, images, texts, waiting, clock)
                    progress.update(counted())
                    counted = behind.submit(partial(self._finish, block, batch, maps, clock, journal, done))
            progress.update(counted())

    @property
    def overlapping(self) -> bool:
        """Whether images are prepared and scores counted beside the network."""
        if self.segmenter.micro_batch is None:
            return False
        # On a processor the threads only take from the network: 4 to 17 % slower with a tiny CLIPSeg on one thread.
        return self.segmenter.device == "cuda" if self.overlap is None else self.overlap

    def _finish(self, block: int, batch: Sequence[Item], maps: Sequence[Any], clock: Clock, journal: Journal, done: set[str]) -> int:
        """Count a micro-batch, write it to the journal, and say how many samples it has."""
        with clock("count"):
            items = list(zip(batch, maps, strict=True))
            records = [record for start in range(0, len(items), _COUNTED) for record in self._records(items[start : start + _COUNTED])]
        with clock("write"):
            journal.append([record for record in records if record["sample_id"] not in done])
        journal.note({"block": block, "samples": len(batch), **clock.seconds})
        return len(batch)

    def _batches(self, block: Iterable[ImageGroup]) -> Iterator[list[Item]]:
        items = [(group.image, sample) for group in block for sample in group.samples]
        size = self.segmenter.micro_batch or self.batch * (_STORED_AS_MAPS if self.segmenter.stored else 1)
        return (items[start : start + size] for start in range(0, len(items), size))

    def _predict(self, batch: Sequence[Item], images: _Encoded, texts: _Encoded, waiting: dict[str, Prepared], clock: Clock) -> Sequence[Any]:
        if isinstance(self.segmenter, Oracle):
            return [None] * len(batch)
        pairs = []
        for image, sample in batch:
            seed = seed_of(self.seed, self.dataset, sample.sample_id)
            if image.image_id not in images:
                own = waiting.pop(image.image_id, None) or Prepared(self._input(image), self.segmenter, _HERE)
                ready = own.get(clock)
                with clock("encode_image"):
                    images.add(image.image_id, ready)
            prompt = self.segmenter.prompt(sample.phrase, seed)
            if prompt not in texts:
                with clock("encode_text"):
                    texts.add(prompt, prompt)
            pairs.append(Pair(sample.sample_id, sample.phrase, image.height, image.width, seed, images[image.image_id], texts[prompt]))
        with clock("decode"):
            return self.segmenter.predict(pairs)

    def _input(self, image: ImageFile) -> ImageInput:
        seed = seed_of(self.seed, self.dataset, image.image_id)
        return ImageInput(image.image_id, image.height, image.width, seed, partial(open_rgb, image))

    def _records(self, items: Sequence[tuple[Item, Any]]) -> list[Record]:
        if self.segmenter.stored and self.protocol.canvas is None:  # on a canvas of its own it takes their pixels
            spans = spans_of_stored([scores for _, scores in items])
            items = [(item, StoredMask(scores.shape, its)) for (item, scores), its in zip(items, spans, strict=True)]
        counted = [self._count(*item, scores, target) for (item, scores), target in zip(items, self._targets(items), strict=True)]
        return make_records(counted, keep_masks=self.keep_masks)

    def _targets(self, items: Sequence[tuple[Item, Any]]) -> list[Target]:
        """The truth of some samples: on the protocol's canvas, or, where predictions are followed, at the size of one that is of another size."""
        samples = [sample for (_, sample), _ in items]
        sizes = {sample.sample_id: size for (_, sample), scores in items if (size := self._other_size(sample, scores)) is not None}
        usual = iter(self.targets.get([sample for sample in samples if sample.sample_id not in sizes]))
        return [
            make_target(sample.geometry, self.protocol, sizes[sample.sample_id]) if sample.sample_id in sizes else next(usual) for sample in samples
        ]

    def _other_size(self, sample: Sample, scores: Any) -> tuple[int, int] | None:  # noqa: ANN401 - an array, a tensor, a mask, or None
        if not self.follow_prediction_size or scores is None:
            return None
        size = (int(scores.shape[0]), int(scores.shape[1]))
        return None if size == (sample.geometry.height, sample.geometry.width) else size

    def _count(self, image: ImageFile, sample: Sample, scores: Any, target: Target) -> Counted:  # noqa: ANN401 - as above
        mismatch = ("image-size-mismatch",) if image.problem.startswith("size") else ()
        return count(
            sample,
            image,
            target,
            target.mask.astype(np.float32) if scores is None else scores,
            self.protocol,
            self.threshold,
            seed=seed_of(self.seed, self.dataset, sample.sample_id),
            flags=(*mismatch, *self.flags.get(sample.sample_id, ())),
            histograms=self._histograms,
            keep_map=scores is not None and self.keep_map(sample.sample_id),
        )

    @cached_property
    def _histograms(self) -> bool:
        """Binary maps have no AP; only a best threshold (of a resized mask) still asks for counts at every threshold."""
        return not self.segmenter.binary or any(name.endswith("_best") for name in self.protocol.metrics)


class _Encoded:
    """Values of an encoder by key, the latest `size` of them."""

    def __init__(self, encode: Callable[[Sequence[Any]], Sequence[Any]], size: int) -> None:
        self._encode = encode
        self._size = size
        self._values: OrderedDict[str, Any] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def add(self, key: str, given: Any) -> None:  # noqa: ANN401 - an image or a prompt
        """Encode a new one."""
        self._values[key] = self._encode([given])[0]
        if len(self._values) > self._size:
            self._values.popitem(last=False)

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - whatever the segmenter encodes to
        self._values.move_to_end(key)
        return self._values[key]
