"""A paper's table may have a row for a model under other words."""

from __future__ import annotations

from ldznet_bench.cli import main

LAYOUT = """
caption: Controls.
label: tab:c
paper: ldznet
columns: [{title: mIoU, dataset: "minicut-photo:test", protocol: native@1, metric: miou}]
rows: [{model: center, title: Plain}, {model: center~blank, title: Blank}]
"""


def test_a_layout_names_a_run_under_a_phrase_control(tmp_path, capsys):
    runs, layout = tmp_path / "runs", tmp_path / "layout.yaml"
    layout.write_text(LAYOUT)
    assert main._run(["run", "--models", "center", "--control", "none,blank", "--limit", "4", "--output", str(runs), "--quiet"]) == 0
    capsys.readouterr()
    assert main._run(["report", "--layout", str(layout), "--output", str(runs), "--limited", "--allow-mixed"]) == 0
    table = capsys.readouterr().out
    assert "| Plain" in table and "| Blank" in table
