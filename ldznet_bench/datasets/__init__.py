"""From releases on disk to samples: one adapter per source format, and the prepared store.

`load.load_dataset` opens a dataset by name; `store.PreparedDataset` is what it gives; `adapter.Adapter` is what a new format brings.
"""
