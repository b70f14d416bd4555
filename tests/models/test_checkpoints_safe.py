"""Reading torch checkpoints: every tensor as torch would, nothing run, and files that are not what they say."""

from __future__ import annotations

import contextlib
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from ldznet_bench.errors import WeightsError
from ldznet_bench.models.safe_checkpoint import read_checkpoint, read_tensors

TENSORS = {
    "plain": torch.arange(12.0).view(3, 4),
    "transposed": torch.arange(12.0).view(3, 4).t(),
    "part.of.another": torch.arange(10.0)[3:7],
    "strided": torch.arange(10)[::2],
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
    "half": torch.ones(2, dtype=torch.float16),
    "bfloat": torch.ones(2, dtype=torch.bfloat16),
    "truth": torch.tensor([True, False]),
    "parameter": torch.nn.Parameter(torch.randn(2)),
}


class Calls:
    """Pickles to a call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def saved(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "model.ckpt"
    torch.save(content, path)
    return path


@pytest.mark.parametrize("wrap", [dict, OrderedDict, lambda state: {"state_dict": state, "epoch": 1}], ids=["dict", "ordered", "lightning"])
def test_tensors_are_what_torch_reads(tmp_path: Path, wrap: object) -> None:
    found = read_checkpoint(saved(tmp_path, wrap(TENSORS))).tensors
    assert list(found) == list(TENSORS)
    for name, value in TENSORS.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)


def test_nested_dictionaries_join_their_names(tmp_path: Path) -> None:
    assert list(read_checkpoint(saved(tmp_path, {"net": {"a": torch.ones(1), "note": "text"}})).tensors) == ["net.a"]


def test_code_is_not_run_and_is_named(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    evil = [Calls(os.system, f"touch {mark}"), Calls(eval, f"open({str(mark)!r}, 'w')"), Calls(Path.touch, mark)]
    checkpoint = read_checkpoint(saved(tmp_path, {"state_dict": {"a": torch.ones(1)}, "evil": evil}))
    assert not mark.exists()
    assert {"posix.system", "builtins.eval"} <= {name.replace("__builtin__", "builtins") for name in checkpoint.placeholders}
    assert torch.equal(checkpoint.tensors["a"], torch.ones(1))


def test_code_inside_the_state_dict_is_not_run_either(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    checkpoint = read_checkpoint(saved(tmp_path, {"a": torch.ones(1), "b": Calls(os.system, f"touch {mark}")}))
    assert not mark.exists()
    assert list(checkpoint.tensors) == ["a"]


def test_ordinary_lightning_objects_become_placeholders(tmp_path: Path) -> None:
    content = {"state_dict": {"a": torch.ones(1)}, "callbacks": {torch.nn.Linear: torch.nn.Linear(2, 2)}, "score": np.float64(1)}
    checkpoint = read_checkpoint(saved(tmp_path, content))
    assert "torch.nn.modules.linear.Linear" in checkpoint.placeholders
    assert checkpoint.others == ("callbacks", "score")


def test_attributes_cannot_be_set_on_what_makes_tensors(tmp_path: Path) -> None:
    """BUILD with a slot state sets attributes on whatever find_class returned."""
    body = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x08\x00\x00\x00__call__K\x01s\x86b."
    with pytest.raises(WeightsError, match=r"no checkpoint's"):
        read_checkpoint(zipped(tmp_path, body))


def test_object_numbers_cannot_exhaust_memory(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="object number 4294967295"):
        read_checkpoint(zipped(tmp_path, b"\x80\x02}r\xff\xff\xff\xff."))


def zipped(tmp_path: Path, body: bytes) -> Path:
    path = tmp_path / "model.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", body)
    return path


def test_tensor_past_the_end_of_its_storage_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, {"a": torch.arange(100.0)})
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content[:40] if name.endswith("data/0") else content)
    with pytest.raises(WeightsError, match="reaches past the end"):
        read_checkpoint(path)


def test_storage_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, {"a": torch.arange(100.0)})
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if not name.endswith("data/0")}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(WeightsError, match="lacks the bytes"):
        read_checkpoint(path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = saved(tmp_path, TENSORS)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match=r"empty|truncated|not a torch checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"<!DOCTYPE html><html>quota</html>", "web page"), (pickle.dumps({}), "bare pickle"), (b"\x00" * 100, "not with a zip's PK")],
)
def test_another_kind_of_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=said):
        read_checkpoint(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weights file"):
        read_checkpoint(tmp_path / "absent.ckpt")


@pytest.mark.parametrize("content", [{}, {"epoch": 1}, [torch.ones(1)], torch.nn.Linear(1, 1)], ids=["nothing", "numbers", "list", "module"])
def test_checkpoint_without_tensors(tmp_path: Path, content: object) -> None:
    with pytest.raises(WeightsError, match="holds no tensors"):
        read_checkpoint(saved(tmp_path, content))


def test_truncated_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\xff" * 20)
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        read_checkpoint(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80))
def test_any_bytes_for_a_pickle_end_in_a_weights_error(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(WeightsError):
        read_checkpoint(zipped(tmp_path, body))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_flipped_byte_in_the_pickle_ends_in_tensors_or_a_weights_error(tmp_path: Path, data: st.DataObject) -> None:
    path = saved(tmp_path, TENSORS)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if name.endswith("data.pkl"):
                at = data.draw(st.integers(0, len(content) - 1))
                content = content[:at] + bytes([data.draw(st.integers(0, 255))]) + content[at + 1 :]
            archive.writestr(name, content)
    with contextlib.suppress(WeightsError):
        assert read_checkpoint(path).tensors


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_plain_tensors_of_either_kind(tmp_path: Path, name: str) -> None:
    save = save_file if name.endswith("safetensors") else torch.save
    tensors = {key: value.detach().contiguous() for key, value in TENSORS.items()}
    save(tensors, tmp_path / name)
    found = read_tensors(tmp_path / name)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[key], tensors[key]) for key in tensors)


def test_plain_tensors_beside_code_are_refused_and_the_code_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    with pytest.raises(WeightsError, match=r"no plain file of tensors: its pickle names posix\.mkdir"):
        read_tensors(saved(tmp_path, {"a": torch.ones(1), "b": Calls(os.mkdir, str(mark))}))
    assert not mark.exists()


def test_a_file_of_torch_before_1_6_says_what_to_do(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match=r"bare pickle, as torch before 1\.6 wrote it.*save it with torch\.save"):
        read_tensors(tmp_path / "old.bin")
