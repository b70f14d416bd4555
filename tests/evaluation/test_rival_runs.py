"""Each rival through the command line on tiny weights: two datasets, two rules, a table; bytes that no interruption or process count changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake import Bar, content
from make_rivals import write_parts

from ldznet_bench.api import load_dataset, load_model, make_cell
from ldznet_bench.cli import main
from ldznet_bench.evaluation.cell import Cell
from ldznet_bench.evaluation.sharding import Shard
from ldznet_bench.models.florence2 import COUNT

DATASETS = "phrasecut:test,refcoco:testA"
RELEASES = Path(__file__).parent.parent / "goldens" / "releases"
# Model, the kinds of folders that it needs, whether its maps are binary.
RIVALS = [
    ("sam3/full+semantic", ("sam3",), False),
    ("sam3/full+instances", ("sam3",), True),
    ("grounding-dino/sam2+union", ("grounding-dino", "sam2"), True),
    ("mm-grounding-dino/sam-hq+union", ("mm-grounding-dino", "sam-hq"), True),
    ("owlv2/sam+top1", ("owlv2", "sam"), True),
    ("omdet-turbo/sam2+union", ("omdet-turbo", "sam2"), True),
    ("florence2/full+greedy", ("florence2",), True),
]
# The two-process check is the loop's business: one model is enough.
SHARDED = [RIVALS[2]]

pytestmark = pytest.mark.filterwarnings("ignore::ldznet_bench.errors.BenchWarning")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_parts(tmp_path_factory.mktemp("rivals"))


@pytest.mark.parametrize(("model", "kinds", "binary"), RIVALS, ids=[model for model, _, _ in RIVALS])
def test_end_to_end(model: str, kinds: tuple[str, ...], binary: bool, parts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    weights = [option for kind in kinds for option in ("--weights", f"{kind}={parts[kind]}")]
    common = ["--data-root", RELEASES, "--output", tmp_path, "--home", tmp_path / "home", "--quiet"]
    code = main._run([str(a) for a in ("run", "--models", model, "--datasets", DATASETS, *weights, *common, "--limit", 4, "--json")])
    said = capsys.readouterr()
    assert code == 0, said.err
    runs = json.loads(said.out)["runs"]
    assert [run["model"] for run in runs] == [model, model]
    for run in runs:
        assert run["n_samples"] == 4
        assert (run["metrics"].get("ap") is None) == binary
        assert 0 <= run["metrics"]["miou"] <= 1
    assert main._run([str(a) for a in ("report", "--output", tmp_path, "--metrics", "miou,ap", "--allow-mixed")]) == 0
    assert ("| n/a" in capsys.readouterr().out) == binary


def cell(model: str, weights: dict[str, Path], output: Path, shard: Shard | None = None) -> Cell:
    segmenter = load_model(model, weights=weights)
    return make_cell(segmenter, load_dataset("refcoco:testA", data_root=RELEASES), "refer@1", output=output, shard=shard)


class Interrupted(Exception):
    pass


class StopAfterTwo(Bar):
    def update(self, samples: int) -> None:
        super().update(samples)
        if self.done >= 2:
            raise Interrupted


@pytest.mark.parametrize(("model", "kinds", "binary"), SHARDED, ids=[model for model, _, _ in SHARDED])
def test_interruption_and_shards_change_no_byte(model: str, kinds: tuple[str, ...], binary: bool, parts: dict[str, Path], tmp_path: Path) -> None:
    weights = {kind: parts[kind] for kind in kinds}
    whole = cell(model, weights, tmp_path / "whole")
    whole.run(Bar)
    with pytest.raises(Interrupted):
        cell(model, weights, tmp_path / "stopped").run(StopAfterTwo)
    again = cell(model, weights, tmp_path / "stopped")
    assert again.run(Bar)
    assert content(again) == content(whole)
    shards = [cell(model, weights, tmp_path / "shards", Shard(index, 2)) for index in range(2)]
    assert [part.run(Bar) for part in shards][-1]
    assert content(shards[0]) == content(whole)


def test_notes_are_of_one_run_alone(parts: dict[str, Path], tmp_path: Path) -> None:
    """One segmenter serves every dataset of a command; what it noted on the first is not told of the second."""
    segmenter = load_model("florence2/full", weights={"florence2": parts["florence2"]})
    noted = []
    for name in ("refcoco:testA", "refcoco:testB"):
        run = make_cell(segmenter, load_dataset(name, data_root=RELEASES), "refer@1", output=tmp_path, limit=2)
        run.run(Bar)
        samples = {f"sample {sample!r}" for sample in run.dataset.sample_ids()}
        notes = json.loads((run.folder.path / "run.json").read_text())["notes"]
        noted.append(notes)
        assert all(note.split(": ")[0] in samples for note in notes if note.startswith("sample "))
    assert all(sum(note.startswith("sample ") for note in notes) == notes[COUNT] for notes in noted)
