"""The one thing that a new source format brings: an adapter that yields its samples. Adapters are found by name and imported when used."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ldznet_bench.errors import BenchError, unknown_name

if TYPE_CHECKING:
    from ldznet_bench.datasets.card import DatasetCard
    from ldznet_bench.datasets.names import DatasetName
    from ldznet_bench.datasets.sample import ImageFile, Sample

GROUP = "ldznet_bench.datasets"
FORMATS = {
    "phrasecut": "ldznet_bench.datasets.phrasecut:PhraseCut",
    "refer": "ldznet_bench.datasets.refer:Refer",
    "grefer": "ldznet_bench.datasets.grefer:GRefer",
    "refcoco-m": "ldznet_bench.datasets.refcoco_m:RefCocoM",
    "reasonseg": "ldznet_bench.datasets.reasonseg:ReasonSeg",
    "phrasecut-negatives": "ldznet_bench.datasets.phrasecut_negatives:PhraseCutNegatives",
    "aigi": "ldznet_bench.datasets.aigi:Aigi",
    "folder": "ldznet_bench.datasets.folder:Folder",
    "packed": "ldznet_bench.datasets.packed:Packed",
}

Progress = Callable[[str, int, int | None], None]
"""Called with a stage in words, how many are done, and how many there are (None while unknown)."""


@dataclass(frozen=True, slots=True)
class Request:
    """What an adapter is asked for.

    Attributes:
        name: family, partition and split.
        card: the family's card.
        root: ``--data-root``: a release or a folder of releases; the folder itself for ``folder:`` and bundled sets. Read only.
        home: ``--home``; an adapter may look there for side files, and unpacks there what has no files of its own, nothing else.
        word_lists: PhraseCut's ``utils/subset.py`` or a JSON of its lists, where the user named one.
    """

    name: DatasetName
    card: DatasetCard
    root: Path
    home: Path
    word_lists: Path | None = None


class Adapter(ABC):
    """Reads one split of one release.

    Making one finds the release and raises `DataError` where it is not, but parses nothing: what it costs is paid each time a prepared
    set is opened.

    Attributes:
        version: grows when the same release would give other samples, so that prepared sets are made anew.
        absent_tags: tags that this release cannot give, each with the reason; such a tag is unknown, not false.
    """

    version: ClassVar[int]

    def __init__(self, request: Request) -> None:
        self.request = request
        self.absent_tags: dict[str, str] = {}

    @classmethod
    def card(cls) -> Path | None:
        """The card of a plug-in's dataset; None for formats that come with cards of their own."""
        return None

    @abstractmethod
    def files(self) -> Sequence[Path]:
        """Every source file that decides a sample, images aside, in a stable order; when one changes, the set is prepared anew."""

    @abstractmethod
    def rows(self) -> Iterator[tuple[ImageFile, Sample]]:
        """Samples in source order with their image. Grouping by image, image checks and hashes are the store's work.

        Raises:
            DataError: something in a source file is not what the format says; file, position and id are named.
        """


def open_adapter(request: Request) -> Adapter:
    """The adapter of the card's format, at work on the request.

    Raises:
        BenchError: no such format, or the plug-in cannot be imported.
        DataError: no release of this kind at the root.
    """
    return adapter_class(request.card.format)(request)


def adapter_class(name: str) -> type[Adapter]:
    """The class behind a format's name, imported now."""
    target = FORMATS.get(name) or _plugins().get(name)
    if target is None:
        raise unknown_name("dataset format", name, [*FORMATS, *_plugins()])
    module, _, attribute = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BenchError(f"the dataset format {name!r} ({target}) cannot be imported: {error}.", "Mend or remove that package.") from error
    if not (isinstance(found, type) and issubclass(found, Adapter)):
        raise BenchError(
            f"{target}, registered as dataset format {name!r}, is no Adapter.", "It must subclass ldznet_bench.datasets.adapter.Adapter."
        )
    return found


def plugin_names() -> list[str]:
    """Names that other packages registered; nothing of theirs is imported."""
    return sorted(_plugins())


def plugin_card(family: str) -> Path | None:
    """The card of a plug-in's dataset, or None where no plug-in has that name."""
    return adapter_class(family).card() if family in _plugins() else None


@functools.cache
def _plugins() -> dict[str, str]:
    return {entry.name: entry.value for entry in importlib.metadata.entry_points(group=GROUP)}
