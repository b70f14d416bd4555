"""The real photographs, which are no whole release: refused with a table, or accepted and stamped partial."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from acquiring import Bench


def test_phrasecut_is_refused_with_expected_and_found_counts(bench: Bench, real_data: Path, tmp_path: Path) -> None:
    code, _, err = bench("download", "phrasecut:test", "--from", real_data / "VGPhraseCut_v0", "--offline", "--quiet")
    assert code == 2
    lines = [line.split() for line in err.splitlines()]
    assert ["images", "2,545", "68"] in lines
    assert ["phrases", "14,354", "363"] in lines
    assert ["image", "files", "2,545", "68"] in lines
    assert "--allow-partial" in err
    assert not list((tmp_path / "home" / "datasets").rglob("*.json"))


@pytest.mark.parametrize(
    ("name", "source", "samples"),
    [
        ("phrasecut:test", "VGPhraseCut_v0", 363),
        ("refcoco-unc:testA", "refer", 104),
        ("refcoco+-unc:testB", "refer", 264),
        ("refcocog-umd:test", "refer", 457),
    ],
)
def test_what_is_accepted_is_stamped_partial_and_runs(bench: Bench, real_data: Path, name: str, source: str, samples: int) -> None:
    arguments = ("download", name, "--from", real_data / source, "--offline", "--allow-partial", "--quiet", "--json")
    code, out, err = bench(*arguments)
    assert code == 0, err
    (prepared,) = json.loads(out)["done"][0]["prepared"]
    assert prepared["samples"] == samples
    assert prepared["partial"]
    code, out, err = bench("run", "--models", "oracle", "--datasets", name, "--offline", "--json", "--quiet")
    assert code == 0, err
    (run,) = json.loads(out)["runs"]
    assert (run["n_samples"], run["metrics"]["miou"]) == (samples, 1)


def test_list_and_info_say_what_is_here(bench: Bench, real_data: Path) -> None:
    bench("download", "phrasecut:miniv", "--from", real_data, "--offline", "--allow-partial", "--quiet")
    rows = {row["name"]: row for row in json.loads(bench("list", "datasets", "--json")[1])["datasets"]}
    assert rows["phrasecut:miniv"]["state"] == "on disk"
    assert rows["phrasecut:miniv"]["bytes"] > 1_000_000
    assert rows["refcoco-unc:val"]["bytes"] is None
    about = json.loads(bench("info", "phrasecut:miniv", "--json")[1])
    assert about["at_hand"]["samples"] == 58
    assert len(about["at_hand"]["fingerprint"]) == 64
