"""What the README's table claims, measured anew: both sides in one run, held equal first, then the figures and their ratio.

    python benchmarks/show.py NAME [NAME ...]     clipseg ldznet counts rasteriser score overhead memory startup processes, or all
    python benchmarks/show.py score --samples 500 a quick look: other sizes than the table's

Each prints lines of the table (`| what | ours | beside | ratio | wanted |`). Nothing fails for being slow; what must be
equal and is not ends in an error.
Use one thread (OMP_NUM_THREADS=1) on a quiet machine; ldznet takes 9 GB and some minutes, each other one about two minutes or less.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]
BENCH = [sys.executable, "-m", "ldznet_bench.cli.main"]
REAL = HERE.parent.parent / "shared" / "data" / "real"
PHRASES = ("a black dog", "wooden table", "man in a red shirt on the left", "blue sky", "tall tree")


def line(what: str, ours: str, beside: str, ratio: str, wanted: str) -> None:
    """A row of the table."""
    print(f"| {what} | {ours} | {beside} | {ratio} | {wanted} |", flush=True)


def fastest(rounds: int, *sides: Callable[[], Any]) -> list[float]:
    """Seconds of each side's fastest round. Sides take turns, so that load on the machine meets all of them."""
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for side, its in zip(sides, times, strict=True):
            start = time.perf_counter()
            side()
            its.append(time.perf_counter() - start)
    return [min(its) for its in times]


def run(*arguments: object) -> tuple[str, float, float]:
    """A command of ours in a process of its own: what it printed, wall seconds, peak megabytes."""
    command = [*BENCH, *map(str, arguments)]
    code = "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], check=True, capture_output=True, text=True)"
    code += "; print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); print(done.stdout, end='')"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    peak, _, out = done.stdout.partition("\n")
    return out, seconds, int(peak) / 1024


def outcome(folder: Path) -> dict[str, bytes]:
    """The bytes that are promised to be equal, of every run in a folder."""
    found = {str(path.relative_to(folder)): path.read_bytes() for name in ("records.parquet", "summary.json") for path in folder.rglob(name)}
    if not found:
        sys.exit(f"nothing was finished in {folder}")
    return found


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="ldznet-show-") as name:
        yield Path(name)


def photographs(count: int, folder: Path) -> list[Path]:
    """Photographs to put to networks: those of --images, else the first of ../shared/data/real."""
    found = sorted(path for path in folder.rglob("*.jpg"))[:count]
    if not found:
        sys.exit(f"no photographs in {folder}: name a folder of .jpg files with --images")
    return found


def clipseg(options: argparse.Namespace) -> None:
    """CLIPSeg at full size, seeded weights, on photographs: beside transformers on (image, phrase) pairs, a batch per image."""
    import torch
    from baselines_clipseg import TransformersPairs
    from make_clipseg import write_clipseg
    from PIL import Image

    from ldznet_bench.models.load import load_model
    from ldznet_bench.models.segmenter import ImageInput, Pair

    with scratch() as folder:
        weights = write_clipseg(folder / "clipseg", size="full")
        segmenter, theirs = load_model("clipseg/full+hf", weights={"clipseg": weights}), TransformersPairs(weights)
    images = [Image.open(path).convert("RGB") for path in photographs(options.samples or 3, options.images)]

    def ours(phrases: Sequence[str]) -> list[Any]:
        maps = []
        for number, image in enumerate(images):
            (features,) = segmenter.encode_image([ImageInput(str(number), image.height, image.width, 0, lambda image=image: image)])
            texts = segmenter.encode_text(list(phrases))
            pairs = [Pair(one, one, image.height, image.width, 0, features, text) for one, text in zip(phrases, texts, strict=True)]
            size = segmenter.micro_batch or 1
            maps.append(torch.stack([one for start in range(0, len(pairs), size) for one in segmenter.predict(pairs[start : start + size])]))
        return maps

    for count, wanted in ((5, "2.5"), (1, "1")):
        phrases = PHRASES[:count]
        apart = max(float((mine - theirs(image, phrases)).abs().max()) for mine, image in zip(ours(phrases), images, strict=True))
        if apart > 1e-4:
            sys.exit(f"the maps differ by {apart}")
        mine, pairs = fastest(3, lambda: ours(phrases), lambda: [theirs(image, phrases) for image in images])  # noqa: B023 - called within the turn
        rate = count * len(images)
        what = f"CLIPSeg (ViT-B/16, 352), {len(images)} photographs, {count} phrase(s) each, {torch.get_num_threads()} thread(s)"
        line(what, f"{rate / mine:.2f} phrases/s", f"transformers on pairs {rate / pairs:.2f}", f"{pairs / mine:.2f}x", f">= {wanted}x")


