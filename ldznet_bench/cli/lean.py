"""Arrow without pandas: it looks for pandas on the first list or array that it is given, and finding it costs 0.3 s and 35 MB in every process."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType


def arrow_without_pandas() -> None:
    """Let Arrow look now, and find none. It looks once; whoever else imports pandas in this process still gets it."""
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    sys.meta_path.insert(0, _None())
    try:
        pa.array([0])
    finally:
        del sys.meta_path[0]


class _None:
    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)
