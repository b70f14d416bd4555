"""Uncertainty of scores, from records alone: clustered bootstrap, paired comparison, ranks, power, slices. NumPy only; every draw is seeded."""
