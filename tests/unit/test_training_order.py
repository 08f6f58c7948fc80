"""The order of training examples does not depend on how many processes share them."""

from __future__ import annotations

import pytest
from accelerate.data_loader import BatchSamplerShard
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler

from winnow.training.order import WholeBatches


@given(
    length=st.integers(1, 60),
    steps=st.sampled_from([(1, 4), (2, 2), (4, 1)]),
    micro=st.integers(1, 4),
    epoch=st.integers(0, 3),
)
def test_each_step_has_the_same_examples_on_any_number_of_processes(length, steps, micro, epoch):
    batch = 4 * micro
    order = WholeBatches(length, batch, 7)
    order.set_epoch(epoch)
    alone = [list(order)[start : start + batch] for start in range(0, len(order), batch)]
    processes, accumulated = steps
    shards = [
        list(BatchSamplerShard(BatchSampler(order, micro, False), processes, index))
        for index in range(processes)
    ]
    for number, wanted in enumerate(alone):
        found = [
            example
            for shard in shards
            for part in shard[number * accumulated : (number + 1) * accumulated]
            for example in part
        ]
        assert sorted(found) == sorted(wanted)
    assert all(len(shard) == len(alone) * accumulated for shard in shards)


def test_an_epoch_has_each_example_at_most_once_and_leaves_out_few():
    order = WholeBatches(125, 8, 7)
    drawn = list(order)
    assert len(drawn) == len(set(drawn)) == len(order) == 120
    order.set_epoch(1)
    assert list(order) != drawn
    assert set(drawn) != set(order)


@pytest.mark.parametrize("seed", [0, 8])
def test_the_seed_decides_and_nothing_else(seed):
    first, second = WholeBatches(50, 8, seed), WholeBatches(50, 8, seed)
    assert list(first) == list(second) == list(first)
    assert list(first) != list(WholeBatches(50, 8, seed + 1))


def test_fewer_than_a_batch_are_repeated():
    drawn = list(WholeBatches(3, 8, 0))
    assert len(drawn) == 8 and drawn[:3] == drawn[3:6] and set(drawn) == {0, 1, 2}