def ldznet(_: argparse.Namespace) -> None:
    """LD-ZNet at full size with 5 phrases beside the plain sequence: the suite that holds them equal, in CPU seconds of one thread."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "test_bench_ldznet.py"), "-k", "5"]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=False)
    found = re.search(r"5 phrases: ours ([\d.]+) CPU s a phrase, plain ([\d.]+): ([\d.]+)x; peak ([\d.]+) GB", done.stdout)
    if found is None or done.returncode:
        sys.exit(done.stdout + done.stderr)
    mine, plain, ratio, peak = found.groups()
    what = f"LD-ZNet at full size, an image with 5 phrases, CPU s a phrase (peak {peak} GB)"
    line(what, f"{mine} s", f"VAE, whole UNet, segmentation UNet with diffusers {plain} s", f"{ratio}x", ">= 1.5x")


def counts(_: argparse.Namespace) -> None:
    """Counts of a 352x352 map at 49 thresholds beside sort and 49 scans, and a bucketise."""
    import baselines_metrics as idioms
    from scipy.ndimage import gaussian_filter

    from ldznet_bench.metrics.counts import counts_from_histograms, histograms
    from ldznet_bench.protocols import CLIPSEG_GRID

    rng, thresholds = np.random.default_rng(0), CLIPSEG_GRID.thresholds()
    field = gaussian_filter(rng.normal(size=(352, 352)), 15)
    field /= field.std()
    scores, truth = (1 / (1 + np.exp(-3 * (field - 1)))).astype(np.float32), field > 1.2
    np.testing.assert_array_equal(
        np.array(counts_from_histograms(*histograms(scores, truth, thresholds))), idioms.sort_and_scan(scores, truth, thresholds)
    )
    mine, *others = fastest(30, *(lambda way=way: way(scores, truth, thresholds) for way in (histograms, idioms.sort_and_scan, idioms.bucketize)))
    for name, seconds in zip(("sort and 49 scans", "bucketize and bincount"), others, strict=True):
        line(
            "threshold counts, 352x352, 49 thresholds",
            f"{mine * 1e3:.2f} ms",
            f"{name} {seconds * 1e3:.2f} ms",
            f"{seconds / mine:.1f}x",
            "<= 1.5 ms",
        )


def rasteriser(_: argparse.Namespace) -> None:
    """CLIPSeg's masks beside `polygon2mask` and a maximum, same pixels."""
    import baselines_masks as field
    from test_bench_masks import HEIGHT, WIDTH, ours, polygons

    for decimals, kind in ((0, "whole"), (2, "with decimals")):
        items = polygons(decimals)
        for rings in items:
            np.testing.assert_array_equal(ours("skimage", rings), field.polygon2mask_and_max(rings, HEIGHT, WIDTH))
        mine, theirs = fastest(
            3,
            lambda: [ours("skimage", rings) for rings in items],  # noqa: B023 - called within the turn
            lambda: [field.polygon2mask_and_max(rings, HEIGHT, WIDTH) for rings in items],  # noqa: B023
        )
        mine, theirs = mine / len(items), theirs / len(items)
        what = f"CLIPSeg's masks, 500x375, mean 3 polygons, vertices {kind}"
        line(what, f"{mine * 1e3:.2f} ms", f"polygon2mask and max {theirs * 1e3:.1f} ms", f"{theirs / mine:.0f}x", ">= 10x")


PROFILE = """
import sys, time
from ldznet_bench.evaluation import predictions
from ldznet_bench.cli import main
spent, read = [0.0], predictions.decode_png
def timed(path):
    start = time.process_time()
    try:
        return read(path)
    finally:
        spent[0] += time.process_time() - start
predictions.decode_png = timed
code = main._run(sys.argv[1:])
print("SPENT", spent[0], time.process_time())
sys.exit(code)
"""


