"""Plans of batches, and what becomes of them when memory runs out: no model is needed."""

from __future__ import annotations

import logging
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.scoring.reward_batches import (
    LEAST_SAVED,
    SLOTS_PER_TOKEN,
    Row,
    Shared,
    Whole,
    common_prefix,
    largest_pass,
    planned,
    rows_of,
)
from winnow.scoring.reward_schedule import OutOfMemory, Schedule


@st.composite
def windows(draw, most=12):
    """Rows of several prompts in any order; those of a prompt begin alike, or not."""
    rows = []
    for prompt in range(draw(st.integers(1, 5))):
        begin = tuple(draw(st.lists(st.integers(0, 3), max_size=20)))
        for _ in range(draw(st.integers(1, 4))):
            end = tuple(draw(st.lists(st.integers(0, 3), min_size=1, max_size=most)))
            rows.append((f"p{prompt}", begin + end))
    order = draw(st.permutations(rows))
    return [Row(index, prompt, tokens) for index, (prompt, tokens) in enumerate(order)]


budgets = st.integers(1, 200)


def passes(batch):
    """(tokens with padding, rows, positions attended over) of each pass."""
    if isinstance(batch, Whole):
        longest = max(len(row.tokens) for row in batch.rows)
        return [(longest * len(batch.rows), len(batch.rows), longest)]
    span = max(map(len, batch.prefixes))
    found = [(span * len(batch.prefixes), len(batch.prefixes), span)]
    for each in batch.passes:
        longest = max(len(suffix.tokens) for suffix in each)
        found.append((longest * len(each), len(each), span + longest))
    return found


