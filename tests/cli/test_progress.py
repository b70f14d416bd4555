"""Progress where there is no terminal: lines now and then."""

from ldznet_bench.cli import progress


def test_nothing_is_foretold_before_the_first_sample(monkeypatch, capsys):
    clock = iter([0.0, 20.0, 40.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    lines = progress._Lines("net on data", 6)
    lines.update(0)
    assert capsys.readouterr().err == "net on data: 0/6 samples\n"
    lines.update(1)
    assert capsys.readouterr().err == "net on data: 1/6 samples, 0.025/s, 200 s left\n"
