import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ldznet_bench.datasets.adapter import Request
from ldznet_bench.datasets.card import dataset_card
from ldznet_bench.datasets.load import load_dataset
from ldznet_bench.datasets.names import DatasetName
from ldznet_bench.datasets.packed import Packed, unpack
from ldznet_bench.errors import DataError
from ldznet_bench.share import shared

FILE = "refer-val.parquet"


@pytest.fixture
def source(tmp_path):
    (tmp_path / "root").mkdir()
    shutil.copy(shared("datasets") / "minicut" / FILE, tmp_path / "root" / FILE)
    return tmp_path / "root" / FILE


def adapter(source):
    return Packed(Request(DatasetName("minicut", "refer", "val"), dataset_card("minicut"), source.parent, source.parent.parent / "home"))


def rewritten(source, change):
    table = pq.read_table(source)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), source)


def test_pictures_lie_below_the_home(source, tmp_path):
    image, sample = next(adapter(source).rows())
    assert image.path.is_relative_to(tmp_path / "home" / "unpacked") and image.path.read_bytes() == pq.read_table(source)["image"][0].as_py()
    assert sample.image_id == image.image_id == "refer-val-0000"


def test_a_lost_or_changed_picture_comes_back():
    data = load_dataset("minicut-refer:val")
    lost, changed = data.group(0).image.path, data.group(1).image.path
    before = lost.read_bytes(), changed.read_bytes()
    lost.unlink()
    changed.write_bytes(b"something else")
    again = load_dataset("minicut-refer:val")
    assert (lost.read_bytes(), changed.read_bytes()) == before and again.fingerprint == data.fingerprint and again.problems() == []


def test_what_another_process_unpacked_is_used(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1").write_bytes(b"old")
    unpack({"1": b"new", "2": b"two"}, tmp_path / "a")
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == {"1": b"new", "2": b"two"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_missing_file_is_named(source):
    source.unlink()
    with pytest.raises(DataError, match=r"minicut-refer:val: there is no .*refer-val\.parquet"):
        adapter(source)


@pytest.mark.parametrize("content", [b"", b"PAR1 and nothing more", b"x" * 1000])
def test_a_file_that_is_no_parquet_is_an_error(source, content):
    source.write_bytes(content)
    with pytest.raises(DataError, match="is no packed split"):
        list(adapter(source).rows())


def test_a_file_without_a_column_is_an_error(source):
    pq.write_table(pq.read_table(source).drop_columns("masks"), source)
    with pytest.raises(DataError, match="is no packed split"):
        list(adapter(source).rows())


@pytest.mark.parametrize("name", ["../escape.webp", "/escape.webp", "a/b.webp", ""])
def test_no_picture_is_written_elsewhere(source, tmp_path, name):
    rewritten(source, lambda rows: rows[0].update(file=name))
    with pytest.raises(DataError, match="no plain file name"):
        list(adapter(source).rows())
    assert not (tmp_path / "home").exists()


def test_a_damaged_mask_names_its_image(source):
    rewritten(source, lambda rows: rows[2].update(masks=[b"zz" for _ in rows[2]["masks"]]))
    with pytest.raises(DataError, match="image 'refer-val-0002' is damaged"):
        list(adapter(source).rows())


def test_a_phrase_of_an_instance_that_is_not_there_names_its_image(source):
    rewritten(source, lambda rows: rows[1]["phrases"][0].update(instances=[99]))
    with pytest.raises(DataError, match="image 'refer-val-0001' is damaged"):
        list(adapter(source).rows())
