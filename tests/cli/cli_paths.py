"""Where the golden releases and predictions are."""

from __future__ import annotations

from pathlib import Path

GOLDENS = Path(__file__).parent.parent / "goldens"
RELEASES = GOLDENS / "releases"
MASKS = GOLDENS / "evaluation" / "phrasecut_predictions"
