"""Time and memory of a rival at its published size, with seeded random weights: what they decide is noise, what they cost is not.

    OMP_NUM_THREADS=1 python benchmarks/rivals.py grounding-dino/sam2 --work DIR --images photo.jpg other.jpg

Seconds are of the processor, so that a busy machine does not change them; with one thread they are those of the clock on a free one. Folders of
weights are written to DIR (up to 3.4 GB) and used again.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

PHRASES = ("the man in the red shirt", "a dog", "wooden table on the left")
T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What the work gives, and its seconds."""
    start = time.process_time()
    value = work()
    return value, time.process_time() - start


def peak() -> float:
    """Memory of this process at its highest, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def measure(model: str, work: Path, images: Sequence[Path], size: str) -> dict[str, object]:
    """Seconds per image, per phrase and per pair, and the peak of memory with the weights and without."""
    from make_rivals import MAKERS

    from ldznet_bench.models.load import load_model, parse_model_name
    from ldznet_bench.models.segmenter import ImageInput, Pair

    name = parse_model_name(model)
    kinds = [kind for kind in (name.family, name.variant) if kind in MAKERS]
    weights = {str(kind): work / f"{kind}-{size}" for kind in kinds}
    for kind, folder in weights.items():
        if not (folder / "preprocessor_config.json").is_file():
            MAKERS[kind](folder, size=size)
    segmenter, loading = timed(lambda: load_model(model, weights=weights, home=work))
    loaded = peak()
    pictures = [Image.open(path).convert("RGB") for path in images]
    inputs = [ImageInput(str(index), one.height, one.width, 0, lambda one=one: one) for index, one in enumerate(pictures)]  # type: ignore[misc]
    seen, per_image = timed(lambda: [segmenter.encode_image([one])[0] for one in inputs])
    texts, per_phrase = timed(lambda: [segmenter.encode_text([segmenter.prompt(phrase, 0)])[0] for phrase in PHRASES])
    pairs = [
        Pair(f"{one.image_id}-{index}", phrase, one.height, one.width, 0, features, text)
        for one, features in zip(inputs, seen, strict=True)
        for index, (phrase, text) in enumerate(zip(PHRASES, texts, strict=True))
    ]
    _, per_pair = timed(lambda: [segmenter.predict([pair]) for pair in pairs])
    return {
        "model": segmenter.name,
        "size": size,
        "images": [one.size for one in pictures],
        "seconds": {
            "load": round(loading, 1),
            "image": round(per_image / len(inputs), 2),
            "phrase": round(per_phrase / len(PHRASES), 3),
            "pair": round(per_pair / len(pairs), 2),
        },
        "peak_gb": {"loaded": round(loaded, 2), "run": round(peak(), 2)},
        "notes": {note: count for note, count in segmenter.notes.items() if not note.startswith("sample ")},
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=Path, nargs="+", required=True)
    parser.add_argument("--size", choices=("tiny", "full"), default="full")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(json.dumps(measure(arguments.model, arguments.work, arguments.images, arguments.size), indent=2))


if __name__ == "__main__":
    main()
