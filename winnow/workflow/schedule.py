"""When a DAG would end: list scheduling over expected durations, under the limits of the run."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

OVERHEAD = 0.015
"""Seconds between the end of a local job and the start of the next, as measured with Snakemake 9.27."""


@dataclass(frozen=True, slots=True)
class Task:
    """A job as the scheduler sees it.

    Attributes:
        seconds: how long it holds what it needs.
        parents: places of the tasks that come before it.
        needs: amounts by name, of what there is only so much.
    """

    seconds: float
    parents: tuple[int, ...]
    needs: Mapping[str, int]


def makespan(tasks: Sequence[Task], limits: Mapping[str, int]) -> float:
    """Seconds from the first start to the last end.

    A task starts as soon as its parents have ended and what it needs is free, the first of those that
    wait first; one that needs more than there is at all takes all there is, as Snakemake would have it.

    Args:
        tasks: in any order; parents by their place.
        limits: how much there is by name; what is not named is no limit.
    """
    children: list[list[int]] = [[] for _ in tasks]
    waits = [len(task.parents) for task in tasks]
    for place, task in enumerate(tasks):
        for parent in task.parents:
            children[parent].append(place)
    needs = [_limited(task.needs, limits) for task in tasks]
    free = dict(limits)
    # Those that need the same wait in one queue, so that a full machine is seen at one glance.
    queues: dict[tuple[tuple[str, int], ...], deque[int]] = {}
    for place, count in enumerate(waits):
        if not count:
            queues.setdefault(needs[place], deque()).append(place)
    running: list[tuple[float, int]] = []
    now = 0.0
    while True:
        _start(queues, needs, tasks, free, running, now)
        if not running:
            return now
        now = running[0][0]
        while running and running[0][0] <= now:
            _, place = heapq.heappop(running)
            for name, amount in needs[place]:
                free[name] += amount
            for child in children[place]:
                waits[child] -= 1
                if not waits[child]:
                    queues.setdefault(needs[child], deque()).append(child)


def _limited(needs: Mapping[str, int], limits: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(
        (name, min(amount, limits[name])) for name, amount in sorted(needs.items()) if name in limits
    )


def _start(
    queues: Mapping[tuple[tuple[str, int], ...], deque[int]],
    needs: Sequence[tuple[tuple[str, int], ...]],
    tasks: Sequence[Task],
    free: dict[str, int],
    running: list[tuple[float, int]],
    now: float,
) -> None:
    """Start whatever fits, the earliest in the DAG first."""
    while True:
        fitting = [
            queue[0]
            for key, queue in queues.items()
            if queue and all(amount <= free[name] for name, amount in key)
        ]
        if not fitting:
            return
        place = min(fitting)
        queues[needs[place]].popleft()
        for name, amount in needs[place]:
            free[name] -= amount
        heapq.heappush(running, (now + tasks[place].seconds, place))
