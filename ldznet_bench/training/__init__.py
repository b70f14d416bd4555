"""Training of every network: one trainer, one objective per network, recipes as data.

Training knows models, datasets and evaluation (it validates through the evaluation loop); nothing but the command line knows training.
"""
