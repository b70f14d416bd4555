"""``ldznet-bench predict``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ldznet_bench.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

    from ldznet_bench.evaluation.lone_image import Prediction

_CELL = 320  # px, the longer side of a picture in the sheet


@click.command(context_settings={"max_content_width": 110})
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("phrases", nargs=-1, required=True, metavar="PHRASE...")
@click.option("--models", "--model", multiple=True, required=True, metavar="NAMES", help="Comma-separated: clipseg/full+paper,ldznet …")
@click.option("--output", type=click.Path(path_type=Path), default=Path("predictions"), show_default=True, metavar="DIR", help="Where pictures go.")
@click.option("--threshold", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="The mask and the overlay are score > threshold.")
@options.together(options.weights, options.home, options.seed, options.repeats, options.device, options.precision, options.micro_batch)
@options.as_json
def command(image: Path, phrases: tuple[str, ...], models: tuple[str, ...], output: Path, threshold: float, **given: Any) -> int:  # noqa: ANN401
    """Segment one image by one or more phrases, with one or more models, and put them side by side.

    For each phrase and model: the raw scores (.npy, on the model's own grid), and at the image's size (bilinear, without aligned corners) the score
    map, the mask and an overlay. Of several there is also IMAGE_side-by-side.png: a row per phrase, a column per model.

    \b
    Examples:
      ldznet-bench predict photo.jpg "the red car" "road" --model clipseg/full --weights clipseg=DIR
      ldznet-bench predict photo.jpg cat --models center,noise --output pictures
      ldznet-bench predict photo.jpg cat --model ldznet+demo-stochastic --repeats 5 --device cuda --precision bf16
    """
    from ldznet_bench.api import load_model
    from ldznet_bench.atomic import dump_json
    from ldznet_bench.evaluation.lone_image import open_photograph, predict_photograph
    from ldznet_bench.models.load import check_model
    from ldznet_bench.places import home_folder

    names, weights, picture = options.names(models), options.pairs(given["weights"]), open_photograph(image)
    for model in names:
        check_model(model, weights=weights, home=home_folder(given["home"]))
    written, sheet = [], []
    for model in names:
        segmenter = load_model(model, weights=dict(weights), **{key: given[key] for key in ("home", "device", "precision", "micro_batch")})
        found = predict_photograph(segmenter, picture, image.name, phrases, seed=given["seed"], repeats=given["repeats"] or 1)
        column = []
        for number, prediction in enumerate(found, 1):
            stem = _plain(f"{image.stem}_{number}_{prediction.phrase}")[:80] + "_" + _plain(segmenter.name)
            entry, overlay = _write(output, stem, picture, prediction, threshold)
            written.append({"model": segmenter.name, "phrase": prediction.phrase, **entry})
            column.append(overlay)
        sheet.append((segmenter.name, column))
    together = _write_sheet(output / f"{_plain(image.stem)}_side-by-side.png", picture, phrases, sheet) if len(written) > 1 else None
    if given["as_json"]:
        click.echo(dump_json({"image": str(image), "predictions": written, "side_by_side": together}), nl=False)
        return 0
    for line in written:
        spread = "".join(f", {source} ±{value:.3f}" for source, value in line.get("spread", {}).items())
        click.echo(f"{line['model']}: {line['phrase']!r} covers {100 * line['share']:.1f} % of the image{spread} -> {line['overlay']}")
    if together:
        click.echo(f"side by side -> {together}")
    return 0


def _plain(text: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", text)


def _write(folder: Path, stem: str, picture: Image, prediction: Prediction, threshold: float) -> tuple[dict[str, Any], Image]:
    import numpy as np
    from PIL import Image as Pillow

    from ldznet_bench.atomic import replacing
    from ldznet_bench.metrics.resize import resize

    full = np.asarray(resize(prediction.scores, (picture.height, picture.width), "bilinear"))
    inside = full > np.float32(threshold)
    overlay = np.asarray(picture, np.float32)
    overlay[inside] = 0.5 * overlay[inside] + 0.5 * np.array([255, 64, 0], np.float32)
    overlay[inside & ~_eroded(inside)] = (255, 255, 255)
    pictures = {"map": np.rint(full * 255), "mask": inside * 255, "overlay": overlay}
    paths = {"scores": folder / f"{stem}.npy", **{key: folder / f"{stem}_{key}.png" for key in pictures}}
    with replacing(paths["scores"]) as temporary, temporary.open("wb") as file:
        np.save(file, prediction.scores)
    made = {key: Pillow.fromarray(array.astype(np.uint8)) for key, array in pictures.items()}
    for key, one in made.items():
        with replacing(paths[key]) as temporary:
            one.save(temporary, "PNG")
    entry: dict[str, Any] = {"share": float(inside.mean()), **{key: str(path) for key, path in paths.items()}}
    return {**entry, **({"spread": dict(prediction.spread)} if prediction.spread else {})}, made["overlay"]


def _write_sheet(path: Path, picture: Image, phrases: Sequence[str], columns: Sequence[tuple[str, Sequence[Image]]]) -> str:
    """The image, then every model's overlay, a row per phrase."""
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageOps

    from ldznet_bench.atomic import replacing

    scale = _CELL / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    line, gap = 16, 4
    wide = max(width, 160) + gap
    sheet = Pillow.new("RGB", (wide * (1 + len(columns)) + gap, line + (height + line + gap) * len(phrases)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, phrase in enumerate(phrases):
        top = line + row * (height + line + gap)
        draw.text((gap, top), phrase[:200], fill="black")
        for column, (name, overlays) in enumerate([("image", [picture] * len(phrases)), *columns]):
            if row == 0:
                draw.text((gap + column * wide, 0), name[: wide // 6], fill="black")
            sheet.paste(ImageOps.fit(overlays[row], (width, height)), (gap + column * wide, top + line))
    with replacing(path) as temporary:
        sheet.save(temporary, "PNG")
    return str(path)


def _eroded(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The mask without its one-pixel border (four-connected)."""
    import numpy as np

    padded = np.pad(mask, 1, constant_values=True)
    inner: npt.NDArray[np.bool_] = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inner
