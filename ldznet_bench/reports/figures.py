"""Figures for papers: vector PDF and PNG, fonts embedded, column widths, colours that colour-blind readers can tell apart."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ldznet_bench.atomic import replacing
from ldznet_bench.errors import BenchError
from ldznet_bench.metrics.scores import sample_iou
from ldznet_bench.protocols import get_protocol
from ldznet_bench.reports.gallery import choose_samples
from ldznet_bench.reports.grid import metric_title
from ldznet_bench.reports.pictures import Dataset, fit, picture, predictions
from ldznet_bench.reports.runs import Run
from ldznet_bench.reports.svg import COLOURS, DASHES
from ldznet_bench.statistics.bootstrap import number_clusters
from ldznet_bench.statistics.curves import calibration, curves
from ldznet_bench.statistics.estimators import add_up
from ldznet_bench.statistics.paired import common_ids, restrict
from ldznet_bench.statistics.samples import Samples, read_samples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ldznet_bench.reports.controls import Listener

Width = Literal["single", "double"]
WIDTHS: dict[Width, float] = {"single": 3.25, "double": 6.875}  # inches, of a column and of a page of CVPR's template
_SIZES = np.geomspace(0.001, 1, 10)
_FEWEST = 5  # samples that a point of the size curve stands for


def write_figures(folder: Path, runs: Sequence[Run], datasets: Mapping[str, Dataset], *, width: Width = "single", rows: int = 4) -> list[Path]:
    """Draw what the runs allow: PR and reliability curves, mIoU against object size, differences per image of two runs, qualitative grids.

    Args:
        folder: that PDFs and PNGs are written to.
        runs: finished ones; a set of figures per dataset and protocol.
        datasets: prepared sets by name, for grids.
        width: of a paper's column.
        rows: samples of a grid, from the worst to the best.

    Returns:
        The files.

    Raises:
        BenchError: matplotlib is not installed, or a folder that cannot be written.
    """
    _require_matplotlib()
    groups: dict[tuple[str, str], dict[str, Run]] = {}
    for run in runs:
        members = groups.setdefault((run.dataset, run.protocol), {})
        members[run.model if run.model not in members else f"{run.model} [{run.path.name}]"] = run
    files = []
    for (name, protocol), members in sorted(groups.items()):
        stem = f"{name}-{protocol}".replace(":", "-").replace("/", "-")
        samples = {label: _read(run) for label, run in members.items()}
        figures = {"pr": _pr(samples, protocol, width), "reliability": _reliability(samples, protocol, width)}
        figures |= {"size": _size(samples, protocol, width), "images": _images(samples, protocol, width)}
        if name in datasets:
            figures["grid"] = _grid(samples, members, datasets[name], rows)
        files += [file for kind, figure in figures.items() if figure is not None for file in _save(figure, folder / f"{stem}-{kind}")]
    return files


def draw_controls(found: Sequence[Listener], stem: Path) -> list[Path]:
    """One figure of what words are worth: a group of bars per control, a bar per model, as high as the share of the plain score that is left.

    Args:
        found: at least one model; those whose plain score is 0 have no bars.
        stem: path of the files without their suffix.

    Returns:
        A PDF and a PNG.

    Raises:
        BenchError: matplotlib is not installed, or a folder that cannot be written.
    """
    _require_matplotlib()
    controls = list(dict.fromkeys(heard.control for item in found for heard in item.heard[1:]))
    figure, axes = _new(WIDTHS["double"], 0.75 * WIDTHS["single"])
    axis, width = axes[0][0], 0.8 / len(found)
    for place, item in enumerate(found):
        left = [(controls.index(heard.control), 100 * (1 - heard.lost)) for heard in item.heard[1:] if heard.lost is not None]
        shift = (place - (len(found) - 1) / 2) * width
        label = _plain(f"{item.model}, {item.dataset}")
        axis.bar([at + shift for at, _ in left], [value for _, value in left], width, label=label, color=COLOURS[place % len(COLOURS)])
    axis.axhline(100, color="black", linewidth=0.6)
    axis.set_xticks(range(len(controls)), controls, rotation=30, ha="right")
    _finish(figure, axis, "", "% of the plain score that is left", legend=False)
    axis.legend(fontsize=6.5, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)  # above: bars fill the axes
    return _save(figure, stem)


def draw_probes(scores: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]], file: Path) -> None:
    """AP of probes against timestep, a line per block, a panel per diffusion model (the paper's figure 4).

    Args:
        scores: diffusion model -> timestep -> block -> ``ap`` in [0, 1].
        file: see `check_figure`.
    """
    check_figure(file)
    figure, axes = _new(WIDTHS["double"], 0.55 * WIDTHS["double"], (1, len(scores)))
    blocks = list(dict.fromkeys(block for rows in scores.values() for its in rows.values() for block in its))
    top = max(100 * its["ap"] for rows in scores.values() for row in rows.values() for its in row.values())
    for axis, (ldm, rows) in zip(axes[0], scores.items(), strict=True):
        for index, block in enumerate(blocks):
            points = [(int(timestep), 100 * its[block]["ap"]) for timestep, its in rows.items() if block in its]
            if points:
                axis.plot(*zip(*sorted(points), strict=True), marker="o", markersize=2.5, label=block, **_line(index))
        axis.set_title(f"{ldm} diffusion model", fontsize=8)
        axis.set_ylim(0, 1.05 * top or 1)
        _finish(figure, axis, "timestep", "AP on val", legend=False)
    figure.legend(*axes[0][0].get_legend_handles_labels(), fontsize=6, frameon=False, loc="outside lower center", ncols=4)
    save_figure(figure, file)


def _require_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise BenchError("figures need matplotlib, which is not installed.", "pip install 'ldznet-bench[plots]'") from error


def _new(width: float, height: float, shape: tuple[int, int] = (1, 1), heights: Sequence[float] | None = None) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(*shape, squeeze=False, height_ratios=heights)


def _save(figure: Figure, stem: Path) -> list[Path]:
    files = [stem.with_name(stem.name + suffix) for suffix in (".pdf", ".png")]
    for file in files:
        save_figure(figure, file)
    return files


_METADATA: dict[str, dict[str, Any]] = {".pdf": {"CreationDate": None}, ".png": {"Software": None}, ".svg": {"Date": None}}


def save_figure(figure: Figure, file: Path) -> None:
    """Write a figure in the form that the file's suffix names: ``.pdf``, ``.png`` or ``.svg``; equal figures are equal bytes."""
    import matplotlib as mpl

    # 42 embeds TrueType fonts, which journals ask for; the metadata would make two equal figures differ.
    with mpl.rc_context({"pdf.fonttype": 42, "svg.hashsalt": "ldznet_bench"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        with replacing(file) as temporary:
            figure.savefig(temporary, format=file.suffix[1:], dpi=300, metadata=_METADATA[file.suffix])


def check_figure(file: Path) -> None:
    """Refuse a figure that could not be written, before the work that it shows is done.

    Raises:
        BenchError: another suffix, or matplotlib is not installed.
    """
    if file.suffix not in _METADATA:
        raise BenchError(f"a figure cannot be written as {file.name!r}.", f"Name a file that ends in {', '.join(_METADATA)}.")
    _require_matplotlib()


def _read(run: Run) -> Samples:
    dense = get_protocol(run.protocol).grid is not None and not run.summary.get("binary")
    return read_samples(run.path, histograms="coarse" if dense else "none", columns=("width", "height"))


def _pr(samples: Mapping[str, Samples], protocol: str, width: Width) -> Figure | None:
    dense = {name: curves(item, get_protocol(protocol)) for name, item in samples.items() if item.counts.hist_fg is not None}
    if not dense:
        return None
    figure, axes = _new(WIDTHS[width], 0.75 * WIDTHS["single"])
    for index, (name, found) in enumerate(dense.items()):
        axes[0][0].plot(found.recall, found.precision, label=_plain(name), **_line(index))
    return _finish(figure, axes[0][0], "recall", "precision")


def _reliability(samples: Mapping[str, Samples], protocol: str, width: Width) -> Figure | None:
    """Share of true pixels against their score, in ten bins; honest scores lie on the diagonal."""
    rules = get_protocol(protocol)
    dense = {name: calibration(item, rules) for name, item in samples.items() if item.counts.hist_fg is not None}
    if not dense:
        return None
    figure, axes = _new(WIDTHS[width], 0.75 * WIDTHS["single"])
    axes[0][0].plot([0, 1], [0, 1], color="black", linewidth=0.6)
    for index, (name, found) in enumerate(dense.items()):
        score, true, _ = zip(*found.bins, strict=True)
        axes[0][0].plot(score, true, marker="o", markersize=2.5, label=f"{_plain(name)} (ECE {100 * found.ece:.1f} %)", **_line(index))
    return _finish(figure, axes[0][0], "mean score of pixels", "share that is true")


def _size(samples: Mapping[str, Samples], protocol: str, width: Width) -> Figure:
    rules = get_protocol(protocol)
    figure, axes = _new(WIDTHS[width], 0.75 * WIDTHS["single"])
    for index, (name, item) in enumerate(samples.items()):
        canvas = np.asarray(item.table.column("width"), dtype=float) * np.asarray(item.table.column("height"))
        share = item.counts.gt_area / np.maximum(1, canvas)
        iou = sample_iou(item.counts.intersection, item.counts.union, rules)
        which = np.digitize(share, _SIZES)
        points = [(float(share[which == k].mean()), float(iou[which == k].mean())) for k in range(len(_SIZES) + 1) if (which == k).sum() >= _FEWEST]
        if points:
            axes[0][0].plot(*zip(*points, strict=True), marker="o", markersize=2.5, label=_plain(name), **_line(index))
    axes[0][0].set_xscale("log")
    return _finish(figure, axes[0][0], "share of the image that is true", f"{metric_title('miou')}@{protocol}")


def _images(samples: Mapping[str, Samples], protocol: str, width: Width) -> Figure | None:
    """Differences per image, sorted; of two models, since more cannot be read."""
    if len(samples) != 2:
        return None
    rules = get_protocol(protocol)
    (a, b), ids = samples.items(), common_ids(list(samples.values()))
    one, other = (restrict(item, ids) for _, item in (a, b))
    (cluster,), n_clusters = number_clusters(one.image_id)
    gain = sample_iou(other.counts.intersection, other.counts.union, rules) - sample_iou(one.counts.intersection, one.counts.union, rules)
    sums = add_up(np.column_stack([gain, np.ones(len(gain))]), cluster, n_clusters)
    delta = np.sort(sums[:, 0] / sums[:, 1])
    figure, axes = _new(WIDTHS[width], 0.75 * WIDTHS["single"])
    axes[0][0].bar(np.arange(n_clusters), delta, width=1.0, color=np.where(delta >= 0, COLOURS[0], COLOURS[1]))
    axes[0][0].axhline(0, color="black", linewidth=0.6)
    axes[0][0].set_title(f"{_plain(b[0])} minus {_plain(a[0])}", fontsize=8)
    return _finish(figure, axes[0][0], "images, sorted", "difference of IoU per image", legend=False)


def _grid(samples: Mapping[str, Samples], runs: Mapping[str, Run], dataset: Dataset, rows: int) -> Figure:
    """Image, truth, and each model's mask: from the worst to the best by mean IoU over the models, at even steps."""
    everything = [ident for kind, ident, _ in choose_samples(samples, runs, 10**9) if kind == "worst"]
    chosen = [everything[k] for k in np.unique(np.linspace(0, len(everything) - 1, min(rows, len(everything))).astype(int))]
    masks = {name: predictions(run.path, set(chosen)) for name, run in runs.items()}
    rules = get_protocol(next(iter(runs.values())).protocol)
    columns = ["image", "truth", *runs]
    pictures = [picture(dataset, ident, rules, 480) for ident in chosen]
    aspects = [found.image.height / found.image.width for found in pictures]
    figure, axes = _new(WIDTHS["double"], WIDTHS["double"] / len(columns) * sum(aspects) + 0.2, (len(chosen), len(columns)), aspects)
    for row, (ident, found) in enumerate(zip(chosen, pictures, strict=True)):
        kept = [None, found.truth, *(fit(masks[name][ident], found.image.size) if ident in masks[name] else None for name in runs)]
        for place, mask in enumerate(kept):
            axis = axes[row][place]
            axis.imshow(_tinted(np.asarray(found.image), mask, place))
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
            if row == 0:
                axis.set_title(_plain(columns[place]), fontsize=7)
        axes[row][0].set_ylabel(_plain(dataset.find(ident)[1].phrase)[:40], fontsize=6)
    return figure


def _tinted(image: np.ndarray, mask: np.ndarray | None, place: int) -> np.ndarray:
    if mask is None:
        return image
    colour = np.array([0, 158, 115] if place == 1 else [213, 94, 0])
    return np.where(mask[..., None], (0.45 * image + 0.55 * colour).astype(np.uint8), (0.6 * image).astype(np.uint8))


def _line(index: int) -> dict[str, Any]:
    dash = DASHES[index % len(DASHES)]
    style = (0, tuple(float(part) for part in dash.split())) if dash else "-"
    return {"color": COLOURS[index % 6], "linestyle": style, "linewidth": 1.2}


def _finish(figure: Figure, axis: Any, x: str, y: str, *, legend: bool = True) -> Figure:  # noqa: ANN401 - a matplotlib axis
    axis.set_xlabel(x, fontsize=8)
    axis.set_ylabel(y, fontsize=8)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
    if legend:
        axis.legend(fontsize=6.5, frameon=False)
    return figure


def _plain(text: str) -> str:
    """Dollar signs would start mathematics, and control characters have no glyph."""
    return "".join(letter if letter.isprintable() else " " for letter in text).replace("$", r"\$")
