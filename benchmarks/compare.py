"""Then and now: runs suites and prints every figure beside its saved baseline. Nothing is gated: the exit code is that of the suites' own checks.

    python benchmarks/compare.py                                        the hot paths
    python benchmarks/compare.py benchmarks/test_bench_metrics.py -k 352
    python benchmarks/compare.py --save                                 what is measured becomes the baseline

Baselines lie in benchmarks/baselines, one file per suite, in pytest-benchmark's own form without anything that names the machine, so that
`pytest benchmarks/test_bench_hot_paths.py --benchmark-only --benchmark-compare=benchmarks/baselines/test_bench_hot_paths.json` reads them too.
Times of another machine, or of a busy one, are no news: compare what was saved on the same one.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BASELINES = HERE / "baselines"
HOT = HERE / "test_bench_hot_paths.py"
_KEPT = ("group", "name", "fullname", "params", "param", "extra_info", "options", "stats")


def measure(arguments: Sequence[str]) -> tuple[int, list[dict[str, Any]]]:
    """Run suites in a process of their own; its exit code, and what pytest-benchmark wrote of each benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "now.json"
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--benchmark-only", f"--benchmark-json={file}", "-q", *arguments]
        done = subprocess.run(command, cwd=HERE.parent, stdout=sys.stderr, check=False)
        found = json.loads(file.read_bytes())["benchmarks"] if file.is_file() and file.stat().st_size else []
    return done.returncode, found


def suite(benchmark: dict[str, Any]) -> str:
    """Name of the baseline that a benchmark belongs to."""
    return Path(benchmark["fullname"].split("::")[0]).stem


def stripped(benchmark: dict[str, Any]) -> dict[str, Any]:
    """Without rounds one by one; seconds to four digits."""
    stats = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in benchmark["stats"].items() if key != "data"}
    return {**{key: benchmark[key] for key in _KEPT if key in benchmark}, "stats": stats}


def save(found: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Write baselines; a benchmark that was not run keeps the figure it had."""
    written = []
    for name in sorted({suite(one) for one in found}):
        path = folder / f"{name}.json"
        known = {one["fullname"]: one for one in load(path)} | {one["fullname"]: stripped(one) for one in found if suite(one) == name}
        about = {"python_version": platform.python_version(), "machine": platform.machine()}
        whole = {"machine_info": about, "commit_info": {}, "benchmarks": [known[key] for key in sorted(known)], "datetime": "", "version": "5.0.0"}
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(whole, indent=1) + "\n")
        written.append(path)
    return written


def load(path: Path) -> list[dict[str, Any]]:
    """The benchmarks of a baseline; none where there is no such file."""
    return json.loads(path.read_bytes())["benchmarks"] if path.is_file() else []


def side_by_side(found: Sequence[dict[str, Any]], folder: Path) -> list[str]:
    """A line per benchmark: seconds of the fastest round then and now, which load on the machine moves least."""
    then = {one["fullname"]: one["stats"]["min"] for name in {suite(one) for one in found} for one in load(folder / f"{name}.json")}
    lines = [f"{'fastest round':<70}{'then':>12}{'now':>12}  now / then"]
    for one in found:
        before, now = then.get(one["fullname"]), one["stats"]["min"]
        known = f"{_time(before):>12}{_time(now):>12}  {now / before:.2f}" if before else f"{'-':>12}{_time(now):>12}  new"
        lines.append(f"{suite(one).removeprefix('test_bench_')}: {one['name']}"[:69].ljust(70) + known)
    return lines


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.3g} us" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def main() -> int:
    """The command line; what it does not know goes to pytest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true", help="make what is measured the baseline")
    parser.add_argument("--baselines", type=Path, default=BASELINES, metavar="DIR")
    known, others = parser.parse_known_args()
    suites = [word for word in others if "test_bench" in word]
    code, found = measure([*others, *([] if suites else [str(HOT)])])
    print("\n".join(side_by_side(found, known.baselines)))
    if known.save and code == 0:
        print(*(f"saved {path}" for path in save(found, known.baselines)), sep="\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
