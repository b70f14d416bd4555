"""Which sample is seen when."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldznet_bench.training.draws import draw_seed, positions, sample_at, torch_generator


@given(size=st.integers(1, 40), epochs=st.integers(1, 4), seed=st.integers(0, 5))
def test_every_epoch_sees_every_sample_once(size, epochs, seed):
    for epoch in range(epochs):
        seen = [sample_at(seed, size, epoch * size + i) for i in range(size)]
        assert sorted(seen) == list(range(size))


def test_epochs_and_seeds_have_orders_of_their_own():
    def order(seed, epoch):
        return [sample_at(seed, 50, epoch * 50 + i) for i in range(50)]

    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_a_stream_without_end_gives_every_place_its_own_sample():
    assert [sample_at(3, None, i) for i in range(5)] == [0, 1, 2, 3, 4]


@given(step=st.integers(0, 30), world=st.sampled_from([1, 2, 4]), parts=st.sampled_from([1, 2, 3]))
def test_processes_and_micro_batches_together_see_what_one_process_sees(step, world, parts):
    batch = 24
    shared = [place for rank in range(world) for part in range(parts) for place in positions(step, batch, rank, world, part, parts)]
    assert sorted(shared) == list(positions(step, batch, 0, 1, 0, 1))


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="does not divide"):
        positions(0, 10, 0, 4, 0, 1)


def test_draws_depend_on_seed_kind_and_place_alone():
    assert draw_seed(0, "noise", 7) == draw_seed(0, "noise", 7)
    assert len({draw_seed(s, w, p) for s in (0, 1) for w in ("noise", "order") for p in (0, 1)}) == 8
    assert torch_generator(0, "noise", 7).initial_seed() == draw_seed(0, "noise", 7)
    assert np.uint64(draw_seed(0, "noise", 7)) < 2**63
