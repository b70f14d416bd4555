from __future__ import annotations

import multiprocessing
import os

import numpy as np
import pytest

from ldznet_bench.errors import BenchError, RunError
from ldznet_bench.evaluation.journal import Journal, frames, notes, read_batch, record_frames


def record(ident: str, hist: bool = True) -> dict[str, object]:
    return {
        "sample_id": ident,
        "image_id": "i",
        "phrase": "größe <script>",
        "width": 4,
        "height": 3,
        "n_instances": 1,
        "category": None,
        "coco_id": None,
        "tags": ["all"],
        "gt_area": 5,
        "pred_area": 6,
        "intersection": 4,
        "union": 7,
        "instance_areas": [5],
        "instance_intersections": [4],
        "hist_fg": np.arange(50, dtype=np.int32) if hist else None,
        "hist_bg": np.arange(50, dtype=np.int32) if hist else None,
        "seed": 2**64 - 1,
        "flags": [],
        "pred_rle": "abc",
        "score_map": None,
    }


def ids(path) -> list[str]:
    return [ident for frame in record_frames([path]) for ident in read_batch(frame).column("sample_id").to_pylist()]


def test_records_come_back_as_written(tmp_path):
    path = tmp_path / "a.bin"
    with Journal(path) as journal:
        journal.append([record("1"), record("2")])
        journal.note({"seconds": 0.5})
        journal.append([record("3", hist=False)])
    first, second = (read_batch(frame).to_pylist() for frame in record_frames([path]))
    assert first[1] == {**record("2"), "hist_fg": list(range(50)), "hist_bg": list(range(50))}
    assert second[0]["hist_fg"] is None
    assert list(notes([path])) == [{"seconds": 0.5}]


@pytest.mark.parametrize("cut", [1, 7, 19, 20, 25, 60])
def test_a_torn_tail_is_cut_and_writing_goes_on(tmp_path, cut):
    path = tmp_path / "a.bin"
    with Journal(path) as journal:
        journal.append([record("1")])
        journal.append([record("2")])
    whole = path.read_bytes()
    second = list(frames(path))[1].offset - 20  # where the header of the second frame begins
    path.write_bytes(whole[: second + cut])
    assert ids(path) == ["1"]
    with Journal(path) as journal:
        journal.append([record("2")])
    assert path.read_bytes() == whole


@pytest.mark.parametrize("place", [*range(-20, 0), 0, 3])
def test_a_flipped_bit_ends_the_journal_before_its_frame(tmp_path, place):
    path = tmp_path / "a.bin"
    with Journal(path) as journal:
        journal.append([record("1")])
        journal.append([record("2")])
    content = bytearray(path.read_bytes())
    content[list(frames(path))[1].offset + place] ^= 1
    path.write_bytes(content)
    assert ids(path) == ["1"]


def test_a_journal_of_an_earlier_version_is_not_thrown_away(tmp_path):
    path = tmp_path / "a.bin"
    with Journal(path) as journal:
        journal.append([record("1")])
    old = b"LDZJ" + path.read_bytes()[4:]
    path.write_bytes(old)
    with pytest.raises(RunError, match="earlier version"):
        Journal(path)
    assert path.read_bytes() == old


def hold(path, ready, leave):
    with Journal(path):
        ready.set()
        leave.wait(20)


def test_a_second_process_is_kept_out(tmp_path):
    path = tmp_path / "a.bin"
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    process = context.Process(target=hold, args=(path, ready, leave))
    process.start()
    assert ready.wait(20)
    with pytest.raises(RunError, match="another process"):
        Journal(path)
    leave.set()
    process.join(20)
    Journal(path).close()


def test_a_full_disk_is_an_error_and_what_was_written_before_stays(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    with Journal(path) as journal:
        journal.append([record("1")])
        real = os.write

        def half_then_full(descriptor: int, content: bytes) -> int:
            monkeypatch.setattr(os, "write", no_space)
            return real(descriptor, content[:10])

        def no_space(descriptor: int, content: bytes) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", half_then_full)
        with pytest.raises(BenchError, match=r"No space left on device.*Free some space"):
            journal.append([record("2")])
        monkeypatch.setattr(os, "write", real)
    assert ids(path) == ["1"]
    with Journal(path) as journal:
        journal.append([record("2")])
    assert ids(path) == ["1", "2"]
