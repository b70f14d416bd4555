"""``ldznet-bench predict``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ldznet_bench.cli import options

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

    from ldznet_bench.models.segmenter import Segmenter


@click.command(context_settings={"max_content_width": 110})
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("phrases", nargs=-1, required=True, metavar="PHRASE...")
@click.option("--models", "--model", multiple=True, required=True, metavar="NAMES", help="Comma-separated.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("predictions"), show_default=True, metavar="DIR", help="Where pictures go.")
@click.option("--threshold", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="What the overlay outlines: score > threshold.")
@options.together(options.weights, options.home, options.seed, options.device, options.precision, options.as_json)
def command(image: Path, phrases: tuple[str, ...], models: tuple[str, ...], output: Path, threshold: float, **given: Any) -> int:  # noqa: ANN401
    """Segment one image by one or more phrases: a score map, an overlay and the raw scores per phrase and model.

    Maps are resized to the image (bilinear, without aligned corners) for the pictures; the .npy keeps the model's own grid.

    \b
    Examples:
      ldznet-bench predict photo.jpg "the red car" "road" --model clipseg/full --weights clipseg=DIR
      ldznet-bench predict photo.jpg cat --models center,noise --output pictures
    """
    from ldznet_bench.api import load_model
    from ldznet_bench.atomic import dump_json

    picture, written = _open(image), []
    for model in options.names(models):
        keys = {key: given[key] for key in ("home", "device", "precision")}
        segmenter = load_model(model, weights=dict(options.pairs(given["weights"])), **keys)
        for number, phrase in enumerate(phrases, 1):
            scores = _scores(segmenter, picture, image, phrase, given["seed"])
            stem = re.sub(r"[^\w.+-]+", "-", f"{image.stem}_{number}_{phrase}")[:80] + "_" + re.sub(r"[^\w.+-]+", "-", segmenter.name)
            written.append({"model": segmenter.name, "phrase": phrase, **_write(output, stem, picture, scores, threshold)})
    if given["as_json"]:
        click.echo(dump_json({"image": str(image), "predictions": written}), nl=False)
    else:
        for line in written:
            click.echo(f"{line['model']}: {line['phrase']!r} covers {100 * line['share']:.1f} % of the image -> {line['overlay']}")
    return 0


def _open(path: Path) -> Image:
    from ldznet_bench.datasets.sample import ImageFile
    from ldznet_bench.evaluation.images import open_rgb

    return open_rgb(ImageFile(path.name, path, 0, 0))


def _scores(segmenter: Segmenter, picture: Image, path: Path, phrase: str, run_seed: int) -> npt.NDArray[np.float32]:
    import numpy as np

    from ldznet_bench.errors import BenchError
    from ldznet_bench.evaluation.seeds import seed_of
    from ldznet_bench.models.segmenter import ImageInput, Pair
    from ldznet_bench.models.trivial import Oracle

    if isinstance(segmenter, Oracle):
        raise BenchError("oracle needs a truth, and a lone image has none.", "Use `run`, or another model.")
    image_seed, seed = seed_of(run_seed, "predict", path.name), seed_of(run_seed, "predict", f"{path.name}:{phrase}")
    encoded = segmenter.encode_image([ImageInput(path.name, picture.height, picture.width, image_seed, lambda: picture)])[0]
    text = segmenter.encode_text([segmenter.prompt(phrase, seed)])[0]
    scores = segmenter.predict([Pair(phrase, phrase, picture.height, picture.width, seed, encoded, text)])[0]
    return np.asarray(scores if isinstance(scores, np.ndarray) else scores.cpu())


def _write(folder: Path, stem: str, picture: Image, scores: npt.NDArray[np.float32], threshold: float) -> dict[str, Any]:
    import numpy as np
    from PIL import Image as Pillow

    from ldznet_bench.atomic import replacing
    from ldznet_bench.metrics.resize import resize

    full = np.asarray(resize(scores, (picture.height, picture.width), "bilinear"))
    inside = full > np.float32(threshold)
    overlay = np.asarray(picture, np.float32)
    overlay[inside] = 0.5 * overlay[inside] + 0.5 * np.array([255, 64, 0], np.float32)
    overlay[inside & ~_eroded(inside)] = (255, 255, 255)
    paths = {key: folder / f"{stem}{tail}" for key, tail in (("scores", ".npy"), ("map", "_map.png"), ("overlay", "_overlay.png"))}
    with replacing(paths["scores"]) as temporary, temporary.open("wb") as file:
        np.save(file, scores)
    for key, array in (("map", np.rint(full * 255)), ("overlay", overlay)):
        with replacing(paths[key]) as temporary:
            Pillow.fromarray(array.astype(np.uint8)).save(temporary, "PNG")
    return {"share": float(inside.mean()), **{key: str(path) for key, path in paths.items()}}


def _eroded(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The mask without its one-pixel border (four-connected)."""
    import numpy as np

    padded = np.pad(mask, 1, constant_values=True)
    inner: npt.NDArray[np.bool_] = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inner
