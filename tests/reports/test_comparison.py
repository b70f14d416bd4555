from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from synthetic_runs import write_run

from ldznet_bench.cli.compare import command as compare_verb
from ldznet_bench.cli.power import command as power_verb
from ldznet_bench.errors import BenchError
from ldznet_bench.reports.comparison import Settings, compare_models, find_models, measure_power, to_text
from ldznet_bench.reports.runs import read_run

FAST = {"resamples": 400}


def test_a_better_model_wins(tmp_path: Path) -> None:
    write_run(tmp_path, "a", n_images=100)
    write_run(tmp_path, "b", n_images=100, skill=1.6, model_seed=1)
    line = compare_models(tmp_path, "a", "b", Settings(**FAST))[0]
    assert line.comparison.delta > 0.03
    assert line.comparison.p is not None and line.comparison.p < 0.05
    assert "***" in to_text([line], "a", "b") or "**" in to_text([line], "a", "b")


def test_stars_are_withheld_below_fifty_images(tmp_path: Path) -> None:
    write_run(tmp_path, "a", n_images=40)
    write_run(tmp_path, "b", n_images=40, skill=3.0)
    text = to_text(compare_models(tmp_path, "a", "b", Settings(**FAST)), "a", "b")
    assert "*" not in text and "No stars below 50" in text


def test_oracle_scores_are_refused_unless_asked_for(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(tmp_path, name)
    with pytest.raises(BenchError, match="oracle-test"):
        compare_models(tmp_path, "a", "b", Settings(metrics=("miou_best",), **FAST))
    assert compare_models(tmp_path, "a", "b", Settings(metrics=("miou_best",), allow_oracle=True, **FAST))


def test_the_headline_of_ldznet_is_not_an_oracles(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(tmp_path, name, protocol="ldznet@1")
    assert compare_models(tmp_path, "a", "b", Settings(**FAST))[0].comparison.metric == "miou"


def test_holm_goes_over_datasets(tmp_path: Path) -> None:
    for name, skill in (("a", 1.0), ("b", 1.3)):
        for dataset in ("phrasecut:test", "refcoco-unc:val"):
            write_run(tmp_path, name, dataset, "native@1", skill=skill, model_seed=int(skill * 10))
    lines = compare_models(tmp_path, "a", "b", Settings(**FAST))
    assert [line.dataset for line in lines] == ["phrasecut:test", "refcoco-unc:val"]
    assert all(line.comparison.p_holm >= line.comparison.p for line in lines)  # type: ignore[operator]


def test_an_average_draws_shared_images_once(tmp_path: Path) -> None:
    for name, skill in (("a", 1.0), ("b", 1.2)):
        for dataset in ("refcoco-unc:val", "refcoco+-unc:val"):
            write_run(tmp_path, name, dataset, "refer@1", skill=skill, model_seed=int(skill * 10), coco_ids=True)
    lines = compare_models(tmp_path, "a", "b", Settings(average=True, **FAST))
    average = lines[-1]
    assert average.dataset == "average of 2"
    # The same 60 images twice: two thirds carry a COCO id and are shared, twenty are each set's own.
    assert average.comparison.n_images == 40 + 2 * 20
    assert average.comparison.delta == pytest.approx(sum(line.comparison.delta for line in lines[:2]) / 2)


def test_nothing_in_common_is_explained(tmp_path: Path) -> None:
    write_run(tmp_path, "a")
    write_run(tmp_path, "b", dataset="refcoco-unc:val")
    with pytest.raises(BenchError, match="no dataset and protocol in common"):
        compare_models(tmp_path, "a", "b", Settings(**FAST))


def test_other_data_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, "a")
    write_run(tmp_path, "b", fingerprint="0" * 64)
    with pytest.raises(BenchError, match="fingerprints"):
        compare_models(tmp_path, "a", "b", Settings(allow_mixed=True, **FAST))


def test_an_ambiguous_name_is_explained(tmp_path: Path) -> None:
    for name in ("clipseg/full+hf", "clipseg/full+paper"):
        write_run(tmp_path, name)
    with pytest.raises(BenchError, match="several models"):
        find_models(tmp_path, "clipseg")


def test_training_seeds_are_taken_together(tmp_path: Path) -> None:
    for k in range(3):
        write_run(tmp_path, f"a{k}", model_seed=k)
        write_run(tmp_path, f"b{k}", model_seed=10 + k)
    lines = compare_models(tmp_path, "a0,a1,a2", "b0,b1,b2", Settings(**FAST))
    assert lines[0].comparison.conditional
    assert "Conditional on these weights" in to_text(lines, "a", "b")


def test_slices_restrict_what_is_compared(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(tmp_path, name, model_seed=len(name))
    whole, part = (compare_models(tmp_path, "a", "b", Settings(where=where, **FAST))[0].comparison for where in ("", "n_instances>=3"))
    assert 0 < part.n_samples < whole.n_samples


def test_the_verb_prints_json_without_nan(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(tmp_path, name, n_images=4)
    done = CliRunner().invoke(compare_verb, ["a", "b", "--output", str(tmp_path), "--json", "--resamples", "100"], catch_exceptions=False)
    found = json.loads(done.output)[0]
    assert (found["p"], found["interval"]["low"], found["n_images"]) == (None, None, 4)


def test_pairing_shows_smaller_differences(tmp_path: Path) -> None:
    a, b = (read_run(write_run(tmp_path, name, n_images=200, model_seed=k)) for k, name in enumerate("ab"))
    alone, paired = measure_power(a, None), measure_power(a, b, difference=0.01)
    assert paired.detectable < alone.detectable
    assert paired.images_needed is not None and paired.images_needed > 0
    assert alone.spread.design_effect > 1


def test_power_of_a_ratio_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="not a mean"):
        measure_power(read_run(write_run(tmp_path, "a")), None, "oiou")


def test_the_power_verb_says_what_it_measured(tmp_path: Path) -> None:
    write_run(tmp_path, "a")
    done = CliRunner().invoke(power_verb, ["a", "--output", str(tmp_path), "--difference", "1"], catch_exceptions=False)
    assert "design effect" in done.output and "images of the kind" in done.output
