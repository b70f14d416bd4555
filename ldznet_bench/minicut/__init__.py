"""The miniature: procedurally made scenes with phrases whose truth is known, and a stream of captioned pictures. docs/minicut.md describes it."""

from __future__ import annotations

from ldznet_bench.minicut.draws import VERSION
from ldznet_bench.minicut.stream import captioned, stream
from ldznet_bench.minicut.styles import STYLES
from ldznet_bench.minicut.words import vocabulary

__all__ = ["STYLES", "VERSION", "captioned", "stream", "vocabulary"]
