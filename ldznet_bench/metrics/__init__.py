"""Counts from score maps, and scores from counts; nothing else. Importing this package does not import torch."""
