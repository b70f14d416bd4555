"""Makes the labelled splits: ``python -m ldznet_bench.minicut.generate --to DIR``."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from ldznet_bench.atomic import write_bytes, write_json
from ldznet_bench.errors import BenchError, unknown_name
from ldznet_bench.minicut.pack import packed, row_of
from ldznet_bench.minicut.redraw import Redraw, redrawn_split
from ldznet_bench.minicut.splits import SIZES, labelled, split_names

_EPILOG = """examples:
  python -m ldznet_bench.minicut.generate --to DIR
  python -m ldznet_bench.minicut.generate --to DIR --only photo:test
  python -m ldznet_bench.minicut.generate --to DIR --only gen:test --redraw my_package.my_module:function
"""


def file_name(domain: str, split: str) -> str:
    """The file of a split: ``photo-train.parquet``."""
    return f"{domain}-{split}.parquet"


def make_split(domain: str, split: str) -> bytes:
    """A whole split as its file's bytes; of every domain but ``gen``, whose pictures a network makes."""
    return packed(row_of(labelled(domain, split, index)) for index in range(SIZES[split]))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; see its ``--help``."""
    given = _parser().parse_args(arguments)
    names = {f"{domain}:{split}": (domain, split) for domain, split in split_names()}
    try:
        if given.only is not None and given.only not in names:
            raise unknown_name("split", given.only, names)
        wanted = [name for name in names if (given.redraw is not None) == name.startswith("gen:")] if given.only is None else [given.only]
        redraw = _imported(given.redraw) if given.redraw is not None else None
        for name in wanted:
            _write(given.to, *names[name], redraw)
    except BenchError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ldznet_bench.minicut.generate",
        description="Makes the labelled splits of minicut from nothing: the bundled bytes under the pinned Pillow and pyarrow.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="folder that the files go to; made where absent")
    parser.add_argument("--only", metavar="DOMAIN:SPLIT", help="one split, such as art:val [default: all of photo, art and refer]")
    parser.add_argument(
        "--redraw",
        metavar="MODULE:FUNCTION",
        help="the diffusion model that paints gen's scenes over: from uint8 (B, 96, 96, 3) and B captions to the same; with it alone, all of gen",
    )
    return parser


def _write(folder: Path, domain: str, split: str, redraw: Redraw | None) -> None:
    target = folder / file_name(domain, split)
    if domain != "gen":
        content = make_split(domain, split)
    elif redraw is None:
        raise BenchError(f"gen:{split} is made by a diffusion model, and none is given.", "Name it with --redraw MODULE:FUNCTION.")
    else:
        content, drift = redrawn_split(split, redraw)
        write_json(target.with_suffix(".drift.json"), dataclasses.asdict(drift))
    write_bytes(target, content)
    sys.stdout.write(f"{target}\n")


def _imported(name: str) -> Redraw:
    module, _, attribute = name.partition(":")
    try:
        found: Redraw = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise BenchError(
            f"--redraw {name!r} cannot be imported: {error}.", "Write MODULE:FUNCTION, such as my_package.my_module:function."
        ) from error
    return found


if __name__ == "__main__":
    sys.exit(main())
