from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from synthetic_runs import write_run

from ldznet_bench.reports.grid import Options
from ldznet_bench.reports.latex import escape, to_latex, to_macros
from ldznet_bench.reports.layout import lay_out, load_layout
from ldznet_bench.reports.runs import find_runs
from ldznet_bench.reports.table import make_table

NASTY = r"a_b & 50% #1 $x^2$ {~} \input <i> | -- é " + "\N{CJK UNIFIED IDEOGRAPH-4E2D}\N{GREEK SMALL LETTER ALPHA}"
needs_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")


def compiled(tmp_path: Path, body: str) -> str:
    """Set a document with plain pdflatex; its text where pdftotext is there."""
    document = "\n".join(
        [r"\documentclass{article}", r"\usepackage[T1]{fontenc}", r"\usepackage{textcomp,booktabs}", r"\begin{document}", body, r"\end{document}"]
    )
    (tmp_path / "t.tex").write_text(document)
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "t.tex"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Missing character" not in (tmp_path / "t.log").read_text(errors="replace")
    if shutil.which("pdftotext") is None:
        return ""
    return subprocess.run(["pdftotext", "-layout", "t.pdf", "-"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout


@needs_latex
@pytest.mark.parametrize("name", ["ldznet-table1", "ldznet-table2", "ldznet-table3"])
def test_the_papers_tables_compile(tmp_path: Path, name: str) -> None:
    layout = load_layout(name)
    runs = tmp_path / "runs"
    for dataset, protocol in sorted({(column.dataset, column.protocol) for column in layout.columns}):
        for seed, model in enumerate(("clipseg/full+hf", "ldznet/full+paper")):
            write_run(runs, model, dataset, protocol, n_images=55, per_image=1, model_seed=seed)
    table = lay_out(layout, find_runs(runs)[0], Options(strict=True, intervals=True, pm=True, resamples=100))
    text = compiled(tmp_path, to_latex(table))
    if text:
        assert "LD-ZNet" in text and "Measured here" in text


@needs_latex
def test_the_table_of_todays_field_compiles(tmp_path: Path) -> None:
    layout = load_layout("field-2026")
    runs = tmp_path / "runs"
    models = ("ldznet/full+paper", "clipseg/full+hf", "sam3/full+semantic", "grounding-dino/sam2+union")
    for dataset, protocol in sorted({(column.dataset, column.protocol) for column in layout.columns}):
        for seed, model in enumerate(models):
            write_run(runs, model, dataset, protocol, n_images=20, per_image=1, model_seed=seed, binary="dino" in model)
    table = lay_out(layout, find_runs(runs)[0], Options(strict=True))
    assert [column.over for column in table.columns] == [
        *("RefCOCO", "RefCOCO+", "RefCOCOg", "gRefCOCO", "gRefCOCO", "gRefCOCO", "gRefCOCO"),
        *("ReasonSeg", "ReasonSeg", "PhraseCut", "AIGI"),
    ]
    assert [row.label for row in table.rows][-4:] == ["LD-ZNet", "CLIPSeg", "SAM 3", "Grounding DINO + SAM 2"]
    assert all(row.published for row in table.rows[:6])
    assert not any(row.published for row in table.rows[6:])
    assert all(len(row.values) == len(table.columns) for row in table.rows[6:])
    text = compiled(tmp_path, to_latex(table))
    if text:
        assert "N-acc" in text and "Grounding DINO + SAM 2" in text and "†" in text


@needs_latex
def test_special_characters_in_every_name_compile(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    write_run(runs, NASTY.replace("/", ""), dataset="folder:a_b%#&", n_images=8)
    table = make_table(find_runs(runs)[0], Options(metrics=("all",), caption=NASTY, label="tab:x", by='phrase!="%_#"'))
    text = compiled(tmp_path, to_latex(table))
    if text:
        assert "a_b & 50%" in text and "[U+4E2D]" in text


@needs_latex
def test_macros_compile_and_say_the_tables_numbers(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    write_run(runs, "ld_znet/full+p2", n_images=8)
    table = make_table(find_runs(runs)[0], Options(metrics=("miou",), intervals=True, resamples=50))
    macros = to_macros(table)
    name = re.findall(r"\\newcommand\{\\(\w+)\}", macros)[0]
    assert name == "resLdZnetFullPlusPTwoPhrasecutTestMiouClipsegOne"
    value = next(iter(table.rows[0].values.values()))
    text = compiled(tmp_path, macros + f"\nscore: \\{name}.")
    if text:
        assert f"score: {100 * (value.score or 0):.2f}." in text


def test_macro_names_are_letters_and_unique(tmp_path: Path) -> None:
    for name in ("a-b", "a_b", "ab"):
        write_run(tmp_path, name, n_images=6)
    names = re.findall(r"\\newcommand\{\\([^}]+)\}", to_macros(make_table(find_runs(tmp_path)[0], Options(metrics=("all",)))))
    assert len(names) == len(set(names)) == 15
    assert all(name.isalpha() and name.isascii() for name in names)


def test_best_is_bold_and_second_underlined(tmp_path: Path) -> None:
    for skill in (0.0, 1.0, 2.0):
        write_run(tmp_path, f"m{skill:.0f}", skill=skill, n_images=10)
    lines = to_latex(make_table(find_runs(tmp_path)[0])).splitlines()
    assert [bool(re.search(rf"^{name} & {style}", line)) for name, style, line in zip(
        ("m0", "m1", "m2"), (r"\d", r"\\underline", r"\\textbf"), (line for line in lines if re.match(r"m\d &", line)), strict=True
    )] == [True] * 3  # fmt: skip


def test_no_command_of_a_name_survives() -> None:
    assert escape(r"\input{x}") == r"\textbackslash{}input\{x\}"
