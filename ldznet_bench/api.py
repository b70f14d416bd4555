"""The same from Python: what the command line's verbs do, as functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldznet_bench.places import home_folder
from ldznet_bench.protocols import DEFAULT_PROTOCOL, get_protocol

if TYPE_CHECKING:
    from ldznet_bench.datasets.store import PreparedDataset
    from ldznet_bench.evaluation.cell import Cell, MakeProgress
    from ldznet_bench.evaluation.predictions import Missing, SizeMismatch
    from ldznet_bench.evaluation.runs import RunFolder
    from ldznet_bench.models.segmenter import Segmenter

PathText = str | PathLike[str]


def load_dataset(
    name: str,
    *,
    data_root: PathText | None = None,
    home: PathText | None = None,
    card: PathText | None = None,
    word_lists: PathText | None = None,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> PreparedDataset:
    """Open a dataset split, preparing it when that was not done yet.

    Args:
        name: ``family[-partition]:split`` or ``folder:PATH``.
        data_root: a release, or a folder of releases; read only.
        home: where prepared sets live (``LDZNET_BENCH_HOME``).
        card: stands in for the bundled card (counts, partitions).
        word_lists: PhraseCut's own ``utils/subset.py``, for the 13 of its 43 subsets that need its word lists.
        progress: told how preparing gets on: a stage in words, how many are done, how many there are.

    Raises:
        BenchError: unknown name, no release there, or a release that cannot be read.
    """
    from ldznet_bench.datasets.load import load_dataset as load

    return load(name, data_root=_path(data_root), home=home_folder(home), card=_path(card), word_lists=_path(word_lists), progress=progress)


def load_model(name: str, *, weights: Mapping[str, PathText] | None = None, device: str = "cpu", **options: Any) -> Segmenter:  # noqa: ANN401
    """A segmenter by name.

    Args:
        name: ``name/variant+recipe`` or the bare name.
        weights: by model name, a local file or folder.
        device: ``cpu`` or ``cuda``.
        options: ``precision``, ``micro_batch``, ``mini_dataset``, ``home``, ``card``; see `ldznet_bench.models.load.load_model`.

    Raises:
        BenchError: unknown name, or weights that are missing or do not fit.
    """
    from ldznet_bench.models.load import load_model as load

    return load(name, weights={key: Path(value) for key, value in (weights or {}).items()}, device=device, **options)


def evaluate(
    model: str | Segmenter,
    dataset: str | PreparedDataset,
    protocol: str = DEFAULT_PROTOCOL,
    *,
    output: PathText = "runs",
    data_root: PathText | None = None,
    home: PathText | None = None,
    weights: Mapping[str, PathText] | None = None,
    device: str = "cpu",
    threshold_file: PathText | None = None,
    limit: int | None = None,
    seed: int = 0,
    micro_batch: int | None = None,
    keep_masks: bool = True,
    keep_maps: str = "none",
    control: str | None = None,
    repeats: int = 1,
    progress: MakeProgress | None = None,
) -> RunFolder:
    """Run a model over a dataset split under a protocol, or answer from the finished run.

    Args:
        model: a name, or any `Segmenter`.
        dataset: a name, or an open dataset.
        protocol: ``name@version`` or the bare name.
        output: the folder of run folders.
        data_root: see `load_dataset`; only for a dataset name.
        home: for prepared sets and caches.
        weights: see `load_model`; only for a model name.
        device: ``cpu`` or ``cuda``; only for a model name.
        threshold_file: written by ``ldznet-bench tune``.
        limit: a stratified sample of that many; kept apart from full runs.
        seed: run seed of every draw.
        micro_batch: pairs per network call.
        keep_masks: store predicted masks.
        keep_maps: ``none``, ``all`` or a number of score maps to store.
        control: other words for the phrases, see `ldznet_bench.evaluation.controls.CONTROLS`; None takes the dataset's own.
        repeats: average the maps of that many draws of a stochastic network.
        progress: from a title and a number of samples to something with ``update(n)``.

    Returns:
        The run folder: ``.summary()`` is a dict, ``.path`` where it lies.

    Raises:
        BenchError: anything that the user can mend.
    """
    data = load_dataset(dataset, data_root=data_root, home=home) if isinstance(dataset, str) else dataset
    if isinstance(model, str):
        options: dict[str, Any] = {} if micro_batch is None else {"micro_batch": micro_batch}
        model = load_model(model, weights=weights, device=device, mini_dataset=data.mini, home=home_folder(home), **options)
    if repeats > 1:
        from ldznet_bench.models.repeats import averaged

        model = averaged(model, repeats)
    settings: dict[str, Any] = {
        "limit": limit,
        "seed": seed,
        "keep_masks": keep_masks,
        "keep_maps": keep_maps,
        "batch": micro_batch,
        "control": control,
        "data_root": data_root,
    }
    return _run(make_cell(model, data, protocol, output=output, home=home, threshold_file=threshold_file, **settings), progress)


def score(
    dataset: str | PreparedDataset,
    predictions: PathText,
    protocol: str = DEFAULT_PROTOCOL,
    *,
    name: str,
    output: PathText = "runs",
    data_root: PathText | None = None,
    home: PathText | None = None,
    missing: Missing = "error",
    size_mismatch: SizeMismatch = "error",
    threshold_file: PathText | None = None,
    keep_masks: bool = True,
    progress: MakeProgress | None = None,
) -> RunFolder:
    """Score predictions that another model wrote to disk.

    Args:
        dataset: a name, or an open dataset.
        predictions: a folder of ``<sample_id>.png`` or ``.npy``, a ``.npz``, or a ``.json`` of COCO RLEs.
        protocol: ``name@version`` or the bare name.
        name: of the model, as tables show it.
        output: the folder of run folders.
        data_root: see `load_dataset`; only for a dataset name.
        home: for prepared sets and caches.
        missing: what a sample without prediction is: ``error``, ``empty`` or ``skip``.
        size_mismatch: ``error``, or ``official`` as PhraseCut's evaluator treats masks of another size.
        threshold_file: written by ``ldznet-bench tune``.
        keep_masks: store predicted masks.
        progress: from a title and a number of samples to something with ``update(n)``.

    Returns:
        The run folder.

    Raises:
        BenchError: predictions that do not fit the dataset; nothing is kept of such a run.
    """
    from ldznet_bench.evaluation.predictions import Predictions

    data = load_dataset(dataset, data_root=data_root, home=home) if isinstance(dataset, str) else dataset
    segmenter = Predictions(name, Path(predictions), groups=data.groups, missing=missing, size_mismatch=size_mismatch)
    return _run(make_cell(segmenter, data, protocol, output=output, home=home, threshold_file=threshold_file, keep_masks=keep_masks), progress)


def report(
    output: PathText = "runs",
    *,
    models: Sequence[str] = (),
    datasets: Sequence[str] = (),
    protocols: Sequence[str] = (),
    metrics: Sequence[str] = (),
    limited: bool = False,
    style: str = "markdown",
) -> str:
    """A table of finished runs.

    Args:
        output: the folder of run folders.
        models: only these; ``clipseg`` admits every variant of it.
        datasets: only these.
        protocols: only these.
        metrics: columns per protocol, ``headline`` for each one's first; none shows that alone, ``all`` everything.
        limited: admit limited runs, marked.
        style: ``markdown``, ``csv``, ``latex`` or ``json``.

    Raises:
        BenchError: no finished run, or runs that cannot stand in one column.
    """
    from ldznet_bench.reports.render import render
    from ldznet_bench.reports.runs import choose, find_runs

    runs, _ = find_runs(Path(output))
    chosen = [run for run in choose(runs, models=models, datasets=datasets, protocols=protocols) if limited or not run.limited]
    return render(chosen, metrics, style)


def make_cell(
    segmenter: Segmenter,
    dataset: PreparedDataset,
    protocol: str,
    *,
    output: PathText,
    home: PathText | None = None,
    data_root: PathText | None = None,
    threshold_file: PathText | None = None,
    batch: int | None = None,
    **settings: Any,  # noqa: ANN401 - fields of Settings
) -> Cell:
    """A cell with its settings; nothing is run. `data_root` is where noun-prior looks for the train split of a real dataset."""
    from ldznet_bench.evaluation.cell import Cell, Settings
    from ldznet_bench.evaluation.noun_prior import NounPrior
    from ldznet_bench.evaluation.sharding import Shard
    from ldznet_bench.evaluation.tuning import read_threshold

    rules = get_protocol(protocol)
    if isinstance(segmenter, NounPrior):
        segmenter = segmenter.fitted_for(dataset, home=home_folder(home), data_root=_path(data_root))
    chosen = Settings(
        output=Path(output), cache=home_folder(home) / "masks", shard=settings.pop("shard", None) or Shard.from_environment(), **settings
    )
    if batch is not None:
        chosen = replace(chosen, batch=batch)
    if threshold_file is not None:
        threshold = read_threshold(Path(threshold_file), dataset=dataset.name, protocol=rules, segmenter=segmenter)
        chosen = replace(chosen, threshold=threshold)
    return Cell(dataset, segmenter, rules, chosen)


def _run(cell: Cell, progress: MakeProgress | None) -> RunFolder:
    cell.run(progress or (lambda _title, _total: _Silent()))
    return cell.folder


class _Silent:
    def update(self, samples: int) -> None:
        pass


def _path(value: PathText | None) -> Path | None:
    return None if value is None else Path(value)
