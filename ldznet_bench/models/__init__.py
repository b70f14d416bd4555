"""Segmenters: one file per model family. `segmenter.py` holds the sealed interface."""
