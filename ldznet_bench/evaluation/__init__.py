"""The evaluation loop, journals, runs and sharding: where datasets, models and metrics meet."""
