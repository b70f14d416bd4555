"""What has arrived survives a kill, and nothing that a power cut garbled is trusted."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldznet_bench.acquisition.part import Origin, Part

ORIGIN = Origin("https://host/a", '"tag"', 100_000)
CHUNK = 1000


def filled(path: Path, data: bytes, chunk: int = CHUNK) -> Part:
    part = Part(path, chunk)
    part.begin(ORIGIN)
    for start in range(0, len(data), 333):
        part.write(data[start : start + 333])
    return part


@pytest.fixture
def data() -> bytes:
    return random.Random(0).randbytes(10_500)


def test_a_part_is_taken_up_at_its_last_whole_chunk(tmp_path: Path, data: bytes) -> None:
    filled(tmp_path / "p", data).close()
    again = Part(tmp_path / "p", CHUNK)
    assert again.offset == 10_000
    assert again.origin == ORIGIN


def test_the_running_hash_is_taken_up_too(tmp_path: Path, data: bytes) -> None:
    filled(tmp_path / "p", data).close()
    again = Part(tmp_path / "p", CHUNK)
    again.write(data[10_000:])
    assert again.sha256() == hashlib.sha256(data).hexdigest()
    again.place(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_chunk_that_a_power_cut_emptied_ends_the_trust(tmp_path: Path, data: bytes) -> None:
    filled(tmp_path / "p", data).close()
    with (tmp_path / "p").open("r+b") as file:
        file.seek(4_200)
        file.write(bytes(100))
    assert Part(tmp_path / "p", CHUNK).offset == 4_000


def test_a_part_shorter_than_its_journal(tmp_path: Path, data: bytes) -> None:
    filled(tmp_path / "p", data).close()
    os.truncate(tmp_path / "p", 2_500)
    assert Part(tmp_path / "p", CHUNK).offset == 2_000


@pytest.mark.parametrize("journal", [b"", b"garbage", b"{}\n", b'{"source": "x"}\n00000000\n', b"\xff\xfe\n"])
def test_a_journal_that_cannot_be_read_starts_anew(tmp_path: Path, data: bytes, journal: bytes) -> None:
    filled(tmp_path / "p", data).close()
    (tmp_path / "p.journal").write_bytes(journal)
    part = Part(tmp_path / "p", CHUNK)
    assert (part.offset, part.origin) == (0, None)


def test_another_chunk_size_starts_anew(tmp_path: Path, data: bytes) -> None:
    filled(tmp_path / "p", data).close()
    assert Part(tmp_path / "p", 500).offset == 0


def test_closing_twice_closes_nothing_of_others(tmp_path: Path, data: bytes) -> None:
    part = filled(tmp_path / "p", data)
    part.close()
    with (tmp_path / "other").open("wb") as other:
        part.close()
        other.write(b"still open")
    assert (tmp_path / "other").read_bytes() == b"still open"


@settings(max_examples=40, deadline=None)
@given(size=st.integers(0, 5000), cut=st.integers(0, 5000), journal_cut=st.integers(0, 120))
def test_whatever_is_cut_the_rest_is_a_prefix(tmp_path_factory: pytest.TempPathFactory, size: int, cut: int, journal_cut: int) -> None:
    folder = tmp_path_factory.mktemp("part")
    data = random.Random(size).randbytes(size)
    filled(folder / "p", data, 256).close()
    os.truncate(folder / "p", min(cut, size))
    length = (folder / "p.journal").stat().st_size
    os.truncate(folder / "p.journal", max(0, length - journal_cut))
    part = Part(folder / "p", 256)
    assert (folder / "p").read_bytes() == data[: part.offset]
    assert part.sha256() == hashlib.sha256(data[: part.offset]).hexdigest()
    assert part.offset <= min(cut, size)
    part.close()
