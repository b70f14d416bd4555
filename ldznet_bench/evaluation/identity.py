"""What a number depends on. Two cells with equal identity have equal records; anything else is provenance."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from ldznet_bench.evaluation.targets import mask_versions
from ldznet_bench.models.segmenter import Segmenter
from ldznet_bench.protocols import Protocol, ThresholdSource
from ldznet_bench.records import RECORD_SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Threshold:
    """The threshold of a run and where it came from.

    Attributes:
        value: a pixel is predicted where its score is > this, in float32.
        source: ``fixed`` by the protocol, or ``tuned-on-val``.
        file: sha256 of the file that `tune` wrote; None for fixed ones.
    """

    value: float
    source: ThresholdSource = "fixed"
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """What decides a cell's records.

    Attributes:
        dataset: expanded name.
        protocol: full name.
        protocol_digest: sha256 of the protocol's rules.
        fingerprint: of the dataset.
        model: full name of the segmenter.
        weights: sha256 of its weights (or of the predictions that are scored); None without any.
        recipe: its options that change scores.
        threshold: value and source; which file it was read from is provenance, as a threshold tuned anew may come out the same.
        seed: ``--seed``.
        device: device class.
        precision: of the network.
        micro_batch: pairs per network call; None where batching cannot change a bit.
        versions: of the libraries that draw masks.
        record_schema: version of the record's columns.
    """

    dataset: str
    protocol: str
    protocol_digest: str
    fingerprint: str
    model: str
    weights: str | None
    recipe: dict[str, Any]
    threshold: dict[str, Any]
    seed: int
    device: str
    precision: str
    micro_batch: int | None
    versions: dict[str, str]
    record_schema: int

    @classmethod
    def of(cls, segmenter: Segmenter, dataset: str, fingerprint: str, protocol: Protocol, threshold: Threshold, seed: int) -> Identity:
        """The identity of a cell."""
        return cls(
            dataset=dataset,
            protocol=protocol.full_name,
            protocol_digest=protocol.digest(),
            fingerprint=fingerprint,
            model=segmenter.name,
            weights=segmenter.weights,
            recipe=dict(segmenter.recipe),
            threshold={"value": threshold.value, "source": threshold.source},
            seed=seed,
            device=segmenter.device,
            precision=segmenter.precision,
            micro_batch=segmenter.micro_batch,
            versions=mask_versions(),
            record_schema=RECORD_SCHEMA_VERSION,
        )

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return dataclasses.asdict(self)

    @property
    def digest(self) -> str:
        """12 hex digits of the sha256 over the canonical JSON: the name of the run folder."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def differences(mine: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """In words, which parts of two identities differ: ``seed 0 -> 1``, ``versions.Pillow "11.0" -> "12.0"``. Hashes are shortened."""
    found = []
    for key in dict.fromkeys((*mine, *other)):
        here, there = mine.get(key), other.get(key)
        if isinstance(here, dict) and isinstance(there, dict):
            found += [f"{key}.{words}" for words in differences(here, there)]
        elif here != there:
            found.append(f"{key} {_short(there)} -> {_short(here)}")
    return found


def _short(value: Any) -> str:  # noqa: ANN401 - any JSON value
    text = json.dumps(value, ensure_ascii=False)
    return f"{text[1:11]}…" if isinstance(value, str) and len(value) == 64 else text
