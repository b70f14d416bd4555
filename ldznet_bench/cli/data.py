"""Opening datasets for a verb: the options that say where they are, and progress while they are prepared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ldznet_bench.cli import options

if TYPE_CHECKING:
    from ldznet_bench.datasets.store import PreparedDataset

data_options = options.together(
    options.data_root,
    options.home,
    click.option(
        "--card", "cards", multiple=True, type=click.Path(path_type=Path), metavar="FILE", help="Stands in for a dataset's card (counts, partitions)."
    ),
    click.option(
        "--word-lists",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="PhraseCut's own utils/subset.py: 13 of its 43 subsets need its word lists. Read, never executed.",
    ),
    options.offline,
)
ASKED = ("data_root", "home", "cards", "word_lists")


def open_datasets(names: list[str], given: dict[str, Any], *, quiet: bool) -> list[PreparedDataset]:
    """Open datasets by name, preparing what is new, each with the one of the user's cards that is for its family.

    Args:
        names: as the user wrote them.
        given: the values of `data_options`.
        quiet: no progress.
    """
    from ldznet_bench.api import load_dataset
    from ldznet_bench.cards import read_card
    from ldznet_bench.cli.lean import arrow_without_pandas
    from ldznet_bench.datasets.card import DatasetCard

    arrow_without_pandas()
    cards = {read_card(path, DatasetCard).family: path for path in given["cards"]}
    progress = None if quiet or not sys.stderr.isatty() else _Preparing()
    opened = []
    for name in names:
        head = name.split(":")[0]
        family = max((family for family in cards if head == family or head.startswith(f"{family}-")), key=len, default="")
        places = {key: given[key] for key in ("data_root", "home", "word_lists")}
        data = load_dataset(name, card=cards.get(family), progress=progress, **places)
        if data.partial and not quiet:
            click.echo(f"{data.name} is stamped partial: {'; '.join(data.partial)}.", err=True)
        opened.append(data)
    return opened


class _Preparing:
    """A bar per stage."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._stage = ""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        from tqdm import tqdm

        if stage != self._stage:
            self._close()
            self._bar, self._stage = tqdm(total=total, desc=stage, leave=False), stage
        self._bar.update(done - self._bar.n)
        if done == total:
            self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar, self._stage = None, ""
