from __future__ import annotations

from typing import NamedTuple

import pytest

from ldznet_bench.cli import main


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def bench(capsys, tmp_path, monkeypatch):
    """Calls the command line in a folder of its own; any traceback is a failure of the test."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        code = main._run([str(argument) for argument in arguments])
        said = Said(code, *capsys.readouterr())
        assert "Traceback" not in said.err
        return said

    return call