def score(options: argparse.Namespace) -> None:
    """`score` of PhraseCut test's number of PNG masks: the share of everything but reading the PNGs, in processor time, imports included.

    Cold (the set is prepared, masks are drawn), of a set that is prepared already, and with masks from the cache, also of one bit a pixel. The
    annotations are those of real photographs, repeated; with --size those of the seeded release, three times as ragged, at that size.
    """
    samples = options.samples or 14_354
    with scratch() as folder:
        release, masks = _scored(folder, samples, "L", options)
        of = "real annotations" if options.size is None else "x".join(map(str, options.size))
        for kind, wanted in (("cold", "< 50 %"), ("drawn", "< 50 %"), ("cached", "< 30 %"), ("cached, one bit a pixel", "< 30 %")):
            if kind == "drawn":
                shutil.rmtree(folder / "home" / "masks")
            if kind.endswith("a pixel"):
                _, masks = _scored(folder / "bits", samples, "1", options)
            _score_row(kind, wanted, masks, release, folder, of)
        summaries = {json.dumps({**json.loads(path.read_bytes()), "model": "", "identity": ""}) for path in (folder / "runs").rglob("summary.json")}
        if len(summaries) != 1:
            sys.exit("drawn and cached masks gave other scores")


def _scored(folder: Path, samples: int, mode: str, options: argparse.Namespace) -> tuple[Path, Path]:
    from make_scored import make, repeat

    if options.size is not None:
        return make(folder, max(2, round(samples / 5.64)), samples, mode, options.size)
    photographs(1, options.images)
    return repeat(folder, options.images / "VGPhraseCut_v0", samples, mode)


def _score_row(kind: str, wanted: str, masks: Path, release: Path, folder: Path, of: str) -> None:
    command = [sys.executable, "-c", PROFILE, "score", "--dataset", "phrasecut:test", "--predictions", masks, "--protocol", "phrasecut@1"]
    command += ["--name", kind.replace(", ", "-").replace(" ", "-"), "--data-root", release, "--home", folder / "home", "--output", folder / "runs"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    found = re.search(r"^SPENT (\S+) (\S+)$", done.stdout, re.MULTILINE)
    if done.returncode or found is None:
        sys.exit(done.stdout + done.stderr)
    png, whole = map(float, found.groups())
    if png == 0:
        sys.exit("no PNG was seen being read")
    what = f"`score` of {sum(1 for _ in masks.iterdir()):,} PNG masks of {of}, {kind}"
    line(what, f"{whole:.1f} CPU s", f"of which reading PNGs {png:.1f} s", f"all else {100 * (1 - png / whole):.0f} %", wanted)


def overhead(options: argparse.Namespace) -> None:
    """The share of everything but the network in the loop of CLIPSeg on this processor, as `benchmark` tells it."""
    from make_clipseg import write_clipseg

    photographs(1, options.images)
    with scratch() as folder:
        weights = write_clipseg(folder / "clipseg", size="full")
        command = (
            "benchmark",
            "--models",
            "clipseg/full",
            "--weights",
            f"clipseg={weights}",
            "--dataset",
            "phrasecut:test",
            "--protocol",
            "clipseg@1",
        )
        out, _, _ = run(*command, "--data-root", options.images, "--limit", options.samples or 24, "--home", folder / "home", "--json")
    (found,) = json.loads(out)["models"]
    phases = ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in found["phases"].items())
    what = f"CLIPSeg in the loop, {found['samples']} phrases on {found['images']} photographs"
    line(what, f"{found['seconds']:.1f} s", phases, f"all but the network {100 * (1 - found['network_share']):.1f} %", "< 5 %")


