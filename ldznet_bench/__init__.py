"""ldznet_bench: one honest score for text-based image segmentation.

    import ldznet_bench as bench

    dataset = bench.load_dataset("phrasecut:test", data_root="releases")
    run = bench.evaluate("clipseg", dataset, protocol="clipseg@1", weights={"clipseg": "clipseg-rd64-refined"})
    print(run.summary()["metrics"]["miou"])

Everything is loaded when it is first used, so importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ldznet_bench.api import evaluate, load_dataset, load_model, report, score

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "load_dataset", "load_model", "report", "score"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name is
    if name in __all__:
        return getattr(importlib.import_module("ldznet_bench.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
