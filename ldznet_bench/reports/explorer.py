"""Every sample of a section as data for the page's script: any of them can be found and opened; pictures are there for the shown ones alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from ldznet_bench.metrics.scores import sample_iou
from ldznet_bench.protocols import Protocol
from ldznet_bench.reports.gallery import Shown
from ldznet_bench.statistics.paired import common_ids, restrict
from ldznet_bench.statistics.samples import Samples


def section_data(samples: Mapping[str, Samples], rules: Protocol, gallery: Sequence[Shown], judges: Sequence[int]) -> tuple[str, dict[str, int]]:
    """What the script knows of a section, and the row of each sample.

    Args:
        samples: by model label, with `slices.COLUMNS`; of one dataset and protocol.
        rules: of the protocol.
        gallery: samples whose pictures are on the page.
        judges: positions of the models that mean scores are over.

    Returns:
        JSON that may stand inside a ``script`` element (no ``<`` in it), and row by sample id.
    """
    ids = common_ids(list(samples.values()))
    restricted = {name: restrict(item, ids) for name, item in samples.items()}
    first = next(iter(restricted.values()))
    rows = {str(ident): row for row, ident in enumerate(ids.tolist())}
    columns = first.table.select(["phrase", "tags", "category", "n_instances", "width", "height"]).to_pydict()
    tag_names = sorted({tag for tags in columns["tags"] for tag in tags} - {"all"})
    place = {tag: index for index, tag in enumerate(tag_names)}
    area = np.maximum(1, np.asarray(columns["width"], dtype=float) * np.asarray(columns["height"], dtype=float))
    data = {
        "models": list(samples),
        "judges": list(judges),
        "tagNames": tag_names,
        "id": ids.tolist(),
        "image": first.image_id.tolist(),
        "phrase": columns["phrase"],
        "category": columns["category"],
        "tags": [[place[tag] for tag in tags if tag in place] for tags in columns["tags"]],
        "instances": columns["n_instances"],
        "share": _hundredths(first.counts.gt_area / area),
        "iou": [_hundredths(sample_iou(item.counts.intersection, item.counts.union, rules)) for item in restricted.values()],
        "pictures": {rows[item.sample_id]: _pictures(item, list(samples)) for item in gallery if item.image},
    }
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"), rows


def explorer(index: int, n: int, models: Sequence[str]) -> str:
    """Search, order and pages over all samples of a section; the script fills the table when it is opened."""
    orders = [("low", "mean IoU, lowest first"), ("high", "mean IoU, highest first"), ("spread", "most disputed first"), ("id", "sample id")]
    orders += [(str(place), f"{name}, lowest first") for place, name in enumerate(models)]
    choices = "".join(f'<option value="{value}">{escape(text)}</option>' for value, text in orders)
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in models)
    return (
        f'<details class="explorer" data-section="{index}"><summary>All {n:,} samples: search, order and open any of them</summary>\n'
        f'<p class="controls"><label>Search <input type="search" placeholder="phrase, id, category or tag" autocomplete="off"></label>'
        f' <label>Order <select>{choices}</select></label> <output aria-live="polite"></output></p>\n'
        f'<div class="wide" tabindex="0" role="region" aria-label="Samples"><table><thead><tr><th scope="col">phrase</th><th scope="col">sample</th>'
        f'<th scope="col">mean IoU</th>{heads}</tr></thead><tbody></tbody></table></div>\n'
        '<p class="pages"><button type="button" class="back">Previous page</button> <span></span> '
        '<button type="button" class="next">Next page</button></p></details>'
    )


def viewer() -> str:
    """The one dialog that every sample opens in."""
    return (
        '<dialog id="viewer" aria-labelledby="viewer-phrase"><h4 id="viewer-phrase"></h4><p class="facts"></p><div class="layers"></div>'
        '<div class="wide"><table><thead><tr><th scope="col">model</th><th scope="col">IoU</th><th></th></tr></thead><tbody></tbody></table></div>'
        '<p class="pages"><button type="button" class="back">Previous sample</button> <button type="button" class="next">Next sample</button> '
        '<button type="button" class="close">Close</button></p></dialog>'
    )


def _pictures(item: Shown, models: Sequence[str]) -> dict[str, object]:
    return {
        "size": item.size,
        "truth": item.truth,
        "masks": [item.masks.get(name) for name in models],
        "maps": [item.maps.get(name) for name in models],
    }


def _hundredths(values: npt.NDArray[np.float64]) -> list[int]:
    """Of a percent: as exact as the page prints, and a third of the characters."""
    hundredths: list[int] = np.rint(values * 10_000).astype(int).tolist()
    return hundredths
