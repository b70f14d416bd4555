"""The miniature's reference table, from trainings to tables, in one command that may be stopped and repeated:

    python benchmarks/miniature.py --trainings trainings

Every network of every training seed gets a threshold on minicut-photo:val, then runs on every domain's test split under native@1. What the
package carries runs under ldznet@1 as well, and the rows' controlled models under phrases shuffled within images. What `ldznet-bench` prints of
these runs is written to results/mini.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ldznet_bench.api import evaluate, load_dataset, load_model, make_cell
from ldznet_bench.atomic import write_bytes
from ldznet_bench.cards import read_card
from ldznet_bench.errors import BenchError
from ldznet_bench.evaluation.tuning import tune
from ldznet_bench.models.segmenter import Segmenter

HERE = Path(__file__).parent.parent / "results" / "mini"
DOMAINS = ("photo", "art", "gen", "refer")
SPLITS = tuple(f"minicut-{domain}:test" for domain in DOMAINS)
TUNED, BEST = "native@1", "ldznet@1"
Folders = dict[str, dict[str, list[Path]]]  # run folders by model and training seed


@dataclass(frozen=True, slots=True)
class Row:
    """A model of the table.

    Attributes:
        model: name.
        part: of its card that a training stands in for; empty for models without weights.
        recipe: that trains it.
        seeds: of the training.
        control: phrases that it is told instead.
    """

    model: str
    part: str = ""
    recipe: str = ""
    seeds: tuple[int, ...] = ()
    control: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """Two rows to compare: B is claimed to be better than A."""

    claim: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run and compared.

    Attributes:
        rows: of the table.
        claims: pairs that are compared.
        controlled: models whose seed 0 is also told phrases shuffled within images, and none.
    """

    rows: tuple[Row, ...]
    claims: tuple[Claim, ...]
    controlled: tuple[str, ...] = ()


class Bar:
    """Progress as one line per cell."""

    def __init__(self, title: str, total: int) -> None:
        sys.stderr.write(f"{title}, {total} samples\n")

    def update(self, samples: int) -> None:
        """Nothing; cells of the miniature take seconds."""


def loaded(row: Row, trainings: Path) -> Iterator[tuple[str, Segmenter]]:
    """Each seed's network; what the package carries where it is seed 0 and carried."""
    if not row.recipe:
        yield "", load_model(row.model, mini_dataset=True)
    for seed in row.seeds:
        folder = trainings / f"{row.recipe}-seed{seed}" / "final"
        if seed == 0 and _is_bundled(row.model):
            yield "0", load_model(row.model, mini_dataset=True)
        elif folder.is_dir():
            yield str(seed), load_model(row.model, weights={row.part: folder}, mini_dataset=True)
        else:
            sys.stderr.write(f"{row.model}: seed {seed} is not trained ({folder} is absent), left out.\n")


def _is_bundled(model: str) -> bool:
    from ldznet_bench.models.load import check_model

    try:
        check_model(model, mini_dataset=True)
    except BenchError:
        return False
    return True


def _is_carried(row: Row, seed: str) -> bool:
    """Whether it is what a user gets who trains nothing."""
    return seed in ("", "0") and row.control is None and "+" not in row.model and (not row.recipe or _is_bundled(row.model))


def run_row(row: Row, seed: str, model: Segmenter, given: argparse.Namespace, *, controlled: bool) -> list[Path]:
    """All cells of one network; returns its run folders."""
    runs, limit, threshold = given.output, given.limit, None
    if not model.binary and model.name != "noun-prior":
        threshold = runs / "thresholds" / f"{row.model.replace('/', '--')}-{seed}.json"
        cell = make_cell(model, load_dataset("minicut-photo:val"), TUNED, output=runs / "val", limit=limit, control=row.control)
        cell.run(Bar)
        threshold.parent.mkdir(parents=True, exist_ok=True)
        tune(cell, threshold)
    found = []
    for split in SPLITS:
        options = {"output": runs, "limit": limit, "progress": Bar, "keep_masks": False}
        found.append(evaluate(model, split, TUNED, threshold_file=threshold, control=row.control, **options).path)
        if _is_carried(row, seed):
            found.append(evaluate(model, split, BEST, **options).path)
        if controlled and seed == "0" and split == SPLITS[0]:
            evaluate(model, split, TUNED, threshold_file=threshold, control="shuffled-within", **options)
            evaluate(model, split, TUNED, threshold_file=threshold, control="blank", **options)
    return found


