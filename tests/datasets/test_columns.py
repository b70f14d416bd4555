import mmap

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ldznet_bench.datasets import columns
from ldznet_bench.datasets.columns import DATA_FILE, SampleTable, sample_table
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
    split = SampleTable(pa.Table.from_batches(table.to_batches(max_chunksize=batch)), ["a", "b"])
    assert [plain(split.sample(position)) for position in range(len(split))] == [plain(sample) for sample in samples]


def test_positions_outside_are_refused():
    sample = Sample("i", "a", "p", Geometry(1, 1, ()))
    table = SampleTable(sample_table([(0, sample)]), ["a"])
    for position in (-1, 1):
        with pytest.raises(IndexError):
            table.sample(position)


def test_a_mapped_table_lets_go_of_what_was_read_and_reads_it_again(tmp_path, monkeypatch):
    if not hasattr(mmap, "MADV_DONTNEED"):
        pytest.skip("this system keeps mapped pages")
    samples = [Sample(f"{k}", "a", "p", Geometry(9, 9, ((Polygon(np.full((3 + k, 2), k / 7)),),))) for k in range(12)]
    table = sample_table([(0, sample) for sample in samples])
    with pa.OSFile(str(tmp_path / DATA_FILE), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    mapped, let_go = SampleTable.open(tmp_path, ["a"]), []
    really = columns._let_go
    monkeypatch.setattr(columns, "_let_go", lambda file: let_go.append(really(file)))
    first = mapped.sample(0)
    assert [plain(mapped.sample(k)) for k in (*range(12), 0, 11)] == [plain(samples[k]) for k in (*range(12), 0, 11)]
    assert plain(first) == plain(samples[0])  # a view of pages that were let go of
    assert len(let_go) == 7  # at the begin of each batch but the first, and twice for what is asked for again
