"""``ldznet-bench info``."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import click

from ldznet_bench.cli import options
from ldznet_bench.cli.data import data_options, open_datasets


@click.command(context_settings={"max_content_width": 110})
@click.argument("name")
@options.together(data_options, options.as_json)
def command(name: str, as_json: bool, **given: Any) -> int:  # noqa: ANN401 - options
    """Everything about one dataset, model or protocol.

    For a dataset:split that is at hand (--data-root) also its counts, fingerprint, phrases per image, and histograms of mask sizes and phrase
    lengths.

    \b
    Examples:
      ldznet-bench info clipseg
      ldznet-bench info clipseg@1
      ldznet-bench info phrasecut
      ldznet-bench info phrasecut:test --data-root RELEASES
    """
    from ldznet_bench.atomic import dump_json

    found = _find(name, given)
    click.echo(dump_json(found) if as_json else _text(found), nl=False)
    return 0


def _find(name: str, given: dict[str, Any]) -> dict[str, Any]:
    from ldznet_bench.datasets.card import families
    from ldznet_bench.errors import unknown_name
    from ldznet_bench.models.load import MODELS, parse_model_name
    from ldznet_bench.protocols import PROTOCOLS, get_protocol

    if "@" in name:
        return _plain(get_protocol(name))
    models, heads = list(MODELS.entries()), families()
    if ":" in name or name in heads or any(name.startswith(f"{head}-") for head in heads):
        return _dataset(name, given)
    if name in models or ("/" in name or "+" in name):
        return _model(parse_model_name(name).family)
    raise unknown_name("dataset, model or protocol", name, [*heads, *models, *PROTOCOLS])


def _model(family: str) -> dict[str, Any]:
    from ldznet_bench.models.card import model_card
    from ldznet_bench.models.load import MODELS
    from ldznet_bench.registry import OURS

    entry = MODELS.entries().get(family)
    if entry is not None and entry.origin != OURS:
        return {"name": entry.name, "status": "external", "origin": entry.origin, "factory": entry.target}
    return _plain(model_card(family))


def _dataset(name: str, given: dict[str, Any]) -> dict[str, Any]:
    from ldznet_bench.datasets.card import dataset_card, families
    from ldznet_bench.datasets.names import parse_name

    if ":" in name:
        family = parse_name(name)[0].family
    else:
        family = max((head for head in families() if name == head or name.startswith(f"{head}-")), key=len)
    its_card = dataset_card(family)
    about = {key: value for key, value in _plain(its_card).items() if key != "files"}
    if ":" not in name or (given["data_root"] is None and not _was_downloaded(name, given)):
        return about
    return {**about, "at_hand": _at_hand(name, given)}


def _was_downloaded(name: str, given: dict[str, Any]) -> bool:
    """Whether a release can be found without a data root: bundled, a folder, or below the home."""
    from ldznet_bench.datasets.load import open_source
    from ldznet_bench.errors import DataError

    try:
        open_source(name, home=given["home"])
    except DataError:
        return False
    return True


def _at_hand(name: str, given: dict[str, Any]) -> dict[str, Any]:
    from ldznet_bench.datasets.stats import dataset_stats

    data = open_datasets([name], given, quiet=True)[0]
    return {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "images": data.n_images,
        "samples": data.n_samples,
        "partial": list(data.partial),
        "release": data.release,
        "absent_slices": {reason: [tag for tag in data.absent_tags if data.absent_tags[tag] == reason] for reason in data.absent_tags.values()},
        "oddities": data.oddities(),
        "problems": [{"image": image, "path": str(path), "problem": text} for image, path, text in data.problems()],
        **_plain(dataset_stats(data)),
    }


def _plain(record: Any) -> dict[str, Any]:  # noqa: ANN401 - any dataclass
    """A dataclass as a tree of plain JSON values."""
    tree: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(record), default=str))
    return tree


def _text(found: dict[str, Any]) -> str:
    return "".join(_lines(key, value, 0) for key, value in found.items() if value not in (None, "", [], {}))


def _lines(key: str, value: Any, depth: int) -> str:  # noqa: ANN401 - a JSON value
    pad, name = "  " * depth, key
    if isinstance(value, dict):
        if _is_histogram(value):
            return f"{pad}{name}:\n" + _histogram(value, depth + 1)
        return f"{pad}{name}:\n" + "".join(_lines(str(inner), item, depth + 1) for inner, item in value.items() if item not in (None, "", [], {}))
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return f"{pad}{name}:\n" + "".join(f"{pad}  - {_flat(item)}\n" for item in value)
    if isinstance(value, list) and any(len(str(item)) > 30 for item in value):
        return f"{pad}{name}:\n" + "".join(f"{pad}  - {item}\n" for item in value)
    shown = ", ".join(str(item) for item in value) if isinstance(value, list) else str(value).strip().replace("\n", f"\n{pad}  ")
    return f"{pad}{name}: {shown}\n"


def _flat(value: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {item}" for key, item in value.items() if item not in (None, "", [], {}))


def _is_histogram(value: dict[str, Any]) -> bool:
    return len(value) > 2 and all(isinstance(count, int) and not isinstance(count, bool) for count in value.values())


def _histogram(value: dict[str, int], depth: int) -> str:
    """A line per bin, with a bar as long as its share of the largest."""
    width, top = max(len(key) for key in value), max(1, *value.values())
    return "".join(f"{'  ' * depth}{key:>{width}}  {count:>8,}  {'#' * round(40 * count / top)}\n" for key, count in value.items())
