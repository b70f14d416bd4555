"""Where a tuned threshold may be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from ldznet_bench.atomic import write_json
from ldznet_bench.errors import BenchError
from ldznet_bench.evaluation.identity import Identity, Threshold
from ldznet_bench.evaluation.tuning import read_threshold
from ldznet_bench.models.trivial import Noise
from ldznet_bench.protocols import get_protocol

RULES = get_protocol("native@1")


def read(folder: Path, tuned_on: str, scored: str) -> Threshold:
    noise = Noise()
    content = {"threshold": 0.25, "dataset": tuned_on, "model": noise.name, "weights": noise.weights, "recipe": noise.recipe}
    write_json(folder / "t.json", {**content, "protocol": RULES.full_name, "protocol_digest": RULES.digest()})
    return read_threshold(folder / "t.json", dataset=scored, protocol=RULES, segmenter=noise)


@pytest.mark.parametrize(
    ("tuned_on", "scored"),
    [("phrasecut:val", "phrasecut:test"), ("refcoco-unc:val", "refcoco-unc:testA"), ("minicut-photo:val", "minicut-art:test")],
)
def test_it_holds_for_the_splits_of_one_family_and_for_the_domains_of_the_miniature(tuned_on: str, scored: str, tmp_path: Path) -> None:
    assert read(tmp_path, tuned_on, scored).value == 0.25


@pytest.mark.parametrize(
    ("tuned_on", "scored"), [("refcocog-umd:val", "refcocog-google:val"), ("refcoco-unc:val", "phrasecut:test"), ("minicut-photo:val", "aigi:test")]
)
def test_it_does_not_for_other_families_or_partitions(tuned_on: str, scored: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="They differ in dataset"):
        read(tmp_path, tuned_on, scored)


def test_a_threshold_tuned_anew_to_the_same_value_does_not_make_another_cell(tmp_path: Path) -> None:
    first = read(tmp_path, "phrasecut:val", "phrasecut:test")
    again = read(tmp_path, "phrasecut:miniv", "phrasecut:test")
    assert first.file != again.file
    one, other = (Identity.of(Noise(), "phrasecut:test", "f", RULES, threshold, 0) for threshold in (first, again))
    assert one.digest == other.digest
    assert one.digest != Identity.of(Noise(), "phrasecut:test", "f", RULES, Threshold(0.25), 0).digest
