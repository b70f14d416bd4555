"""Names that stand for code."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint

import pytest

from ldznet_bench.errors import BenchError
from ldznet_bench.registry import Registry

Offer = Callable[..., Registry]


class Point(EntryPoint):
    """An entry point that says which package it is from, as installed ones do."""

    @property
    def dist(self):
        return type("Dist", (), {"name": "theirs", "version": "2.1"})()


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """A registry of `ours`, with what other packages offer."""

    def make(*points: tuple[str, str], ours: dict[str, str] | None = None) -> Registry:
        found = [Point(name, value, "group") for name, value in points]
        monkeypatch.setattr("ldznet_bench.registry.entry_points", lambda group: found if group == "group" else [])
        return Registry("model", "group", lambda: ours or {})

    return make


def test_resolves_ours(offer: Offer) -> None:
    assert offer(ours={"path": "os:path.join"}).find("path").resolve() is __import__("os").path.join


def test_resolves_another_packages(offer: Offer) -> None:
    entry = offer(("dumps", "json:dumps")).find("dumps")
    assert (entry.origin, entry.resolve()) == ("theirs 2.1", __import__("json").dumps)


def test_listing_imports_nothing(offer: Offer) -> None:
    registry = offer(("broken", "no_such_module_anywhere:thing"), ours={"fine": "os:path"})
    assert list(registry.entries()) == ["fine", "broken"]


def test_unknown_name_gives_the_nearest(offer: Offer) -> None:
    with pytest.raises(BenchError, match=r"unknown model 'clipsge'. Did you mean 'clipseg'"):
        offer(ours={"clipseg": "a:b"}).find("clipsge")


def test_a_name_offered_twice_is_not_guessed(offer: Offer) -> None:
    with pytest.raises(BenchError, match=r"offered twice: by ldznet_bench \(a:b\) and by theirs 2.1 \(c:d\)"):
        offer(("clipseg", "c:d"), ours={"clipseg": "a:b"}).entries()


def test_the_same_offer_seen_twice_is_one(offer: Offer) -> None:
    assert list(offer(("mine", "a:b"), ("mine", "a:b")).entries()) == ["mine"]


@pytest.mark.parametrize(
    ("target", "why"), [("no_such_module_anywhere:x", "No module named"), ("json:nothing", "no attribute"), ("json", "module:attribute")]
)
def test_a_broken_target_names_its_package(offer: Offer, target: str, why: str) -> None:
    with pytest.raises(BenchError, match=f"'mine' cannot be loaded from '{target}', which theirs 2.1 registered: .*{why}"):
        offer(("mine", target)).find("mine").resolve()
