"""Updates shared between processes: the same examples on any number of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sordino.errors import SordinoError
from sordino.train.loop import share_batch
from sordino.train.recipe import LoopConfig


@given(
    world=st.sampled_from([1, 2, 3, 4, 8]),
    chain=st.sampled_from([1, 2]),
    batch=st.integers(1, 6),
    updates=st.integers(1, 4),
)
def test_every_example_is_seen_once_in_every_update(world, chain, batch, updates):
    config = LoopConfig(batch=batch * chain, chain=chain, global_batch=48)
    seen = []
    for rank in range(world):
        share = share_batch(config, rank, world)
        assert share.batch == 48
        assert share.size <= config.batch
        assert share.size % chain == 0
        for index in range(updates * share.passes):
            update, first = share.first(index)
            seen += [(update, first + i) for i in range(share.size)]
    assert sorted(seen) == [(update, k) for update in range(updates) for k in range(48)]


def test_a_run_that_goes_on_keeps_its_batch_on_fewer_processes():
    config = LoopConfig(batch=8)
    whole = share_batch(config, 0, 4)
    assert (whole.batch, whole.passes) == (32, 1)
    fewer = share_batch(config, 0, 2, kept=whole.batch)
    assert (fewer.batch, fewer.size, fewer.passes) == (32, 8, 2)
    more = share_batch(config, 0, 16, kept=whole.batch)
    assert (more.batch, more.size, more.passes) == (32, 2, 1)


def test_processes_that_cannot_share_equally_are_told():
    with pytest.raises(SordinoError, match="cannot share equally"):
        share_batch(LoopConfig(batch=8, global_batch=64), 0, 3)
