"""Makes the labelled splits: ``python -m ldznet_bench.minicut.generate --to DIR``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ldznet_bench.atomic import write_bytes
from ldznet_bench.errors import BenchError, unknown_name
from ldznet_bench.minicut.pack import packed, row_of
from ldznet_bench.minicut.splits import SIZES, labelled, split_names


def file_name(domain: str, split: str) -> str:
    """The file of a split: ``photo-train.parquet``."""
    return f"{domain}-{split}.parquet"


def make_split(domain: str, split: str) -> bytes:
    """A whole split as its file's bytes."""
    return packed(row_of(labelled(domain, split, index)) for index in range(SIZES[split]))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; see its ``--help``."""
    parser = argparse.ArgumentParser(
        prog="python -m ldznet_bench.minicut.generate",
        description="Makes the labelled splits of minicut from nothing: the bundled bytes under the pinned Pillow and pyarrow.",
        epilog="Example: python -m ldznet_bench.minicut.generate --to /tmp/minicut --only photo:test",
    )
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="folder that the files go to; made where absent")
    parser.add_argument(
        "--only", metavar="DOMAIN:SPLIT", help="one split, such as art:val (default: photo, art and refer; gen needs a diffusion model)"
    )
    given = parser.parse_args(arguments)
    # The pictures of gen come out of a network, so they are made where networks may be known.
    names = {f"{domain}:{split}": (domain, split) for domain, split in split_names() if domain != "gen"}
    try:
        if given.only is not None and given.only not in names:
            raise unknown_name("split", given.only, names)
        for name in [given.only] if given.only is not None else names:
            target = given.to / file_name(*names[name])
            write_bytes(target, make_split(*names[name]))
            sys.stdout.write(f"{target}\n")
    except BenchError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
