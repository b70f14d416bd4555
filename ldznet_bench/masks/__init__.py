"""Geometry as the sources annotate it, the field's rasterisers, and run-length encoding. Torch-free."""
