"""Weight files: identity, reading without running code, and what is refused."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import torch

from ldznet_bench.errors import WeightsError
from ldznet_bench.models import weights
from ldznet_bench.models.weights import check_finite, check_shapes, hash_files, listed


def write(folder: Path, **contents: str) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_text(content)
    return {name: folder / name for name in contents}


def test_hash_is_that_of_a_sha256sum_listing(tmp_path: Path) -> None:
    files = write(tmp_path, b="2", a="1")
    listing = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in (("a", b"1"), ("b", b"2")))
    assert hash_files(files) == hashlib.sha256(listing.encode()).hexdigest()


def test_hash_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    assert hash_files(write(tmp_path / "x", a="1")) == hash_files(write(tmp_path / "y", a="1"))


@pytest.mark.parametrize("other", [{"a": "2"}, {"b": "1"}, {"a": "1", "b": ""}])
def test_hash_follows_names_and_contents(tmp_path: Path, other: dict[str, str]) -> None:
    assert hash_files(write(tmp_path / "x", a="1")) != hash_files(write(tmp_path / "y", **other))


def test_an_unchanged_file_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, cache = write(tmp_path, a="1"), tmp_path / "cache.json"
    first = hash_files(files, cache)
    monkeypatch.setattr(weights.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    assert hash_files(files, cache) == first


def test_a_file_changed_under_its_old_time_is_read_again(tmp_path: Path) -> None:
    files, cache = write(tmp_path, a="1"), tmp_path / "cache.json"
    first, stat = hash_files(files, cache), files["a"].stat()
    files["a"].write_text("2")
    os.utime(files["a"], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert hash_files(files, cache) != first


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"x": 1}', '{"x": ["y"]}'])
def test_a_damaged_cache_is_no_cache(tmp_path: Path, content: str) -> None:
    files, cache = write(tmp_path, a="1"), tmp_path / "cache.json"
    cache.write_text(content)
    assert hash_files(files, cache) == hash_files(files)


def test_an_unwritable_cache_does_not_stop_a_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    files = write(tmp_path, a="1")
    assert hash_files(files, tmp_path / "file" / "cache.json") == hash_files(files)


def test_the_cache_forgets_files_that_are_gone(tmp_path: Path) -> None:
    cache = tmp_path / "cache.json"
    first, second = write(tmp_path, a="1"), write(tmp_path, b="2")
    hash_files(first, cache)
    first["a"].unlink()
    hash_files(second, cache)
    assert str(first["a"]) not in cache.read_text()


def test_a_missing_file_cannot_be_hashed(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="gone cannot be read: No such file"):
        hash_files({"gone": tmp_path / "gone"})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_names_what_is_not_finite(tmp_path: Path, value: float) -> None:
    tensors = {"fine": torch.ones(2), "count": torch.ones(2, dtype=torch.int64), "bad": torch.tensor([1, value])}
    with pytest.raises(WeightsError, match="NaN or infinite values in bad"):
        check_finite(tensors, tmp_path)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"a": (2,)}, "missing: b 3x1"),
        ({"a": (2,), "b": (3, 1), "c": ()}, "not of this network: c scalar"),
        ({"a": (2,), "b": (3,)}, "of another shape: b 3, expected 3x1"),
    ],
)
def test_names_what_does_not_fit(tmp_path: Path, found: dict[str, tuple[int, ...]], message: str) -> None:
    expected = {"a": torch.empty(2), "b": torch.empty(3, 1)}
    with pytest.raises(WeightsError, match=f"does not fit net. {message}"):
        check_shapes({name: torch.empty(shape) for name, shape in found.items()}, expected, tmp_path, "net")


def test_long_lists_are_cut() -> None:
    assert listed(map(str, range(9))) == "0, 1, 2, 3, 4, 5 and 3 more"
