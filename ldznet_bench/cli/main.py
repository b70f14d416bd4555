"""The entry point: verbs are imported when they are called, and a user's mistake is a sentence, not a traceback."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

import click

from ldznet_bench import __version__
from ldznet_bench.errors import BenchError, BenchWarning, UnfinishedError, unknown_name

# Verb -> what `--help` says of it, so that listing the verbs imports none of them. Each lives in `ldznet_bench.cli.<verb>` as `command`.
VERBS = {
    "download": "Fetch datasets and weights, verify and prepare them.",
    "verify": "Look again at everything that was downloaded.",
    "remove": "Remove what was downloaded and prepared.",
    "list": "Models, datasets, protocols, controls, and what is on disk.",
    "info": "Everything about one dataset, model or protocol.",
    "run": "Run models over datasets and count.",
    "score": "Score masks or score maps that another model wrote.",
    "tune": "Choose a threshold on a val split.",
    "report": "Tables over finished runs.",
    "compare": "Is one model better than another, or is it chance?",
    "power": "The smallest difference that a split can show.",
    "check-reproduction": "A run against the published numbers of its model.",
    "leaderboard": "A folder of runs that anybody can check again.",
    "export": "A run in the forms of others.",
    "analyse": "Kinds of mistakes, calibration, and what the threshold is worth.",
    "controls": "How much a model listens: its score under other words.",
    "audit": "Leakage: what a model has seen, and what that is worth.",
    "diff": "Samples that two runs of one cell counted differently.",
    "benchmark": "How fast models are, and what speed does to their scores.",
    "predict": "Segment one image by phrases.",
    "train": "Train a network, or all of the miniature.",
    "probe": "What each block of the diffusion model knows; the validity gate.",
    "convert": "Turn the authors' checkpoints into safetensors.",
}


class Verbs(click.Group):
    """A group that knows its verbs' names without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb, in the order a user meets them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb's module."""
        if cmd_name not in VERBS:
            raise unknown_name("command", cmd_name, VERBS)
        command: click.Command = importlib.import_module(f"ldznet_bench.cli.{cmd_name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "LDZNET_BENCH"})
@click.version_option(__version__, "--version", prog_name="ldznet-bench")
def cli() -> None:
    """Benchmark text-prompted image segmentation under named protocols.

    \b
    Examples:
      ldznet-bench run --models oracle,box
      ldznet-bench run --models clipseg --weights clipseg=DIR --datasets phrasecut:test --data-root RELEASES
      ldznet-bench score --dataset phrasecut:test --predictions MASKS --protocol phrasecut@1 --name mine --data-root RELEASES
      ldznet-bench report --latex
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 well, 1 something failed, 2 a mistake that the message says how to mend, 130 stopped by Ctrl-C."""
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller (2>&-)
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for as long as the process lives
    with warnings.catch_warnings(), contextlib.redirect_stderr(cast(TextIO, _Patient(sys.stderr))):
        warnings.showwarning = _note
        return _call(arguments)


class _Patient:
    """Standard error whose reader may have gone: what nobody hears is no reason to stop."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - all else is the stream's
        return getattr(self._stream, name)


def _note(message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None, line: str | None = None) -> None:
    """What changes how a number should be read is said as a sentence; warnings of other libraries are not for users."""
    if issubclass(category, BenchWarning):
        click.echo(f"Note: {message}", err=True)


def _call(arguments: list[str] | None) -> int:
    try:
        code: Any = cli.main(arguments, standalone_mode=False)
        sys.stdout.flush()
    except UnfinishedError as error:
        from ldznet_bench.cli.unfinished import describe

        return _say("\n".join([f"Error: {error}", *describe(error.folders)]), 2)
    except BenchError as error:
        return _say(f"Error: {error}", 2)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _say("\nStopped. What was counted is kept: the same command continues.", 130)
    except BrokenPipeError:  # before OSError, which it is one of
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader went away (| head); nothing is wrong
        return 0
    except UnicodeEncodeError as error:
        odd = str(error.object)[error.start : error.end].encode("ascii", "backslashreplace").decode()
        if error.encoding.lower().replace("-", "") == "utf8":
            return _say(f"Error: {odd} is no character of UTF-8, which files of runs and datasets are named in. Choose another name.", 2)
        return _say(f"Error: {odd} cannot be written in this terminal's {error.encoding}. Set PYTHONUTF8=1.", 2)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        return _say(f"Error: {error.strerror or error}:{where}. Check that the place exists and that you may read and write it.", 2)
    return code if isinstance(code, int) else 0


def _say(text: str, code: int) -> int:
    click.echo(text, err=True)
    return code


if __name__ == "__main__":
    main()
