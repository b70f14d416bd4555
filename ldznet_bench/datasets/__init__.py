"""Adapters from source releases to samples, and the prepared store."""
