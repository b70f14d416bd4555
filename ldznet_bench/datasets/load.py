"""From a name to a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ldznet_bench.datasets.adapter import Adapter, Progress, Request, open_adapter, plugin_names
from ldznet_bench.datasets.card import DatasetCard, dataset_card, families
from ldznet_bench.datasets.names import DatasetName, parse_name
from ldznet_bench.errors import BenchError, DataError
from ldznet_bench.places import home_folder
from ldznet_bench.share import shared

if TYPE_CHECKING:
    from ldznet_bench.datasets.store import PreparedDataset


def load_dataset(
    name: str,
    *,
    data_root: Path | None = None,
    home: Path | None = None,
    card: Path | None = None,
    word_lists: Path | None = None,
    progress: Progress | None = None,
) -> PreparedDataset:
    """One split of a dataset, prepared on first use and opened from then on.

    Args:
        name: ``phrasecut:test``, ``refcoco:testA``, ``folder:PATH``; see `ldznet_bench.datasets.names`.
        data_root: a release, or a folder of releases; read only. Not needed for bundled sets, ``folder:`` and what was downloaded.
        home: where prepared sets go; the variable LDZNET_BENCH_HOME or ~/.cache/ldznet_bench by default.
        card: the user's own card, in place of the one that comes with the package.
        word_lists: PhraseCut's ``utils/subset.py``, or a JSON of its lists, for its 13 word subsets.
        progress: told how preparing gets on.

    Raises:
        BenchError: unknown name (the nearest is given), or a card that breaks the schema.
        DataError: no release at the root, or a damaged one.
    """
    from ldznet_bench.datasets.prepare import open_or_prepare

    return open_or_prepare(open_source(name, data_root=data_root, home=home, card=card, word_lists=word_lists), progress)


def open_source(
    name: str,
    *,
    data_root: Path | None = None,
    home: Path | None = None,
    card: Path | None = None,
    word_lists: Path | None = None,
) -> Adapter:
    """The adapter at the release of a name, with nothing parsed yet; arguments and errors as `load_dataset`."""
    parsed, its_card = parse_name(name, card)
    place = home_folder(home).expanduser().absolute()
    return open_adapter(Request(parsed, its_card, _root(parsed, its_card, data_root, place), place, word_lists))


@dataclass(frozen=True, slots=True)
class Listed:
    """A dataset as `list` shows it.

    Attributes:
        name: full name.
        title: for people.
        images: how many the card expects, or None.
        phrases: how many the card expects, or None.
        mini: a miniature.
        state: ``bundled``, ``on disk``, ``not found`` (below the data root), ``needs --data-root``, or ``broken plug-in``.
    """

    name: str
    title: str
    images: int | None
    phrases: int | None
    mini: bool
    state: str


def list_datasets(*, data_root: Path | None = None, home: Path | None = None) -> list[Listed]:
    """Every normal split of every card, sorted by family, and whether it could be loaded from here. Reads cards only."""
    return [row for family in families() for row in _listed(family, data_root, home)]


def _listed(family: str, data_root: Path | None, home: Path | None) -> list[Listed]:
    try:
        card = dataset_card(family)
    except BenchError as error:
        if family not in plugin_names():
            raise
        return [Listed(family, str(error), None, None, False, "broken plug-in")]  # another package's fault must not hide everything else
    splits = card.names()
    return [Listed(name, card.title, counts.images, counts.phrases, card.mini, _state(name, card, data_root, home)) for name, counts in splits]


def _state(name: str, card: DatasetCard, data_root: Path | None, home: Path | None) -> str:
    if card.bundled is not None:
        return "bundled"
    try:
        open_source(name, data_root=data_root, home=home)
    except DataError:
        return "needs --data-root" if data_root is None else "not found"
    return "on disk"


def _root(name: DatasetName, card: DatasetCard, data_root: Path | None, home: Path) -> Path:
    """Where the release is looked for: the data root, or without one what `download` put under the home."""
    if name.path is not None:
        return name.path
    if card.bundled is not None:
        return shared("datasets") / card.bundled
    if data_root is not None:
        return Path(data_root).expanduser().absolute()
    if (home / "datasets").is_dir():
        return home / "datasets"
    where = f" ({card.homepage})" if card.homepage else ""
    raise DataError(
        f"{name.full} needs its release, and no data root is given.",
        f"Give --data-root DIR, the folder of the {card.title} release{where} or one that holds several.",
    )
