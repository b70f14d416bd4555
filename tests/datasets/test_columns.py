import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldznet_bench.datasets.columns import SampleTable, sample_table
from ldznet_bench.datasets.sample import Sample
from ldznet_bench.masks.geometry import Geometry, Polygon, Rle

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
POLYGONS = st.lists(st.tuples(FLOATS, FLOATS), max_size=5).map(lambda points: Polygon(np.array(points, dtype=np.float64).reshape(-1, 2)))
CODES = st.builds(Rle, st.integers(1, 9), st.integers(1, 9), st.binary(max_size=6))
GEOMETRIES = st.builds(
    Geometry, st.integers(1, 9), st.integers(1, 9), st.lists(st.lists(POLYGONS | CODES, max_size=3).map(tuple), max_size=3).map(tuple)
)
SAMPLES = st.builds(
    Sample,
    sample_id=TEXT,
    image_id=st.sampled_from(["a", "b"]),
    phrase=TEXT,
    geometry=GEOMETRIES,
    category=st.none() | TEXT,
    sent=st.none() | TEXT,
    ref_id=st.none() | TEXT,
    boxes=st.lists(st.tuples(FLOATS, FLOATS, FLOATS, FLOATS), max_size=2).map(tuple),
    tags=st.lists(TEXT, max_size=3).map(tuple),
)


def plain(sample):
    """A sample as comparable values, floats by their bits."""
    parts = [
        [part.xy.tobytes() if isinstance(part, Polygon) else (part.height, part.width, part.counts) for part in instance]
        for instance in sample.geometry.instances
    ]
    boxes = np.array(sample.boxes, dtype=np.float64).tobytes()
    rest = (sample.sample_id, sample.image_id, sample.phrase, sample.category, sample.sent, sample.ref_id, sample.tags)
    return parts, boxes, sample.geometry.height, sample.geometry.width, rest


@settings(max_examples=200, deadline=None)
@given(st.lists(SAMPLES, min_size=1, max_size=6), st.integers(1, 6))
def test_samples_survive_arrow_bit_for_bit(samples, batch):
    table = sample_table([("ab".index(sample.image_id), sample) for sample in samples])
    import pyarrow as pa

    split = SampleTable(pa.Table.from_batches(table.to_batches(max_chunksize=batch)), ["a", "b"])
    assert [plain(split.sample(position)) for position in range(len(split))] == [plain(sample) for sample in samples]


def test_positions_outside_are_refused():
    sample = Sample("i", "a", "p", Geometry(1, 1, ()))
    table = SampleTable(sample_table([(0, sample)]), ["a"])
    for position in (-1, 1):
        with pytest.raises(IndexError):
            table.sample(position)