@settings(max_examples=60)
@given(windows(), budgets, st.booleans(), st.sampled_from([None, 1, 2]))
def test_each_row_stands_once_whole_and_within_the_budget(rows, budget, share, rows_per_pass):
    batches = planned(rows, budget, share, rows_per_pass)
    assert Counter(row.index for batch in batches for row in rows_of(batch)) == Counter(range(len(rows)))
    for batch in batches:
        if isinstance(batch, Shared):
            assert share
            assert len({suffix.row.prompt for each in batch.passes for suffix in each}) == len(batch.prefixes)
            for suffix in (suffix for each in batch.passes for suffix in each):
                assert suffix.tokens
                assert batch.prefixes[suffix.prefix] + suffix.tokens == suffix.row.tokens
        else:
            assert rows_per_pass is None or len(batch.rows) <= rows_per_pass
        for tokens, count, span in passes(batch):
            assert count == 1 or (tokens <= budget and count * span <= SLOTS_PER_TOKEN * budget)
        tokens, count = largest_pass(batch)
        assert tokens == max(
            max(tokens, -(-n * span // SLOTS_PER_TOKEN)) for tokens, n, span in passes(batch)
        )
        assert count == 1 or tokens <= budget


@settings(max_examples=60)
@given(windows())
def test_the_common_prefix_is_common_and_leaves_something_to_read(rows):
    prefix = common_prefix(rows)
    assert all(row.tokens[: len(prefix)] == prefix for row in rows)
    assert all(len(row.tokens) > len(prefix) for row in rows)
    longer = {row.tokens[: len(prefix) + 1] for row in rows}
    assert len(longer) > 1 or min(len(row.tokens) for row in rows) == len(prefix) + 1


def test_sharing_is_left_out_where_it_saves_little():
    def family(begin, end):
        return [Row(index, "p", (0,) * begin + (1 + index,) * end) for index in range(4)]

    assert isinstance(planned(family(50, 10), 1000)[0], Shared)
    assert isinstance(planned(family(1, 100), 1000)[0], Whole)
    assert isinstance(planned(family(50, 10)[:1], 1000)[0], Whole)
    assert isinstance(planned(family(50, 10), 1000, share=False)[0], Whole)
    assert isinstance(planned(family(50, 10), 1000, apart=frozenset(range(4)))[0], Whole)
    some = planned(family(50, 10), 1000, apart=frozenset({0}))
    assert {type(batch) for batch in some} == {Shared, Whole}
    # Three of four prefixes are saved: 3 · 15 > (4 · 85) / 8, and 3 · 14 = (4 · 84) / 8.
    assert LEAST_SAVED == 1 / 8
    assert isinstance(planned(family(15, 70), 1000)[0], Shared)
    assert isinstance(planned(family(14, 70), 1000)[0], Whole)


def test_padding_is_small():
    lengths = [10 * index for index in range(1, 41)]
    rows = [
        Row(index, str(index), (1,) * length) for index, length in enumerate(lengths[::3] + lengths[1::3])
    ]
    real = sum(len(row.tokens) for row in rows)
    padded = sum(tokens for batch in planned(rows, 1000) for tokens, *_ in passes(batch))
    assert padded < 1.1 * real


def test_what_is_much_shorter_begins_another_pass():
    def lengths(budget):
        rows = [Row(index, str(index), (1,) * length) for index, length in enumerate([100, 80, 70, 20, 10])]
        return [[len(row.tokens) for row in rows_of(batch)] for batch in planned(rows, budget)]

    assert lengths(100_000) == [[100, 80, 70, 20, 10]]
    assert lengths(1600) == [[100, 80], [70, 20, 10]]
    # Seventy tokens are no eighth of the budget, and twice seventy are.
    assert lengths(800) == [[100, 80], [70, 20], [10]]


class Machine:
    """Gives each row its length, and has memory for passes of so many tokens."""

    def __init__(self, memory: int, slots: int = 1 << 30) -> None:
        self.memory, self.slots = memory, slots
        self.rows: list[int] = []
        self.failures = 0

    def __call__(self, batch):
        todo = passes(batch)
        if isinstance(batch, Shared):
            self._run(*todo[0])
            for each, size in zip(batch.passes, todo[1:], strict=True):
                self._run(*size)
                yield from self._paired([suffix.row for suffix in each])
        else:
            self._run(*todo[0])
            yield from self._paired(batch.rows)

    def _run(self, tokens, count, span):
        if tokens > self.memory or count * span > self.slots:
            self.failures += 1
            raise OutOfMemory

    def _paired(self, rows):
        self.rows += [row.index for row in rows]
        return [(row.index, float(len(row.tokens))) for row in rows]


@settings(max_examples=60)
@given(windows(), budgets, st.integers(1, 60), st.booleans())
def test_out_of_memory_costs_no_row_that_fits_and_none_is_scored_twice(rows, budget, memory, share):
    machine = Machine(memory)
    schedule = Schedule("m", budget, share)
    rewards = schedule.run(rows, machine)
    assert rewards.keys() == set(range(len(rows)))
    for row in rows:
        fits = len(row.tokens) <= memory
        assert not fits or rewards[row.index] == len(row.tokens)
        # A row whose parts fit, one after the other, may be scored although it would not fit as a whole.
        assert rewards[row.index] in (None, len(row.tokens))
    assert max(Counter(machine.rows).values(), default=1) == 1


def test_halving_is_said_once_and_lasts(caplog):
    caplog.set_level(logging.INFO)
    rows = [Row(index, str(index), (1,) * 10) for index in range(64)]
    machine = Machine(memory=90)
    schedule = Schedule("the model", 640, share=True)
    assert set(schedule.run(rows, machine).values()) == {10.0}
    assert machine.failures == 3
    assert schedule.budget == 80
    assert schedule.run(rows, machine).keys() == set(range(64))
    assert machine.failures == 3
    assert [record.message for record in caplog.records] == [
        "the model: out of memory at 640 tokens a batch; going on with 320 (set batch_tokens to spare the "
        "attempt; it is halved again, silently, where that is too many)"
    ]


def test_one_row_that_does_not_fit_takes_nothing_from_the_others(caplog):
    rows = [Row(0, "a", (1,) * 500), *(Row(index, "b", (2,) * 40 + (index,)) for index in range(1, 9))]
    machine = Machine(memory=200)
    schedule = Schedule("m", 160, share=True)
    rewards = schedule.run(rows, machine)
    assert rewards.pop(0) is None
    assert set(rewards.values()) == {41.0}
    assert schedule.budget == 160
    assert not caplog.records


def test_a_prefix_that_does_not_fit_beside_its_suffixes_is_not_shared():
    rows = [Row(index, "a", (1,) * 100 + (index + 2,) * 20) for index in range(4)]

    class NoCache(Machine):
        def _run(self, tokens, count, span):
            super()._run(tokens, count, span)
            if span == 100:
                raise OutOfMemory

    machine = NoCache(memory=120)
    assert set(Schedule("m", 120, share=True).run(rows, machine).values()) == {120.0}
    assert sorted(machine.rows) == [0, 1, 2, 3]


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    def broken(batch):
        raise RuntimeError("a fault")
        yield

    with pytest.raises(RuntimeError, match="a fault"):
        Schedule("m", 10, share=True).run([Row(0, "a", (1,))], broken)