def printed(*arguments: str) -> str:
    """What a verb of the command line prints."""
    done = subprocess.run([sys.executable, "-m", "ldznet_bench.cli.main", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"ldznet-bench {' '.join(arguments)}\n{done.stderr}")
    return done.stdout


def write_tables(plan: Plan, folders: Folders, given: argparse.Namespace) -> None:
    """Reference table, slices, controls and claims, as Markdown in --to."""
    runs, loose = str(given.output), ["--limited", "--allow-mixed"] if given.limit else []
    common = ["--output", runs, "--training-seeds", *loose]
    table = printed("report", "--layout", "mini", "--ci", *common)
    other = printed("report", "--protocol", BEST, "--metrics", "miou_best,ap", *common)
    slices = printed("report", "--datasets", SPLITS[0], "--protocol", TUNED, "--metrics", "miou", "--by", "tags", *common)
    controls = ""
    if plan.controlled and not given.limit:
        controls = printed("controls", "--output", runs, "--datasets", SPLITS[0], "--models", ",".join(plan.controlled))
    write_bytes(given.to / "table.md", table.encode())
    write_bytes(given.to / "table-ldznet.md", other.encode())
    write_bytes(given.to / "slices.md", slices.encode())
    write_bytes(given.to / "controls.md", f"```text\n{controls}```\n".encode())
    write_bytes(given.to / "claims.md", "\n".join(_claims(plan, folders, given)).encode())


def _claims(plan: Plan, folders: Folders, given: argparse.Namespace) -> Iterator[str]:
    yield "# The claims, B against A, paired by image; over the training seeds that both have\n"
    for claim in plan.claims:
        a, b = (folders.get(model) for model in (claim.a, claim.b))
        if not a or not b:
            yield f"## {claim.claim}: {claim.b} against {claim.a}\n\nnot trained, so not compared\n"
            continue
        both = a.keys() & b.keys() or {*a, *b}  # a row without weights has no seed
        sides = [",".join(str(path) for seed, its in sorted(side.items()) if seed in both for path in its if TUNED in path.parts) for side in (a, b)]
        said = printed("compare", *sides, "--output", str(given.output), "--metrics", "ap", *(["--allow-mixed"] if given.limit else []))
        said = said.replace(sides[0], claim.a).replace(sides[1], claim.b)
        yield f"## {claim.claim}: {claim.b} against {claim.a}\n\n```text\n{said}```\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=Path, required=True, help="the folder that `ldznet-bench train --output` wrote")
    parser.add_argument("--output", type=Path, default=Path("runs-mini"), help="run folders [runs-mini]")
    parser.add_argument("--to", type=Path, default=HERE, help="where tables go [results/mini]")
    parser.add_argument("--rows", type=Path, default=HERE / "rows.yaml", help="what is run [rows.yaml]")
    parser.add_argument("--only", default="", help="models, comma-separated: run them and write no table")
    parser.add_argument("--limit", type=int, help="samples per split, to try it")
    given = parser.parse_args(arguments)
    plan = read_card(given.rows, Plan)
    unknown = sorted({*filter(None, given.only.split(","))} - {row.model for row in plan.rows})
    if unknown:
        parser.error(f"--only: {', '.join(unknown)} is no row of {given.rows}. Its rows: {', '.join(row.model for row in plan.rows)}.")
    folders: Folders = {}
    for row in plan.rows:
        if given.only and row.model not in given.only.split(","):
            continue
        for seed, model in loaded(row, given.trainings):
            folders.setdefault(row.model, {})[seed] = run_row(row, seed, model, given, controlled=row.model in plan.controlled)
    if not given.only:
        write_tables(plan, folders, given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
