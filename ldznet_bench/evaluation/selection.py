"""Which samples a cell evaluates: what the protocol excludes, what `--limit` keeps, what is missing and skipped."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from ldznet_bench.datasets.sample import Entry, Sample
from ldznet_bench.errors import DataError
from ldznet_bench.masks.geometry import Geometry, Polygon
from ldznet_bench.protocols import PROTOCOLS, Protocol


@dataclass(frozen=True, slots=True)
class Selection:
    """The samples of a cell.

    Attributes:
        sample_ids: in dataset order.
        images: position, image id and number of samples of every image that holds some, ascending.
        excluded: samples that the protocol leaves out.
    """

    sample_ids: tuple[str, ...]
    images: tuple[tuple[int, str, int], ...]
    excluded: int

    @property
    def groups(self) -> tuple[int, ...]:
        """Positions of the image groups that take part, ascending."""
        return tuple(group for group, _, _ in self.images)


def select(entries: Iterable[Entry], protocol: Protocol, *, family: str, limit: int | None = None, skip: Collection[str] = ()) -> Selection:
    """Walk the dataset once and decide.

    Args:
        entries: every sample of the dataset, in its order.
        protocol: names excluded images (PhraseCut's ids, so they bind that family alone) and whether boxes without area are dropped.
        family: of the dataset.
        limit: keep that many samples: the same share of every stratum (instances: 1, 2-4, 5+; polygon area against the image: < 2 %, mid,
            > 20 %), within it those with the smallest sha256 of their id. None keeps all.
        skip: sample ids that are left out because they have no prediction.

    Raises:
        DataError: a sample has no target and the protocol has no rule for such; protocol and sample are named.
    """
    kept: list[tuple[str, tuple[int, str], tuple[int, int]]] = []
    excluded = 0
    none: list[str] = []
    banned = set(protocol.excluded_images) if family == "phrasecut" else set()
    for entry in entries:
        sample = entry.read() if protocol.drop_empty_boxes or limit is not None else None
        if entry.image_id in banned or (sample is not None and protocol.drop_empty_boxes and _empty_boxes(sample)):
            excluded += 1
            continue
        if entry.no_target and not protocol.scores_no_target:
            none.append(entry.sample_id)
        if entry.sample_id not in skip:
            kept.append((entry.sample_id, (entry.group, entry.image_id), (0, 0) if limit is None or sample is None else _stratum(sample)))
    if none:
        raise _no_rule(protocol, none)
    if limit is not None and limit < len(kept):
        chosen = _stratified([(ident, stratum) for ident, _, stratum in kept], limit)
        kept = [item for item in kept if item[0] in chosen]
    images = Counter(image for _, image, _ in kept)
    return Selection(tuple(ident for ident, _, _ in kept), tuple((*image, count) for image, count in sorted(images.items())), excluded)


def _no_rule(protocol: Protocol, none: list[str]) -> DataError:
    able = ", ".join(other.full_name for other in PROTOCOLS.values() if other.scores_no_target)
    return DataError(
        f"{protocol.full_name} has no rule for samples without target: it scores an empty answer on an empty truth 0, so every answer would be wrong "
        f"({len(none)} such samples, the first is {none[0]!r}).",
        f"Protocols that score them: {able}.",
    )


def _empty_boxes(sample: Sample) -> bool:
    return bool(sample.boxes) and sum(width * height for _, _, width, height in sample.boxes) <= 0


def _stratum(sample: Sample) -> tuple[int, int]:
    count = len(sample.geometry.instances)
    share = _polygon_area(sample.geometry) / max(1, sample.geometry.height * sample.geometry.width)
    return (0 if count <= 1 else 1 if count < 5 else 2), (0 if share < 0.02 else 2 if share > 0.2 else 1)


def _polygon_area(geometry: Geometry) -> float:
    """Shoelace area in square pixels; enough to tell small from large without drawing. RLE parts count as mid-sized."""
    area = 0.0
    for part in geometry.parts:
        if isinstance(part, Polygon):
            x, y = part.xy.T
            area += 0.5 * abs(float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()))
        else:
            area += 0.1 * part.height * part.width
    return area


def _stratified(items: list[tuple[str, tuple[int, int]]], limit: int) -> set[str]:
    """`limit` ids, shared out over the strata by largest remainder."""
    strata: dict[tuple[int, int], list[str]] = {}
    for ident, stratum in items:
        strata.setdefault(stratum, []).append(ident)
    exact = {stratum: limit * len(members) / len(items) for stratum, members in strata.items()}
    shares = {stratum: int(share) for stratum, share in exact.items()}
    rest = limit - sum(shares.values())
    for stratum in sorted(strata, key=lambda key: (shares[key] - exact[key], key))[:rest]:
        shares[stratum] += 1
    return {ident for stratum, members in strata.items() for ident in sorted(members, key=_hash)[: shares[stratum]]}


def _hash(ident: str) -> str:
    return hashlib.sha256(ident.encode()).hexdigest()
