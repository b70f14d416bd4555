"""Names that stand for code, resolved when used: our own, and those that other packages register by entry point.

A package adds a model (or a dataset adapter) in its ``pyproject.toml``, and nothing here has to know it:

    [project.entry-points."ldznet_bench.models"]
    mine = "my_package.segmenter:load"

Listing names imports nobody; only `Entry.resolve` does.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from ldznet_bench.errors import BenchError, unknown_name

OURS = "ldznet_bench"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a name stands for, not imported yet.

    Attributes:
        kind: what it names, in words: ``"model"``.
        name: as the user writes it.
        target: ``module:attribute``.
        origin: the package that offers it, with its version where it is not this one.
    """

    kind: str
    name: str
    target: str
    origin: str

    def resolve(self) -> Any:  # noqa: ANN401 - whatever the package registered
        """Import the target.

        Raises:
            BenchError: the target is not of the form ``module:attribute``, its module cannot be imported, or has no such attribute.
        """
        module, _, attribute = self.target.partition(":")
        if not module or not attribute:
            raise self._broken("it is not of the form module:attribute")
        try:
            found: Any = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise self._broken(str(error)) from error
        return found

    def _broken(self, why: str) -> BenchError:
        return BenchError(
            f"{self.kind} {self.name!r} cannot be loaded from {self.target!r}, which {self.origin} registered: {why}.",
            f"Install what it needs, or mend {self.origin}.",
        )


@dataclass(frozen=True, slots=True)
class Registry:
    """All names of one kind.

    Attributes:
        kind: what they name, in words: ``"model"``.
        group: entry point group of other packages.
        own: gives our own names and their targets; called when needed, so that it may read cards.
    """

    kind: str
    group: str
    own: Callable[[], Mapping[str, str]]

    def entries(self) -> dict[str, Entry]:
        """Every name, ours first, then those of other packages in alphabetical order.

        Raises:
            BenchError: two packages offer the same name; which of them was meant is not ours to guess.
        """
        found = {name: Entry(self.kind, name, target, OURS) for name, target in self.own().items()}
        points = sorted(entry_points(group=self.group), key=lambda point: (point.name, point.value))
        for point in points:
            origin = f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unknown package"
            entry = Entry(self.kind, point.name, point.value, origin)
            other = found.setdefault(point.name, entry)
            # The same package can be seen twice (an editable install beside a wheel): one target is one offer.
            if other.target != entry.target:
                raise BenchError(
                    f"{self.kind} {point.name!r} is offered twice: by {other.origin} ({other.target}) and by {origin} ({point.value}).",
                    "Uninstall one of the packages.",
                )
        return found

    def find(self, name: str) -> Entry:
        """The entry of a name.

        Raises:
            BenchError: nothing answers to it (the nearest name is given), or two packages do.
        """
        entries = self.entries()
        if name not in entries:
            raise unknown_name(self.kind, name, entries)
        return entries[name]
