"""The picture of samples in the documentation: ``python -m ldznet_bench.minicut.sheet FILE.jpg``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ldznet_bench.atomic import replacing
from ldznet_bench.minicut.draw import lay_out
from ldznet_bench.minicut.draws import Draws
from ldznet_bench.minicut.scene import SIDE, draw_scene
from ldznet_bench.minicut.splits import labelled, mask_of
from ldznet_bench.minicut.styles import STYLES, Picture, render

_ZOOM, _LINE, _COLUMNS = 2, 14, 7
_CELL = _ZOOM * SIDE


def contact_sheet() -> Image.Image:
    """Rows of a picture with its phrases, each mask bright: photo, art, refer; and last one scene in every style."""
    shown = (("photo", 1), ("photo", 4), ("photo", 9), ("art", 0), ("art", 4), ("refer", 2), ("refer", 3))
    rows = [_phrases(domain, index) for domain, index in shown]
    layout = lay_out(draw_scene(Draws("sheet", 9)))
    rows.append([(style, render(layout, style, Draws("sheet", style))) for style in STYLES])
    sheet = Image.new("RGB", (_COLUMNS * _CELL, len(rows) * (_CELL + _LINE)), (16, 16, 18))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for row, cells in enumerate(rows):
        for column, (text, picture) in enumerate(cells[:_COLUMNS]):
            corner = (column * _CELL, row * (_CELL + _LINE))
            draw.text((corner[0] + 3, corner[1]), text, fill=(235, 235, 235), font=font)
            large = Image.fromarray(picture).resize((_CELL, _CELL), Image.Resampling.NEAREST)
            sheet.paste(large, (corner[0], corner[1] + _LINE))
    return sheet


def _phrases(domain: str, index: int) -> list[tuple[str, Picture]]:
    item = labelled(domain, "test", index)
    cells = [(item.image_id, item.picture)]
    for phrase in item.phrases:
        picture = item.picture.copy()
        picture[~mask_of(phrase, item.layout)] //= 4
        cells.append((phrase.text, picture))
    return cells


def main(arguments: Sequence[str]) -> int:
    """Write the sheet to the one file named."""
    if len(arguments) != 1:
        sys.stderr.write("Error: name one file, such as docs/minicut.jpg.\n")
        return 2
    target = Path(arguments[0])
    with replacing(target) as temporary:
        contact_sheet().save(temporary, format="JPEG", quality=85)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
