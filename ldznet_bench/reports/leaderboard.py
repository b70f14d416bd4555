"""A leaderboard is a folder of runs that anybody can check again: each entry holds the records its numbers are made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ldznet_bench.atomic import replacing, write_bytes, write_json
from ldznet_bench.errors import RunError
from ldznet_bench.records import SCHEMA
from ldznet_bench.reports.grid import Options, Table
from ldznet_bench.reports.html import leaderboard as html_table
from ldznet_bench.reports.html import page
from ldznet_bench.reports.measure import check_rules, score_slices
from ldznet_bench.reports.rules import stamps
from ldznet_bench.reports.runs import Run, read_run
from ldznet_bench.reports.table import make_table
from ldznet_bench.reports.text import to_markdown
from ldznet_bench.statistics.bootstrap import number_clusters
from ldznet_bench.statistics.samples import read_batches, read_samples
from ldznet_bench.statistics.slices import COLUMNS, Slices

ENTRIES = "entries"
_DROPPED = ("pred_rle", "score_map")
# Of what a run says about its making: host and command name machines and folders of whoever made it, which are nobody's business.
_PUBLIC = ("commit", "dirty", "finished", "limit", "packages", "python", "shards", "started", "threads")


def add(run: Run, board: Path) -> Path:
    """Check a run and copy it to a leaderboard, without masks and maps.

    Args:
        run: a finished run.
        board: the leaderboard's folder; made where it is new.

    Returns:
        The entry's folder; one that is there already is left as it is.

    Raises:
        RunError: see `check`.
    """
    check(run)
    entry = board / ENTRIES / run.path.name
    if (entry / "run.json").is_file():
        return entry
    entry.mkdir(parents=True, exist_ok=True)
    with replacing(entry / "records.parquet") as temporary, pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
        for batch in read_batches(run.path, SCHEMA.names):
            columns = [pa.nulls(batch.num_rows, field.type) if field.name in _DROPPED else batch.column(field.name) for field in SCHEMA]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))
    provenance = {key: value for key, value in run.about.get("provenance", {}).items() if key in _PUBLIC}
    write_json(entry / "summary.json", run.summary)
    write_json(entry / "run.json", {**run.about, "provenance": provenance})  # last: an entry without it does not count
    return entry


def entries(board: Path) -> list[Run]:
    """The runs of a leaderboard.

    Raises:
        RunError: the folder does not exist, or an entry cannot be read.
    """
    if not board.is_dir():
        raise RunError(f"{board} is not a leaderboard folder.", "Make one with `ldznet-bench leaderboard add RUN --to DIR`.")
    return [read_run(path.parent) for path in sorted((board / ENTRIES).glob("*/run.json"))]


def check(run: Run) -> None:
    """Make every number of a run again from its records, and its identity from what it states.

    Raises:
        RunError: the run is partial, limited, dirty or left samples out; its rules are not this version's; or something that it states does
            not follow from its records.
    """
    wrong = stamps(run)
    if wrong:
        remedy = "Run the whole cell from a clean checkout on a whole release."
        raise RunError(f"{run.path} is {' and '.join(wrong)}: such runs stay out of leaderboards.", remedy)
    if run.control is not None:
        raise RunError(f"{run.path} was made under the phrase control {run.control}: such runs stay out of leaderboards.", "Add the plain run.")
    check_rules(run)
    identity = run.about.get("identity")
    if not isinstance(identity, dict) or _digest(identity) != run.summary.get("identity"):
        raise RunError(f"{run.path}: the identity in run.json is not the one in summary.json.", "One of them was edited: run the cell again.")
    for key in ("dataset", "protocol", "model", "fingerprint"):
        if identity.get(key) != run.summary.get(key):
            raise RunError(
                f"{run.path}: {key} is {identity.get(key)!r} in run.json, {run.summary.get(key)!r} in summary.json.", "Run the cell again."
            )
    _compare(run, "", run.summary, _recomputed(run))


def build(board: Path, *, resamples: int = 10_000) -> list[Path]:
    """Write ``LEADERBOARD.md`` and ``index.html``: a table per dataset and protocol, best first, with intervals and ties.

    Args:
        board: the leaderboard's folder.
        resamples: bootstrap draws.

    Returns:
        The files.

    Raises:
        RunError: no entries, or entries that cannot stand in one column.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in entries(board):
        groups.setdefault((run.dataset, run.protocol), []).append(run)
    if not groups:
        raise RunError(f"{board} has no entries.", "Add one with `ldznet-bench leaderboard add RUN --to DIR`.")
    options = Options(metrics=("all",), strict=True, intervals=True, order="score", resamples=resamples)
    tables = {f"{name} under {protocol}": make_table(runs, options) for (name, protocol), runs in sorted(groups.items())}
    markdown, html = board / "LEADERBOARD.md", board / "index.html"
    write_bytes(markdown, _markdown(tables).encode())
    write_bytes(html, page("Leaderboard", _html(tables)).encode())
    return [markdown, html]


