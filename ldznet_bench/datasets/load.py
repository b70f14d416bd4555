"""From a name to a dataset."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ldznet_bench.datasets.adapter import Adapter, Progress, Request, open_adapter
from ldznet_bench.datasets.card import DatasetCard, Split, dataset_card, families
from ldznet_bench.datasets.names import DatasetName, parse_name
from ldznet_bench.errors import DataError
from ldznet_bench.share import shared

if TYPE_CHECKING:
    from ldznet_bench.datasets.store import PreparedDataset

HOME_VARIABLE = "LDZNET_BENCH_HOME"


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
        data_root: a release, or a folder of releases; read only. Not needed for bundled sets and ``folder:``.
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
    root = _root(parsed, its_card, data_root)
    return open_adapter(Request(parsed, its_card, root, home_folder(home), word_lists))


def home_folder(home: Path | None = None) -> Path:
    """``--home``, or LDZNET_BENCH_HOME, or ~/.cache/ldznet_bench; absolute."""
    stated = home if home is not None else os.environ.get(HOME_VARIABLE) or Path.home() / ".cache" / "ldznet_bench"
    return Path(stated).expanduser().absolute()


@dataclass(frozen=True, slots=True)
class Listed:
    """A dataset as `list` shows it.

    Attributes:
        name: full name.
        title: for people.
        counts: what the card expects.
        mini: a miniature.
        bundled: ships with the package, so that it needs no data root.
    """

    name: str
    title: str
    counts: Split
    mini: bool
    bundled: bool


def list_datasets() -> list[Listed]:
    """Every split of every card, sorted by family; datasets of other packages are listed by their own cards. Reads cards only."""
    cards = [dataset_card(family) for family in families()]
    return [Listed(name, card.title, counts, card.mini, card.bundled is not None) for card in cards for name, counts in card.names()]


def is_on_disk(name: str, data_root: Path | None = None) -> bool:
    """Whether a dataset could be loaded from here: its release is found; nothing is read."""
    try:
        open_source(name, data_root=data_root)
    except DataError:
        return False
    return True


def _root(name: DatasetName, card: DatasetCard, data_root: Path | None) -> Path:
    if name.path is not None:
        return name.path
    if card.bundled is not None:
        return shared("datasets") / card.bundled
    if data_root is None:
        raise DataError(
            f"{name.full} needs its release, and no data root is given.",
            f"Give --data-root DIR, the folder of the {card.title} release or one that holds several ({card.homepage}).",
        )
    return Path(data_root).expanduser().absolute()
