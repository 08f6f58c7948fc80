"""When a DAG would end."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.workflow.schedule import Task, makespan


def task(seconds: float, *parents: int, **needs: int) -> Task:
    return Task(seconds, parents, {"threads": 1, **needs})


@pytest.mark.parametrize(
    ("tasks", "limits", "seconds"),
    [
        ([], {}, 0),
        ([task(3), task(5)], {"threads": 2}, 5),
        ([task(3), task(5)], {"threads": 1}, 8),
        ([task(3), task(5)], {}, 5),
        ([task(3), task(5, 0), task(1, 1)], {"threads": 9}, 9),
        # The first that waits goes first: 0 and 1, then 2 at 2 s, then 3 at 3 s.
        ([task(2), task(3), task(4), task(1)], {"threads": 2}, 6),
        # Two GPUs at once, though there are cores for all.
        ([task(4, gpu=1), task(4, gpu=1), task(4, gpu=1)], {"threads": 8, "gpu": 2}, 8),
        ([task(4, gpu=2), task(4, gpu=1), task(4, gpu=1)], {"threads": 8, "gpu": 2}, 8),
        # Of two that fit only one at a time, the one that stands first in the DAG.
        ([task(1, threads=2), task(5), task(5, 0)], {"threads": 2}, 6),
        # What does not fit lets the next go ahead.
        ([task(4, threads=1), task(4, threads=2), task(4, threads=1)], {"threads": 2}, 8),
        # More than there is: it takes all, alone.
        ([task(4, threads=64), task(1)], {"threads": 2}, 5),
        # A resource without a limit is none.
        ([task(4, mem_mb=9000), task(4, mem_mb=9000)], {"threads": 2}, 4),
        # Parents may stand after their children.
        ([task(1, 1), task(2)], {"threads": 1}, 3),
        ([task(0), task(0, 0), task(0, 1)], {"threads": 1}, 0),
    ],
)
def test_by_hand(tasks, limits, seconds):
    assert makespan(tasks, limits) == seconds


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(1, 3), st.lists(st.integers(0, 30), max_size=3)), max_size=30
    ),
    st.integers(1, 4),
)
def test_between_the_bounds_of_any_list_schedule(drawn, cores):
    tasks = [
        Task(seconds, tuple({p % place for p in parents} if place else ()), {"threads": threads})
        for place, (seconds, threads, parents) in enumerate(drawn)
    ]
    ends: list[float] = []
    for one in tasks:
        ends.append(one.seconds + max((ends[p] for p in one.parents), default=0))
    critical = max(ends, default=0)
    work = sum(one.seconds * min(one.needs["threads"], cores) for one in tasks)
    found = makespan(tasks, {"threads": cores})
    assert max(critical, work / cores) <= found <= sum(one.seconds for one in tasks)
    if all(one.needs["threads"] == 1 for one in tasks):
        assert found <= work / cores + critical * (1 - 1 / cores) + 1e-9


def test_eighteen_thousand_tasks_take_a_second_or_two():
    width = 6000
    tasks = [task(1.0 + place % 7, gpu=1) for place in range(width)]
    tasks += [task(0.5, place) for place in range(width)]
    tasks += [task(0.1, *range(width + start, width + start + 100)) for start in range(0, width, 100)] * 100
    assert len(tasks) == 18_000
    started = time.process_time()
    found = makespan(tasks, {"threads": 64, "gpu": 16})
    assert time.process_time() - started < 3
    assert found >= sum(one.seconds for one in tasks[:width]) / 16
