"""The house rules that code can hold: who may import whom, what may not be imported early, and that data folders shadow nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
PACKAGE = REPOSITORY / "ldznet_bench"

# What a card may say of its files: a schema without behaviour, which cards of datasets and models share.
SCHEMA = "ldznet_bench.acquisition.specs"

# Each package, and the packages that it must not know.
MUST_NOT_KNOW = {
    "masks": {"datasets", "metrics", "models", "evaluation", "statistics", "reports", "acquisition", "cli", "api"},
    "minicut": {"datasets", "metrics", "models", "evaluation", "statistics", "reports", "acquisition", "training", "cli", "api"},
    "metrics": {"datasets", "models", "evaluation", "statistics", "reports", "acquisition", "cli", "api"},
    "models": {"metrics", "evaluation", "statistics", "reports", "cli", "api"},
    "datasets": {"metrics", "models", "evaluation", "statistics", "reports", "acquisition", "cli", "api"},
    "statistics": {"datasets", "models", "evaluation", "reports", "acquisition", "cli", "api"},
    "reports": {"models", "evaluation", "acquisition", "cli", "api"},
    "evaluation": {"statistics", "reports", "acquisition", "cli"},
    "training": {"statistics", "reports", "acquisition", "cli", "api"},
    "acquisition": {"metrics", "evaluation", "statistics", "reports", "cli", "api"},
}


def imports(file: Path) -> set[str]:
    """The packages of ours that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ldznet_bench"):
            if node.module == SCHEMA:
                continue
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("ldznet_bench.")}
    return found


def test_nobody_but_the_command_line_knows_training():
    for file in PACKAGE.rglob("*.py"):
        if file.parent.name not in ("cli", "training"):
            assert "training" not in imports(file), file


@pytest.mark.parametrize("package", sorted(MUST_NOT_KNOW))
def test_packages_know_only_what_is_below_them(package):
    for file in (PACKAGE / package).rglob("*.py"):
        known = imports(file) & MUST_NOT_KNOW[package]
        assert not known, f"{file.relative_to(REPOSITORY)} imports {known}"


def test_nobody_knows_the_command_line():
    for file in PACKAGE.rglob("*.py"):
        if file.parent.name != "cli":
            assert "cli" not in imports(file), file


def loaded(statement: str) -> set[str]:
    """Top-level modules that a statement brings in, in an interpreter of its own at the checkout's root."""
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    "statement",
    [
        "import ldznet_bench.cli.main, ldznet_bench.cli.list, ldznet_bench.cli.info, ldznet_bench.cli.report",
        "import ldznet_bench.minicut.generate",
        "import ldznet_bench.evaluation.plan, ldznet_bench.evaluation.predictions, ldznet_bench.datasets.load, ldznet_bench.datasets.store",
    ],
)
def test_torch_and_the_datasets_library_are_not_imported_before_they_are_needed(statement):
    assert not loaded(statement) & {"torch", "transformers", "diffusers", "datasets", "matplotlib"}


def test_the_help_brings_in_little():
    assert not loaded("import ldznet_bench.cli.main") & {"numpy", "pyarrow", "pandas", "yaml", "PIL"}


def test_the_hugging_face_library_is_what_datasets_means_at_the_checkouts_root():
    code = "import datasets; print(datasets.Dataset.__module__, datasets.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("datasets.arrow_dataset ")
    assert str(REPOSITORY / "datasets") not in done.stdout


@pytest.mark.parametrize("folder", ["datasets", "baselines", "results"])
def test_data_folders_hold_no_python(folder):
    assert not list((REPOSITORY / folder).rglob("*.py"))


def test_every_verb_has_examples_and_every_option_a_description():
    import click

    from ldznet_bench.cli import main

    for verb in main.VERBS:
        command = main.cli.get_command(click.Context(main.cli), verb)
        assert "Example" in command.help, verb
        for option in command.params:
            if isinstance(option, click.Option) and option.name not in ("device", "precision"):
                assert option.help, f"{verb} {option.opts}"
