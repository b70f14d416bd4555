"""One cell: a dataset split, a protocol and a model, made to a run folder, continued where it stopped, skipped where it is finished."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ldznet_bench.datasets.sample import ImageGroup, Sample
from ldznet_bench.errors import DataError, PredictionError, RunError
from ldznet_bench.evaluation.controls import Controlled, control_phrases
from ldznet_bench.evaluation.identity import Identity, Threshold
from ldznet_bench.evaluation.loop import DEFAULT_BATCH, Loop, Progress
from ldznet_bench.evaluation.predictions import Predictions
from ldznet_bench.evaluation.provenance import now, provenance
from ldznet_bench.evaluation.runs import RunFolder
from ldznet_bench.evaluation.selection import Selection, select
from ldznet_bench.evaluation.sharding import Shard
from ldznet_bench.evaluation.summary import COLUMNS, summarise
from ldznet_bench.evaluation.targets import TargetCache
from ldznet_bench.models.segmenter import Segmenter
from ldznet_bench.protocols import Protocol

if TYPE_CHECKING:
    from ldznet_bench.datasets.store import PreparedDataset

State = Literal["new", "started", "complete"]
MakeProgress = Callable[[str, int], Progress]


@dataclass(frozen=True)
class Settings:
    """What a command says beside dataset, protocol and model.

    Attributes:
        output: RUNS, the folder of run folders.
        seed: run seed of every draw.
        limit: evaluate a stratified sample of that many; such runs are kept apart and out of tables.
        threshold: a tuned one; None takes the protocol's.
        batch: samples per micro-batch of segmenters that have none of their own (it changes no byte).
        keep_masks: store predicted masks as RLE.
        keep_maps: ``none``, ``all``, or how many score maps are stored (those with the smallest sha256 of their id).
        shard: this process's part.
        cache: folder of the mask cache; None draws masks every time.
        fast: the micro-batch was found by trying (``--fast``); recorded, the micro-batch itself is identity.
        overlap: decode and count beside a network, which changes no byte; None does so beside a GPU.
        control: a phrase control (`ldznet_bench.evaluation.controls`); None tells the model what the dataset says.
    """

    output: Path = Path("runs")
    seed: int = 0
    limit: int | None = None
    threshold: Threshold | None = None
    batch: int = DEFAULT_BATCH
    keep_masks: bool = True
    keep_maps: str = "none"
    shard: Shard = field(default_factory=Shard)
    cache: Path | None = None
    control: str | None = None
    fast: bool = False
    overlap: bool | None = None

    @property
    def content(self) -> str:
        """What records hold beside counts, in a word."""
        return ("masks" if self.keep_masks else "no-masks") + ("" if self.keep_maps == "none" else f"-maps-{self.keep_maps}")


@dataclass(frozen=True)
class Cell:
    """A dataset split, a protocol and a model."""

    dataset: PreparedDataset
    segmenter: Segmenter
    protocol: Protocol
    settings: Settings

    @cached_property
    def identity(self) -> Identity:
        """What decides the records."""
        data = self.dataset
        identity = Identity.of(self.segmenter, data.name, data.fingerprint, self.protocol, self.threshold, self.settings.seed)
        control = self.settings.control
        return identity if control is None else dataclasses.replace(identity, model=self.model, recipe={**identity.recipe, "control": control})

    @property
    def model(self) -> str:
        """The segmenter's full name, with the control behind ``~`` where there is one."""
        control = self.settings.control
        return self.segmenter.name if control is None else f"{self.segmenter.name}~{control}"

    @cached_property
    def controlled(self) -> Controlled | None:
        """What the model is told instead of the dataset's phrases; worked out over the whole split, whatever the limit."""
        if self.settings.control is None:
            return None
        return control_phrases(self.settings.control, self.dataset.groups(), dataset=self.dataset.name, seed=self.settings.seed)

    @property
    def threshold(self) -> Threshold:
        """The tuned one, or the protocol's."""
        return self.settings.threshold or Threshold(self.protocol.threshold)

    @cached_property
    def folder(self) -> RunFolder:
        """Where it is kept."""
        known = f"-without-{len(self.dataset.absent_tags)}-slices" if self.dataset.absent_tags else ""
        return RunFolder(self.settings.output, self.identity, self.settings.limit, self.settings.content + known)

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """Samples without prediction, where predictions are scored."""
        if not isinstance(self.segmenter, Predictions):
            return ()
        return tuple(self.segmenter.check(self.dataset.sample_ids(), self.protocol))

    @cached_property
    def selection(self) -> Selection:
        """Which samples it evaluates."""
        skip = set(self.missing) if isinstance(self.segmenter, Predictions) and self.segmenter.missing == "skip" else ()
        found = select(self.dataset.entries(), self.protocol, family=self.dataset.family, limit=self.settings.limit, skip=skip)
        if not found.sample_ids:
            raise DataError(f"{self.dataset.name} has no sample left under {self.protocol.full_name}.", "Check the dataset's split and the protocol.")
        return found

    def state(self) -> State:
        """Whether it is finished, started, or new."""
        if self.folder.complete():
            return "complete"
        return "started" if self.folder.journals else "new"

    def run(self, make_progress: MakeProgress) -> bool:
        """Make the cell, or this process's part of it.

        Args:
            make_progress: from a title and a number of samples to something that is told how far the loop is.

        Returns:
            True when the cell is complete; False when other processes still have to do their part.

        Raises:
            BenchError: bad data, predictions or weights, or a write that failed. What was counted before is kept and continued.
        """
        if self.folder.complete():
            self._restamp()
            self.folder.drop_leftovers()
            return True
        self._refuse_bad_images()
        if not self.folder.begin(self._about(), [(place, ident, count) for place, (_, ident, count) in enumerate(self.selection.images)]):
            return True
        self.segmenter.begin_run()
        try:
            self._count(make_progress)
        except PredictionError:
            if self.settings.shard.count == 1:  # others may be at work
                self.folder.drop_if_unfinished()  # mended predictions have another identity, so nothing here would ever be continued
            raise
        return self._finish()

    def _restamp(self) -> None:
        """The card may have changed since (``--card``): what is stamped partial is told anew, from the same records."""
        about, summary = self.folder.read(), self.folder.summary()
        partial = list(self.dataset.partial)
        if about is not None and summary["partial"] != partial:
            about["data"]["partial"] = partial
            self.folder.end({**about, "stamps": self._stamps()}, {**summary, "partial": partial})

    def _stamps(self) -> list[str]:
        return [*(["partial"] if self.dataset.partial else []), *(["limited"] if self.settings.limit is not None else [])]

    def _count(self, make_progress: MakeProgress) -> None:
        settings, selection = self.settings, self.selection
        mine = [place for place in range(len(selection.images)) if settings.shard.has(place)]
        with self.folder.open_journal(settings.shard) as journal:
            done = self.folder.done()
            targets = self._targets(whole=settings.limit is None and settings.shard.count == 1 and not done)
            try:
                progress = make_progress(f"{self.model} on {self.dataset.name}", _share(len(selection.sample_ids), settings.shard))
                self._loop(targets).run(self._groups(mine), journal, done, settings.shard, progress)
                targets.finish()
            finally:
                targets.discard()

    def _targets(self, *, whole: bool) -> TargetCache:
        return TargetCache(self.settings.cache, self.dataset.fingerprint, self.protocol, complete=whole)

    def _loop(self, targets: TargetCache) -> Loop:
        settings = self.settings
        follow = isinstance(self.segmenter, Predictions) and self.segmenter.size_mismatch == "official" and self.protocol.canvas is None
        return Loop(
            dataset=self.dataset.name,
            segmenter=self.segmenter,
            protocol=self.protocol,
            targets=targets,
            threshold=self.threshold.value,
            seed=settings.seed,
            batch=settings.batch,
            keep_masks=settings.keep_masks,
            keep_map=_kept_maps(self.selection, settings.keep_maps),
            follow_prediction_size=follow,
            flags=dict.fromkeys(self.missing, ("missing-prediction",)),
            overlap=settings.overlap,
        )

    def _groups(self, places: list[int]) -> Iterator[ImageGroup]:
        """Images with the samples that take part. Their index is among the cell's images, not the dataset's: blocks of a limited run are as full."""
        selection = self.selection
        ids = None if len(selection.sample_ids) == self.dataset.n_samples else set(selection.sample_ids)
        chosen = selection.groups
        for place, group in zip(places, self.dataset.groups([chosen[place] for place in places]), strict=True):
            samples = group.samples if ids is None else (sample for sample in group.samples if sample.sample_id in ids)
            yield dataclasses.replace(group, samples=tuple(map(self._told, samples)), index=place)

    def _told(self, sample: Sample) -> Sample:
        return sample if self.controlled is None else dataclasses.replace(sample, phrase=self.controlled.phrases[sample.sample_id])

    def _finish(self) -> bool:
        with self.folder.locked("merge"):
            if self.folder.complete():
                self.folder.drop_journals()  # ours came late
                return True
            if not self._counted():
                return False
            self.folder.write_records(self.selection.sample_ids, binary=self.segmenter.binary)
            self.folder.write_timings()
            about = self._about()
            about["provenance"]["workers"] = [worker.to_json() for worker in self.folder.workers()]
            self.folder.end(about, self._summary())
        return True

    def _counted(self) -> bool:
        """Whether the journals hold every sample, and no other. The ids that they hold are let go of before anything is merged."""
        ids, done = self.selection.sample_ids, self.folder.done()
        if done.difference(ids):
            raise RunError(f"{self.folder.path} holds records of samples that are not in the cell.", "Remove that folder and run again.")
        return done.issuperset(ids)

    def _summary(self) -> dict[str, Any]:
        binary = self.segmenter.binary
        threshold = self.threshold
        records = self.folder.records(COLUMNS, binary=binary)
        scores = summarise(records, self.protocol, dense=not binary, threshold=threshold.value, tuned=threshold.source != "fixed")
        return {
            "dataset": self.dataset.name,
            "protocol": self.protocol.full_name,
            "model": self.model,
            **scores,
            "status": self.protocol.status,
            "threshold": dataclasses.asdict(threshold),
            "binary": binary,
            "limit": self.settings.limit,
            "partial": list(self.dataset.partial),
            "absent_slices": list(self.dataset.absent_tags),
            "missing": self._missing_summary(scores),
            "fingerprint": self.dataset.fingerprint,
            "identity": self.identity.digest,
        }

    def _missing_summary(self, scores: dict[str, Any]) -> dict[str, Any] | None:
        """Under ``--missing skip`` also the mean IoU rescaled as PhraseCut's evaluator prints it: every missing sample taken as 0."""
        if not isinstance(self.segmenter, Predictions):
            return None
        mean, counted = scores["metrics"].get("miou"), scores["n_samples"]
        rescaled = mean * counted / (counted + len(self.missing)) if self.segmenter.missing == "skip" and mean is not None else None
        return {"policy": self.segmenter.missing, "n_missing": len(self.missing), "miou_with_missing_as_zero": rescaled}

    def _about(self) -> dict[str, Any]:
        data = self.dataset
        return {
            "dataset": data.name,
            "protocol": self.protocol.full_name,
            "model": self.model,
            "identity_digest": self.identity.digest,
            "identity": self.identity.to_json(),
            "rules": dataclasses.asdict(self.protocol),
            "stamps": self._stamps(),
            "notes": dict(self.segmenter.notes),
            "data": {
                "mini": data.mini,
                "n_samples": data.n_samples,
                "n_images": data.n_images,
                "partial": list(data.partial),
                "absent_slices": list(data.absent_tags),
                "excluded_by_protocol": self.selection.excluded,
                "oddities": data.oddities(),
                **({} if self.controlled is None else {"control": self.settings.control, "changed_phrases": self.controlled.changed}),
            },
            "provenance": {
                **provenance(),
                "limit": self.settings.limit,
                "shards": self.settings.shard.count,
                "fast": self.settings.fast,
                "finished": now(),
            },
        }

    def _refuse_bad_images(self) -> None:
        if isinstance(self.segmenter, Predictions):
            return
        bad = [problem for problem in self.dataset.problems() if not problem[2].startswith("size")]
        if bad:
            listed = "; ".join(f"{ident} ({text}: {path})" for ident, path, text in bad[:5])
            raise DataError(
                f"{self.dataset.name}: {len(bad)} images cannot be used: {listed}{'; …' if len(bad) > 5 else ''}.",
                "Fetch them again. Scoring masks with `score` needs no images.",
            )


def _share(total: int, shard: Shard) -> int:
    return -(-total // shard.count)


def _kept_maps(selection: Selection, keep: str) -> Callable[[str], bool]:
    if keep in ("none", "all"):
        return lambda _: keep == "all"
    chosen = frozenset(sorted(selection.sample_ids, key=lambda ident: hashlib.sha256(ident.encode()).hexdigest())[: int(keep)])
    return chosen.__contains__
