import make_releases
import numpy as np

from ldznet_bench.datasets.stats import dataset_stats
from ldznet_bench.masks.rasterise import rasterise


def test_figures_equal_a_plain_count(load, tmp_path):
    data = load("phrasecut:test", make_releases.phrasecut(tmp_path, phrases=30))
    samples = [sample for group in data.groups() for sample in group.samples]
    stats = dataset_stats(data)
    assert stats.counts["images"] == (2545, 6) and stats.counts["phrases"] == (14354, 30)
    assert stats.phrases_per_image == {"5": 6}
    assert sum(int(key.rstrip("+")) * count for key, count in stats.words_per_phrase.items()) == sum(len(s.phrase.split()) for s in samples)
    assert sum(int(key) * count for key, count in stats.instances_per_phrase.items()) == data.found.instances
    assert stats.tags["all"] == 30
    sizes = [rasterise(s.geometry.parts, s.geometry.height, s.geometry.width, "coco").mean() for s in samples]
    for name, count in stats.mask_sizes.items():
        low, high = (0, 0) if name == "0" else map(float, name.rsplit("-", 1))
        assert count == sum(low < size <= high or (name == "0" and size == 0) for size in sizes)
    assert sum(stats.mask_sizes.values()) == 30


def test_bins_take_their_upper_bound(load, tmp_path):
    root = tmp_path / "mine"
    (root / "images").mkdir(parents=True)
    make_releases.photograph(root / "images" / "a.jpg", 10, 10, 0)
    rows = [f'e{n},a.jpg,p,"{{""size"": [10, 10], ""counts"": [{100 - n}, {n}]}}"' for n in (0, 2, 3, 100)]
    (root / "phrases.csv").write_text("id,image,phrase,rle\n" + "\n".join(rows) + "\n")
    sizes = dataset_stats(load(f"folder:{root}")).mask_sizes
    assert {name: count for name, count in sizes.items() if count} == {"0": 1, "0.005-0.02": 1, "0.02-0.05": 1, "0.5-1": 1}
    assert np.sum(list(sizes.values())) == 4
