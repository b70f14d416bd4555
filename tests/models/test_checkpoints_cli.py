"""``ldznet-bench convert``: what it says, what it writes, and how it exits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from make_sd import official_tensors, save_lightning, small_architecture, write_tokenizer

from ldznet_bench.cli.convert import command
from ldznet_bench.errors import BenchError, WeightsError


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("convert")
    save_lightning(official_tensors("small", "fanin"), folder / "LDZNet_txt2mask.ckpt")
    (folder / "small.json").write_text(json.dumps(small_architecture().to_json()))
    write_tokenizer(folder / "clip")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False, standalone_mode=False)


def test_dry_run_accounts_for_every_tensor_and_writes_nothing(places: Path, tmp_path: Path) -> None:
    result = run(places / "LDZNet_txt2mask.ckpt", tmp_path / "ours", "--dry-run", "--architecture", places / "small.json")
    assert result.return_value == 0
    assert "nothing left over" in result.output
    assert "not imported: _codecs.encode, fractions.Fraction" in result.output
    assert not (tmp_path / "ours").exists()


def test_dry_run_lists_what_does_not_fit(places: Path, tmp_path: Path) -> None:
    tensors = official_tensors("small", "fanin")
    del tensors["first_stage_model.quant_conv.bias"]
    file = save_lightning({**tensors, "model.extra": torch.ones(2)}, tmp_path / "odd.ckpt")
    result = run(file, "--dry-run", "--architecture", places / "small.json")
    assert result.return_value == 2
    assert "only in the file: model.extra [2]" in result.output
    assert "missing from the file: vae/first_stage_model.quant_conv.bias [8]" in result.output


def test_json_report(places: Path) -> None:
    result = run(places / "LDZNet_txt2mask.ckpt", "--dry-run", "--json", "--architecture", places / "small.json")
    report = json.loads(result.output)["report"]
    assert report["complete"]
    assert report["labels"]["segmenter"] == "ema"


def test_folder_is_written_with_a_tokenizer(places: Path, tmp_path: Path) -> None:
    result = run(places / "LDZNet_txt2mask.ckpt", tmp_path / "ours", "--tokenizer", places / "clip", "--architecture", places / "small.json")
    assert result.return_value == 0
    assert f"wrote {tmp_path / 'ours'}" in result.output
    assert (tmp_path / "ours" / "tokenizer" / "vocab.json").is_file()
    assert (tmp_path / "ours" / "segmenter" / "model.safetensors").is_file()


def test_target_is_asked_for(places: Path) -> None:
    with pytest.raises(BenchError, match="no folder to write"):
        run(places / "LDZNet_txt2mask.ckpt")


def test_tokenizer_that_is_none(places: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="holds no tokenizer"):
        run(places / "LDZNet_txt2mask.ckpt", tmp_path / "ours", "--tokenizer", tmp_path)


def test_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is nothing at"):
        run(tmp_path / "absent.ckpt", "--dry-run")
