from __future__ import annotations

import hashlib

import pytest

from ldznet_bench.errors import BenchError
from ldznet_bench.evaluation.seeds import seed_of
from ldznet_bench.evaluation.sharding import BLOCK_IMAGES, Shard


def test_seed_is_the_head_of_the_sha256_of_the_joined_names():
    digest = hashlib.sha256(b"7\0phrasecut:test\x00236__3577026").digest()
    assert seed_of(7, "phrasecut:test", "236__3577026") == int.from_bytes(digest[:8], "big")


@pytest.mark.parametrize(("texts", "count"), [(["0/2", "1/2"], 2), (["1/2", "2/2"], 2), (["0/3", "1/3", "2/3"], 3), (["1/1"], 1), (["0/1"], 1)])
def test_both_ways_of_counting_cover_every_image_once(texts, count):
    shards = [Shard.parse(text) for text in texts]
    assert all(shard.count == count for shard in shards)
    for index in range(10 * BLOCK_IMAGES):
        assert sum(shard.has(index) for shard in shards) == 1


@pytest.mark.parametrize("text", ["", "1", "3/2", "-1/2", "1/0", "a/b", "1/2/3", "1.0/2"])
def test_a_malformed_shard_is_refused(text):
    with pytest.raises(BenchError, match="is not i/n"):
        Shard.parse(text)


def test_launchers_variables_are_read():
    assert Shard.from_environment({"RANK": "3", "WORLD_SIZE": "8"}) == Shard(3, 8)
    assert Shard.from_environment({}) == Shard(0, 1)


@pytest.mark.parametrize(
    "given", [{"RANK": "x"}, {"RANK": "1"}, {"RANK": "3", "WORLD_SIZE": "2"}, {"RANK": "-1", "WORLD_SIZE": "2"}, {"WORLD_SIZE": "0"}]
)
def test_launchers_variables_that_cannot_be_are_refused(given):
    with pytest.raises(BenchError, match="RANK"):
        Shard.from_environment(given)
