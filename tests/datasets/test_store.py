import make_releases
import pytest

from ldznet_bench.errors import DataError


@pytest.fixture
def data(load, tmp_path):
    return load("phrasecut:test", make_releases.phrasecut(tmp_path / "data"))


def test_groups_by_index_in_any_order(data):
    every = list(data.groups())
    assert [group.image.image_id for group in every] == data.image_ids()
    chosen = list(data.groups([3, 0, 3]))
    assert [group.index for group in chosen] == [3, 0, 3]
    for group in chosen:
        assert [sample.sample_id for sample in group.samples] == [sample.sample_id for sample in every[group.index].samples]
        assert group.first == every[group.index].first


def test_counts_and_columns_agree(data):
    assert len(data) == data.n_samples == len(data.sample_ids()) == sum(data.counts_per_image())
    assert data.n_images == len(data.image_ids()) == len(list(data.images()))
    assert data.column("phrase") == [sample.phrase for group in data.groups() for sample in group.samples]
    assert (data.found.images, data.found.phrases) == (data.n_images, data.n_samples)


def test_samples_are_found_by_id(data):
    for sample_id in data.sample_ids():
        image, sample = data.find(sample_id)
        assert (sample.sample_id, sample.image_id) == (sample_id, image.image_id)
    with pytest.raises(DataError, match=r"has no sample 'x'. Ids look like '2300000__"):
        data.find("x")


def test_images_carry_their_hash(data):
    import hashlib

    for image in data.images():
        assert image.sha256 == hashlib.sha256(image.path.read_bytes()).hexdigest()
