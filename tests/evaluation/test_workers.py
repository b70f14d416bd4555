"""Workers that die, come late or twice, and journals of something else: the run ends in the bytes of one process, or in a refusal that names it."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import socket
from pathlib import Path

import filelock
import pytest
from fake import Bar, FakeDataset, content, make_cell

from ldznet_bench.errors import PredictionError, RunError
from ldznet_bench.evaluation import cell as cells
from ldznet_bench.evaluation.journal import Journal, read_batch, record_frames
from ldznet_bench.evaluation.plan import describe
from ldznet_bench.evaluation.runs import RunFolder
from ldznet_bench.evaluation.sharding import Shard
from ldznet_bench.evaluation.unfinished import parts_of
from ldznet_bench.evaluation.workers import Worker
from ldznet_bench.models.load import load_model


@pytest.fixture
def whole(tmp_path) -> tuple[bytes, bytes]:
    cell = make_cell(tmp_path / "whole", load_model("noise"))
    assert cell.run(Bar)
    return content(cell)


def noise(tmp_path: Path, shard: Shard | None = None, **more: object):
    return make_cell(tmp_path, load_model("noise"), shard=shard or Shard(), batch=2, **more)


def die(tmp_path: Path, shard: Shard, samples: int) -> None:
    """In a process of its own: make a part, and be killed after that many samples."""

    class Deadly(Bar):
        def update(self, count: int) -> None:
            super().update(count)
            if self.done >= samples:
                os.kill(os.getpid(), signal.SIGKILL)

    noise(tmp_path, shard).run(Deadly)


def test_a_plan_that_was_cut_is_written_anew(tmp_path, whole):
    noise(tmp_path, Shard(0, 3)).run(Bar)
    (plan,) = (tmp_path / "runs").rglob("plan.parquet")
    plan.write_bytes(plan.read_bytes()[:50])
    with pytest.raises(RunError, match=r"plan\.parquet cannot be read"):
        parts_of(plan.parent.parent)
    noise(tmp_path, Shard(1, 3)).run(Bar)
    assert [str(part.shard) for part in parts_of(plan.parent.parent)] == ["2/3"]
    last = noise(tmp_path, Shard(2, 3))
    assert last.run(Bar) and content(last) == whole


def test_missing_parts_are_told_in_no_time_however_many(tmp_path):
    cell = noise(tmp_path, Shard(0, 10**12))
    cell.run(Bar)
    assert [str(part.shard) for part in parts_of(cell.folder.path)] == [f"{index}/{10**12}" for index in (1, 2)]


def test_bad_predictions_in_one_part_leave_the_others_their_folder(tmp_path, monkeypatch):
    noise(tmp_path, Shard(0, 2)).run(Bar)
    other = noise(tmp_path, Shard(1, 2))
    bad = PredictionError("bad", "")
    monkeypatch.setattr(type(other.segmenter), "decode", lambda *_: (_ for _ in ()).throw(bad))
    with pytest.raises(PredictionError):
        other.run(Bar)
    assert len(list(other.folder.path.glob("journal/*.0of2.*.bin"))) == 1


def killed(tmp_path: Path, shard: Shard, samples: int) -> int:
    process = multiprocessing.get_context("fork").Process(target=die, args=(tmp_path, shard, samples))
    process.start()
    pid = process.pid
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert pid is not None
    return pid


def test_a_killed_workers_part_is_named_and_running_again_keeps_the_rest(tmp_path, whole, monkeypatch):
    pid = killed(tmp_path, Shard(0, 2), 10)
    assert not noise(tmp_path, Shard(1, 2)).run(Bar)
    cell = noise(tmp_path)
    line = describe(cell)
    blocks = [index for index in range(20) if Shard(0, 2).has(index)]
    done = 10 // 3  # whole images; the next one is partly done
    part = line["missing"][0].to_json()
    assert len(line["missing"]) == 1
    missing = 3 * len(blocks) - 10
    assert (line["state"], line["done"]) == ("started", 60 - missing)
    assert part.items() >= {"shard": "0/2", "state": "died", "pid": pid, "host": socket.gethostname(), "samples": missing}.items()
    assert part["images"] == len(blocks) - done
    assert part["first_images"] == [f"im{index}" for index in blocks[done:]][:5]
    (named,) = parts_of(cell.folder.path)
    assert f"part 0/2 died (process {pid} on {socket.gethostname()}" in str(named)
    assert f"{missing} samples of {len(blocks) - done} images are missing: im3, im4" in str(named)
    real = cells.Loop.run
    written: list[int] = []

    def seen(self, groups, journal, done, shard, progress):
        append = journal.append
        monkeypatch.setattr(journal, "append", lambda records: (written.append(len(records)), append(records)))
        real(self, groups, journal, done, shard, progress)

    monkeypatch.setattr(cells.Loop, "run", seen)
    assert cell.run(Bar)
    assert sum(written) == missing, "what was there is kept"
    assert content(cell) == whole
    workers = json.loads((cell.folder.path / "run.json").read_text())["provenance"]["workers"]
    assert [worker["shard"] for worker in workers] == ["0/2", "1/2", "0/1"]
    assert not list(cell.folder.path.rglob("*.bin"))


def test_parts_that_nobody_began_and_those_at_work_are_told_apart(tmp_path):
    first = noise(tmp_path, Shard(0, 3))
    assert not first.run(Bar)
    states = {str(part.shard): (part.state, part.worker, part.samples) for part in first.folder.missing()}
    assert states == {"1/3": ("was never started", None, 24), "2/3": ("was never started", None, 12)}
    with first.folder.open_journal(Shard(2, 3)):
        assert [part.state for part in first.folder.missing()] == ["was never started", "is at work"]
    assert [part.state for part in first.folder.missing()] == ["was never started", "stopped"]


def test_a_worker_elsewhere_is_told_with_its_last_sign_of_life(tmp_path, monkeypatch):
    with monkeypatch.context() as there:
        there.setattr(socket, "gethostname", lambda: "node/7")
        killed(tmp_path, Shard(0, 2), 4)
    part = noise(tmp_path).folder.missing()[0]
    assert part.worker is not None and part.worker.host == "node/7" and part.state.startswith("wrote last at 20")


def test_a_process_id_that_came_again_is_not_taken_for_the_worker(tmp_path):
    me = Worker.here(Shard(0, 1))
    assert me.alive()
    assert Worker.from_json(json.loads(json.dumps(me.to_json()))) == me
    assert not Worker.from_json({**me.to_json(), "born": me.born - 3600}).alive()


def test_a_worker_that_starts_after_the_merge_does_nothing(tmp_path, whole, monkeypatch):
    assert noise(tmp_path).run(Bar)
    monkeypatch.setattr(cells.Loop, "run", lambda *_: pytest.fail("ran again"))
    late = noise(tmp_path, Shard(1, 2))
    assert late.run(Bar)
    assert content(late) == whole


def test_a_worker_that_is_overtaken_while_it_starts_undoes_nothing(tmp_path, whole, monkeypatch):
    """It saw an unfinished cell; before it says that it begins, another process finishes all."""
    late = noise(tmp_path, Shard(1, 2))
    begin = RunFolder.begin

    def overtaken(self, about, plan):
        monkeypatch.setattr(RunFolder, "begin", begin)
        assert noise(tmp_path).run(Bar)
        return begin(self, about, plan)

    monkeypatch.setattr(RunFolder, "begin", overtaken)
    assert late.run(Bar)
    assert late.folder.complete()
    assert content(late) == whole


def test_a_worker_that_is_overtaken_while_it_works_leaves_nothing_behind(tmp_path, whole):
    late = noise(tmp_path, Shard(1, 2))

    class Overtaken(Bar):
        def update(self, count: int) -> None:
            super().update(count)
            if count and self.done == count:
                assert noise(tmp_path).run(Bar)

    assert late.run(Overtaken)
    assert content(late) == whole
    assert not (late.folder.path / "journal").exists()


def test_the_same_part_at_the_same_time_is_refused_and_the_first_goes_on(tmp_path, whole):
    refused = []

    class Twice(Bar):
        def update(self, count: int) -> None:
            super().update(count)
            if count and self.done == count:
                with pytest.raises(RunError, match=rf"part 0/2 of .* is being made by process {os.getpid()} on {socket.gethostname()}"):
                    noise(tmp_path, Shard(0, 2)).run(Bar)
                refused.append(True)

    assert not noise(tmp_path, Shard(0, 2)).run(Twice)
    last = noise(tmp_path, Shard(1, 2))
    assert last.run(Bar)
    assert refused and content(last) == whole


class NoLock:
    def __init__(self, *_: object) -> None: ...
    def acquire(self, timeout: float = -1) -> None: ...
    def release(self) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def test_the_same_part_twice_where_locks_do_not_reach_is_counted_once(tmp_path, whole, monkeypatch):
    """Two machines whose shared folder knows no locks: both make the same half at the same time."""
    monkeypatch.setattr(filelock, "FileLock", NoLock)
    merged = []

    class Second(Bar):
        def update(self, count: int) -> None:
            super().update(count)
            if count and self.done == count:
                with pytest.MonkeyPatch.context() as other:
                    other.setattr(socket, "gethostname", lambda: "other")
                    merged.append(noise(tmp_path, Shard(0, 2)).run(Bar))

    cell = noise(tmp_path, Shard(0, 2))
    assert not cell.run(Second)
    assert merged == [False]
    held = [ident for frame in record_frames(cell.folder.journals) for ident in read_batch(frame).column("sample_id").to_pylist()]
    assert len(cell.folder.journals) == 2 and len(held) == 36 + 34, "all but the first micro-batch was counted twice"
    last = noise(tmp_path, Shard(1, 2))
    assert last.run(Bar)
    assert content(last) == whole


class Otherwise(FakeDataset):
    fingerprint = "e" * 64


def weighed(weights: str, **recipe: object):
    model = load_model("noise")
    model.weights, model.recipe = weights, {**model.recipe, **recipe}
    return model


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (lambda path: make_cell(path, weighed("a" * 64), dataset=Otherwise(), shard=Shard(0, 2)), r"fingerprint eeeeeeeeee… -> ffffffffff…"),
        (lambda path: make_cell(path, weighed("b" * 64), shard=Shard(0, 2)), r"weights bbbbbbbbbb… -> aaaaaaaaaa…"),
        (lambda path: make_cell(path, weighed("a" * 64, channels_last=True), shard=Shard(0, 2)), r"recipe.channels_last true -> null"),
        (lambda path: make_cell(path, weighed("a" * 64), seed=3, shard=Shard(0, 2)), r"seed 3 -> 0"),
    ],
    ids=["fingerprint", "weights", "option", "seed"],
)
def test_journals_of_something_else_are_refused_and_what_differs_is_named(tmp_path, there, said):
    foreign = there(tmp_path / "B")
    assert not foreign.run(Bar)
    mine = make_cell(tmp_path / "A", weighed("a" * 64), shard=Shard(1, 2))
    assert not mine.run(Bar)
    before = {path.name: path.read_bytes() for path in mine.folder.journals}
    shutil.copytree(foreign.folder.path / "journal", mine.folder.path / "journal", dirs_exist_ok=True)
    last = make_cell(tmp_path / "A", weighed("a" * 64))
    for way in (lambda: last.run(Bar), lambda: describe(last)):
        with pytest.raises(RunError, match=said) as caught:
            way()
        assert f"process {os.getpid()} on {socket.gethostname()}" in str(caught.value)
        assert "Remove that file" in caught.value.remedy
    assert not (last.folder.path / "records.parquet").exists()
    assert {path.name: path.read_bytes() for path in mine.folder.journals if path.name in before} == before
    (foreign_journal,) = foreign.folder.journals
    (last.folder.path / "journal" / foreign_journal.name).unlink()
    assert last.run(Bar), "without the foreign file it goes on, and mine is kept"


def test_other_versions_of_what_draws_masks_are_refused_and_of_torch_are_not(tmp_path, monkeypatch, whole):
    foreign = noise(tmp_path / "B", Shard(0, 2))
    with monkeypatch.context() as older:
        older.setattr("ldznet_bench.evaluation.identity.mask_versions", lambda: {"Pillow": "10.0.0", "scikit-image": "0.24", "pycocotools": "2.0.8"})
        assert not foreign.run(Bar)
    mine = noise(tmp_path / "A", Shard(1, 2))
    assert not mine.run(Bar)
    shutil.copytree(foreign.folder.path / "journal", mine.folder.path / "journal", dirs_exist_ok=True)
    with pytest.raises(RunError, match=r'versions.Pillow "10.0.0" -> '):
        noise(tmp_path / "A").run(Bar)
    with monkeypatch.context() as torch:
        torch.setattr("ldznet_bench.evaluation.workers.packages", lambda: {"torch": "2.6.0"})
        assert not noise(tmp_path / "C", Shard(0, 2)).run(Bar)
    last = noise(tmp_path / "C", Shard(1, 2))
    assert last.run(Bar)
    assert content(last) == whole
    workers = json.loads((last.folder.path / "run.json").read_text())["provenance"]["workers"]
    assert workers[0]["packages"] == {"torch": "2.6.0"} != workers[1]["packages"], "told, though it decides nothing"


def test_shards_that_are_copied_together_merge(tmp_path, whole):
    """Machines that share no folder: `rsync` of one RUNS into the other, and the same command again."""
    away, here = noise(tmp_path / "B", Shard(0, 2)), noise(tmp_path / "A", Shard(1, 2))
    assert not away.run(Bar)
    assert not here.run(Bar)
    shutil.copytree(tmp_path / "B", tmp_path / "A", dirs_exist_ok=True)
    merged = noise(tmp_path / "A")
    assert merged.run(Bar)
    assert content(merged) == whole


def test_a_finished_run_of_something_else_in_the_folder_is_refused(tmp_path):
    foreign, mine = make_cell(tmp_path / "B", weighed("b" * 64)), make_cell(tmp_path / "A", weighed("a" * 64))
    assert foreign.run(Bar)
    shutil.copytree(foreign.folder.path, mine.folder.path)
    with pytest.raises(RunError, match=r"run.json what was made with something else: weights bbbbbbbbbb… -> aaaaaaaaaa…"):
        mine.run(Bar)


def test_a_limited_runs_journal_is_not_taken_for_a_full_ones(tmp_path):
    some = noise(tmp_path, Shard(0, 2), limit=30)
    assert not some.run(Bar)
    all_of_it = noise(tmp_path)
    shutil.copytree(some.folder.path / "journal", all_of_it.folder.path / "journal")
    with pytest.raises(RunError, match="limit 30 -> null"):
        all_of_it.run(Bar)


def test_a_journal_that_does_not_say_whose_it_is_is_refused(tmp_path):
    part = noise(tmp_path, Shard(0, 2))
    part.run(Bar)
    path = part.folder.journals[0]
    records = [row for frame in record_frames([path]) for row in read_batch(frame).to_pylist()]
    path.unlink()
    with Journal(path) as journal:
        journal.append(records)
    with pytest.raises(RunError, match="does not say what its records depend on"):
        noise(tmp_path).run(Bar)
