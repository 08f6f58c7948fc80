"""Time on a device that works behind the host's back, and how fast its memory is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

LAUNCHES = 40
"""Calls in a batch whose kernels are queued before the first of them runs."""


def now(device: torch.device) -> float:
    """Seconds, read when the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def seconds(device: torch.device, call: Callable[[], Any]) -> float:
    """What one call takes, on host and device."""
    start = now(device)
    call()
    return now(device) - start


def each_of(device: torch.device, call: Callable[[int], Any], count: int) -> float:
    """Seconds of one of so many calls that follow each other; a call takes its number."""

    def calls() -> None:
        for index in range(count):
            call(index)

    return seconds(device, calls) / count


def best(device: torch.device, call: Callable[[], Any], repeats: int = 7) -> float:
    """The shortest of some calls; the first of all is not counted.

    On CUDA a call is timed as one of eight that follow each other, so that the host can run ahead.
    """
    call()
    following = 8 if device.type == "cuda" else 1
    return min(each_of(device, lambda _: call(), following) for _ in range(repeats))


def on_the_device(
    device: torch.device, call: Callable[[int], Any], launches: int, warm_up: int = 10
) -> list[float]:
    """Seconds of each of many launches by CUDA's events, the host's own time left out where it runs ahead.

    The device is kept busy while the host queues a batch of launches, so that it goes from one to the next.
    A call that waits for the device is timed with its waiting. Elsewhere the host's clock tells.

    Args:
        device: where it runs.
        call: takes the number of the launch, so that inputs can take turns.
        launches: how many are timed.
        warm_up: how many are made before.
    """
    if device.type != "cuda":
        return [each_of(device, call, 1) for _ in range(launches)]
    for index in range(warm_up):
        call(index)
    taken: list[float] = []
    busy = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
    while len(taken) < launches:
        torch.cuda.synchronize(device)
        for _ in range(20):
            torch.mm(busy, busy)
        pairs = []
        for index in range(LAUNCHES):
            pair = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            pair[0].record()
            call(index)
            pair[1].record()
            pairs.append(pair)
        torch.cuda.synchronize(device)
        taken += [start.elapsed_time(end) / 1e3 for start, end in pairs]
    return taken[:launches]


def median_on_the_device(device: torch.device, call: Callable[[int], Any], launches: int) -> float:
    """The median of `on_the_device`."""
    return statistics.median(on_the_device(device, call, launches))


def bandwidth(device: torch.device, size: int) -> float:
    """Bytes a second, read and written, of a copy within the device's memory.

    Args:
        device: whose memory.
        size: bytes of the source; well above the caches.
    """
    source = torch.empty(size, dtype=torch.uint8, device=device).random_()
    target = torch.empty_like(source)
    return 2 * size / best(device, lambda: target.copy_(source), 10)
