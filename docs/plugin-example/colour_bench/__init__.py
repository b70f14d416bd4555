"""A model that reads colour words, and a dataset of coloured patches."""