def memory(options: argparse.Namespace) -> None:
    """Peak memory of `run` over a small and a fifteen times larger set."""
    from make_phrasecut import make_phrasecut

    small, peaks = options.samples or 1000, []
    with scratch() as folder:
        for samples in (small, 15 * small):
            place = folder / str(samples)
            release = make_phrasecut(place, images=samples // 5, phrases=samples, size=(160, 120))
            where = ("--datasets", "phrasecut:test", "--data-root", release, "--home", place / "home", "--output", place / "runs", "--quiet")
            run("info", "phrasecut:test", "--data-root", release, "--home", place / "home")  # preparing is not what is measured
            peaks.append(run("run", "--models", "noise", *where)[2])
            shutil.rmtree(place)
    line(
        f"peak memory of `run`, noise, native@1, {15 * small:,} samples",
        f"{peaks[1]:.0f} MB",
        f"{small:,} samples {peaks[0]:.0f} MB",
        _more(peaks),
        "< 5 %",
    )


def _more(values: Sequence[float]) -> str:
    return f"{100 * (values[1] / values[0] - 1):+.1f} %"


def startup(_: argparse.Namespace) -> None:
    """`--help`, and `run` on a cell that is finished, as whole processes."""
    with scratch() as folder:
        cell = ("run", "--models", "noise", "--output", folder / "runs", "--home", folder / "home")
        run(*cell)
        before = outcome(folder / "runs")
        direct = {name: [*BENCH, *map(str, arguments)] for name, arguments in (("help", ("--help",)), ("cell", cell))}
        helped, finished = fastest(
            5, *(lambda command=command: subprocess.run(command, check=True, capture_output=True) for command in direct.values())
        )
        if outcome(folder / "runs") != before:
            sys.exit("a finished cell was changed")
    line("`ldznet-bench --help`", f"{helped:.2f} s", "-", "-", "< 0.3 s")
    line("`run` on a finished cell (minicut-photo:test)", f"{finished:.2f} s", "-", "-", "< 2 s")


def processes(options: argparse.Namespace) -> None:
    """Two processes beside one, for the noise segmenter and for scoring as many masks as PhraseCut's test split has; equal bytes.

    Masks are drawn beforehand, or the first command would draw them for the second.
    """
    from make_scored import make

    for name, samples in (("noise segmenter", options.samples or 4000), ("scoring PNG masks", options.samples or 14_354)):
        with scratch() as folder:
            release, masks = make(folder, max(2, samples // 5), samples)
            places = ("--protocol", "clipseg@1", "--data-root", release, "--home", folder / "home")
            scoring = ("score", "--dataset", "phrasecut:test", "--predictions", masks, "--name", "masks", *places)
            if name == "noise segmenter":
                _images(release)
            run(*scoring, "--output", folder / "drawn")
            noise = ("run", "--models", "noise", "--datasets", "phrasecut:test", "--quiet", *places)
            command = [*BENCH, *map(str, noise if name == "noise segmenter" else scoring)]
            one, two = (folder / f"by-{count}" for count in (1, 2))
            alone, together = _timed(command, one, 1), _timed(command, two, 2)
            if outcome(one) != outcome(two):
                sys.exit(f"{name}: two processes gave other bytes than one")
        what = f"{name}, {samples:,} samples, two processes"
        line(what, f"{together:.1f} s", f"one process {alone:.1f} s", f"{alone / together:.2f}x", ">= 1.7x")


def _images(release: Path) -> None:
    from PIL import Image

    picture = Image.effect_noise((500, 375), 64).convert("RGB")
    (release / "images").mkdir(exist_ok=True)
    for entry in json.loads((release / "image_data_split.json").read_bytes()):
        picture.save(release / "images" / f"{entry['image_id']}.jpg", quality=20)


def _timed(command: list[str], output: Path, count: int) -> float:
    shards = [{**os.environ, "OMP_NUM_THREADS": "1", "RANK": str(rank), "WORLD_SIZE": str(count)} for rank in range(count)]
    start = time.perf_counter()
    started = [
        subprocess.Popen([*command, "--output", str(output)], env=shard, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for shard in shards
    ]
    for process in started:
        _, errors = process.communicate()
        if process.returncode:
            sys.exit(errors.decode())
    return time.perf_counter() - start


SHOWS = {show.__name__: show for show in (clipseg, ldznet, counts, rasteriser, score, overhead, memory, startup, processes)}


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=[*SHOWS, "all"], metavar="NAME")
    parser.add_argument(
        "--images", type=Path, default=REAL, metavar="DIR", help="photographs laid out as a PhraseCut release (clipseg, overhead, score)"
    )
    parser.add_argument("--samples", type=int, metavar="N", help="another size than the table's: samples, or photographs for clipseg")
    parser.add_argument("--size", type=_size, metavar="WxH", help="of seeded masks, in place of real annotations (score)")
    options = parser.parse_args()
    print("| what | ours | beside | ratio or share | wanted |\n|---|---|---|---|---|")
    for name in SHOWS if "all" in options.names else options.names:
        SHOWS[name](options)


if __name__ == "__main__":
    main()
