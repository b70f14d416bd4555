"""``ldznet-bench list``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ldznet_bench.cli import options

WHAT = ("models", "datasets", "protocols", "controls")


@click.command(context_settings={"max_content_width": 110})
@click.argument("what", nargs=-1, type=click.Choice(WHAT))
@options.together(options.data_root, options.home, options.weights, options.as_json)
def command(what: tuple[str, ...], data_root: Path | None, home: Path | None, weights: tuple[str, ...], as_json: bool) -> int:
    """Models, datasets, protocols and phrase controls, and what is on disk.

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
    if "controls" in wanted:
        found["controls"] = _controls()
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
            "bytes": _weights_size(row.name, home),
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
            "state": row.state if data_root is not None else _state(row.name, row.state, home),
            "bytes": _release_size(row.name, home) if row.state == "on disk" and data_root is None else None,
            "title": row.title + (" (miniature)" if row.mini else ""),
        }
        for row in list_datasets(data_root=data_root, home=home)
    ]


def _weights_size(name: str, home: Path) -> int | None:
    """Bytes of the parts that `download` fetched for a model; None where there are none."""
    from ldznet_bench.acquisition.home import Home
    from ldznet_bench.acquisition.status import size_on_disk
    from ldznet_bench.models.card import model_card, own_models

    parts = model_card(name).parts if name in own_models() else {}
    return sum(size_on_disk(Home(home), home / "weights" / part) or 0 for part in parts) or None


def _state(name: str, state: str, home: Path) -> str:
    """Of a release that `download` fetched for some splits, the others have their annotations only."""
    from ldznet_bench.acquisition.home import Home

    return "annotations only" if state == "on disk" and not Home(home).prepared_set(name).is_dir() else state


def _release_size(name: str, home: Path) -> int | None:
    """Bytes of the release that `download` fetched; families that share a release (REFER) share its size."""
    from ldznet_bench.acquisition.home import Home
    from ldznet_bench.acquisition.status import size_on_disk
    from ldznet_bench.datasets.names import parse_name

    files = parse_name(name)[1].files
    return None if files is None else size_on_disk(Home(home), home / "datasets" / files.root)


def _protocols() -> list[dict[str, Any]]:
    from ldznet_bench.protocols import PROTOCOLS

    return [
        {"name": protocol.full_name, "status": protocol.status, "metrics": list(protocol.metrics), "summary": protocol.summary}
        for protocol in PROTOCOLS.values()
    ]


def _controls() -> list[dict[str, Any]]:
    from ldznet_bench.evaluation.controls import CONTROLS

    return [{"name": name, "summary": summary} for name, summary in CONTROLS.items()]


def _text(found: dict[str, list[dict[str, Any]]]) -> str:
    return "\n".join(_block(title, rows) for title, rows in found.items())


def _block(title: str, rows: list[dict[str, Any]]) -> str:
    """Columns as wide as their longest entry; the last one runs on."""
    table = [[_size(value) if key == "bytes" else _cell(value) for key, value in row.items()] for row in rows]
    widths = [max((len(line[column]) for line in table), default=0) for column in range(len(rows[0]) if rows else 0)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in table]
    return f"{title}\n" + "".join(f"  {line}\n" for line in lines)


def _cell(value: Any) -> str:  # noqa: ANN401 - a JSON value
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "-"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _size(value: int | None) -> str:
    from ldznet_bench.acquisition.specs import format_size

    return "-" if value is None else format_size(value)
