"""Counts of a prepared set against those on its card."""

from __future__ import annotations

from dataclasses import dataclass

from ldznet_bench.datasets.card import Split


@dataclass(frozen=True, slots=True)
class Found:
    """What a split really holds.

    Attributes:
        images: images with at least one sample.
        phrases: samples.
        refs: REFER referents; None where the format has none.
        instances: annotated instances over all samples.
    """

    images: int
    phrases: int
    refs: int | None
    instances: int


def differences(expected: Split | None, found: Found, fingerprint: str | None = None) -> tuple[tuple[str, ...], str | None]:
    """What differs from the card, in words, and which older release it is.

    Args:
        expected: what the card says.
        found: what there is.
        fingerprint: what there is; None where it is not known, so that it is not held against the card's.

    Returns:
        One sentence per difference, empty where there is none or the card expects nothing; and the older release whose counts these are.
    """
    if expected is None:
        return (), None
    for older in expected.older:
        if (found.images, found.phrases) == (older.images, older.phrases):
            now = f"{_count(expected.images)} images, {_count(expected.phrases)} phrases"
            return (f"the release {older.release} ({older.images:,} images, {older.phrases:,} phrases); the current one has {now}",), older.release
    rows = count_table(expected, found)
    told = [f"{what}: {_count(wanted)} expected, {_count(got)} found" for what, wanted, got in rows if wanted not in (None, got)]
    if None not in (expected.fingerprint, fingerprint) and expected.fingerprint != fingerprint:
        told.append(f"fingerprint: {expected.fingerprint} expected, {fingerprint} found")
    return tuple(told), None


def count_table(expected: Split | None, found: Found) -> list[tuple[str, int | None, int | None]]:
    """(what, expected, found) for everything that is counted; None where the card says nothing or the format has no such thing."""
    names = ("images", "phrases", "refs", "instances")
    rows = [(name, None if expected is None else getattr(expected, name), getattr(found, name)) for name in names]
    return [row for row in rows if row[1:] != (None, None)]


def _count(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"