def _markdown(tables: Mapping[str, Table]) -> str:
    parts = [f"## {title}\n\n{to_markdown(table)}" for title, table in tables.items()]
    return (
        "# Leaderboard\n\nMade by `ldznet-bench leaderboard build`; `leaderboard check` makes every number again from the records.\n\n"
        + "\n".join(parts)
    )


def _html(tables: Mapping[str, Table]) -> str:
    from html import escape

    # An id may stand once on a page; the script finds each table's own by the number behind it.
    parts = []
    for index, (title, table) in enumerate(tables.items()):
        text = html_table(table).replace("<h2", "<h3").replace("</h2>", "</h3>")
        if index:
            for ident in ("scores", "filter", "matches", "board"):
                text = text.replace(f'"{ident}"', f'"{ident}{index}"')
        parts.append(f"<h2>{escape(title)}</h2>\n{text}")
    return "<h1>Leaderboard</h1>\n" + "\n".join(parts)


def _recomputed(run: Run) -> dict[str, Any]:
    samples = read_samples(run.path, columns=COLUMNS)
    slices = Slices(samples.table).by("tags")
    everything = [("", slices[0][1] | True)] if slices else [("", samples.sample_id == samples.sample_id)]
    (n, metrics), *parts = score_slices(run, [*everything, *slices], samples.order)
    return {
        "n_samples": n,
        "n_images": number_clusters(samples.image_id)[1],
        "metrics": metrics,
        "slices": {name: {"n_samples": count, "metrics": values} for (name, _), (count, values) in zip(slices, parts, strict=True)},
    }


def _compare(run: Run, where: str, stated: Any, found: Any) -> None:  # noqa: ANN401 - JSON values
    if isinstance(found, dict):
        if where and isinstance(stated, dict) and set(stated) != set(found):
            odd = sorted(set(stated) ^ set(found))[0]
            raise RunError(f"{run.path}: {where} differ between summary.json and the records: {odd}.", "Run the cell again.")
        for key, value in found.items():
            _compare(run, f"{where} {key}".strip(), stated.get(key) if isinstance(stated, dict) else None, value)
    elif stated != found:
        raise RunError(
            f"{run.path}: summary.json states {where} = {stated}, its records make {found}.", "It was edited, or records were: run the cell again."
        )


def _digest(identity: Mapping[str, Any]) -> str:
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def check_all(board: Path) -> Sequence[Run]:
    """Check every entry of a leaderboard.

    Returns:
        The entries.

    Raises:
        RunError: see `check`.
    """
    runs = entries(board)
    for run in runs:
        check(run)
        if run.path.name != run.summary["identity"]:
            raise RunError(f"{run.path} holds the run {run.summary['identity']}.", "Add runs with `ldznet-bench leaderboard add`.")
    return runs
