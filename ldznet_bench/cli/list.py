"""``ldznet-bench list``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ldznet_bench.cli import options

WHAT = ("models", "datasets", "protocols")


@click.command(context_settings={"max_content_width": 110})
@click.argument("what", nargs=-1, type=click.Choice(WHAT))
@options.together(options.data_root, options.home, options.weights, options.as_json)
def command(what: tuple[str, ...], data_root: Path | None, home: Path | None, weights: tuple[str, ...], as_json: bool) -> int:
    """Models, datasets and protocols, and what is on disk.

    With --data-root it says which releases are there; with --weights which models can run.

    \b
    Examples:
      ldznet-bench list
      ldznet-bench list datasets --data-root RELEASES
      ldznet-bench list models --json
    """
    from ldznet_bench.atomic import dump_json
    from ldznet_bench.places import home_folder

    wanted = what or WHAT
    found: dict[str, list[dict[str, Any]]] = {}
    if "models" in wanted:
        found["models"] = _models(options.pairs(weights), home_folder(home))
    if "datasets" in wanted:
        found["datasets"] = _datasets(data_root, home_folder(home))
    if "protocols" in wanted:
        found["protocols"] = _protocols()
    click.echo(dump_json(found) if as_json else _text(found), nl=False)
    return 0


def _models(weights: dict[str, Path], home: Path) -> list[dict[str, Any]]:
    from ldznet_bench.models.load import list_models

    return [
        {
            "name": row.name,
            "status": row.status,
            "recipes": list(row.recipes),
            "state": "ready" if row.ready else row.reason or "says when it is loaded",
            "title": row.title,
        }
        for row in list_models(weights=weights, home=home)
    ]


def _datasets(data_root: Path | None, home: Path) -> list[dict[str, Any]]:
    from ldznet_bench.datasets.load import list_datasets

    return [
        {
            "name": row.name,
            "images": row.images,
            "phrases": row.phrases,
            "state": row.state,
            "title": row.title + (" (miniature)" if row.mini else ""),
        }
        for row in list_datasets(data_root=data_root, home=home)
    ]


def _protocols() -> list[dict[str, Any]]:
    from ldznet_bench.protocols import PROTOCOLS

    return [
        {"name": protocol.full_name, "status": protocol.status, "metrics": list(protocol.metrics), "summary": protocol.summary}
        for protocol in PROTOCOLS.values()
    ]


def _text(found: dict[str, list[dict[str, Any]]]) -> str:
    return "\n".join(_block(title, rows) for title, rows in found.items())


def _block(title: str, rows: list[dict[str, Any]]) -> str:
    """Columns as wide as their longest entry; the last one runs on."""
    table = [[_cell(value) for value in row.values()] for row in rows]
    widths = [max((len(line[column]) for line in table), default=0) for column in range(len(rows[0]) if rows else 0)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in table]
    return f"{title}\n" + "".join(f"  {line}\n" for line in lines)


def _cell(value: Any) -> str:  # noqa: ANN401 - a JSON value
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "-"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
