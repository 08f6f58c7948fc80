"""Rows in slices that fit a core's cache, on CPU one thread's from beginning to end."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

CACHE_ELEMENTS = 1 << 17
"""Numbers a chunk of rows should have on CPU: of fewer, what torch's calls cost outweighs the cache."""
THREAD_ELEMENTS = 1 << 18
"""The same where chunks run beside each other: on smaller ones, threads wait for Python's lock."""
WORTH_A_THREAD = 1 << 21
"""From so many numbers on threads lose nothing where other work has one of two cores: 128 × 16,384 take
one thread 10.1 ms then and two 10.4; 96 × 16,384, 7.3 and 7.7."""


_own_threads = True


def leave_threads() -> None:
    """Never change torch's number of threads: a host that binds them (vLLM) has its own."""
    global _own_threads
    _own_threads = False


def in_chunks(work: Callable[[slice], T], like: Tensor) -> list[T]:
    """What `work` makes of slices of the rows of `like` [rows, vocabulary]; on CPU in parallel.

    The slices are small enough for the cache there, and the whole on other devices.

    Each chunk is one thread's from beginning to end. Were its operations shared out instead, all
    threads would meet after every one of them, some 50 µs apart: on a machine with other work each
    meeting can cost a time slice, and torch would add up a lone long row in another order than the
    same row among others.
    """
    rows, vocabulary = like.shape
    if like.device.type != "cpu":
        return [work(slice(0, rows))]
    threads = torch.get_num_threads() if _own_threads else 1
    beside = threads > 1 and rows * vocabulary >= WORTH_A_THREAD
    size = max(1, (THREAD_ELEMENTS if beside else CACHE_ELEMENTS) // max(vocabulary, 1))
    # No rows are a chunk as well: it tells the shapes and types of what there is none of.
    chunks = [slice(start, min(start + size, rows)) for start in range(0, rows, size)] or [slice(0, 0)]
    try:
        if not beside or len(chunks) <= 1:
            _set_threads(1)
            return [work(chunk) for chunk in chunks]
        inference, gradient = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

        def alone(chunk: slice) -> T:
            # What torch keeps for each thread has to be told to a new one.
            with torch.inference_mode(inference), torch.set_grad_enabled(gradient):
                return work(chunk)

        return list(_pool(threads).map(alone, chunks))
    finally:
        _set_threads(threads)


def joined(chunks: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """The columns of chunks, one below the other."""
    return (
        chunks[0] if len(chunks) == 1 else tuple(torch.cat(columns) for columns in zip(*chunks, strict=True))
    )


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that stay, with the buffers that they have."""
    return ThreadPoolExecutor(threads, "rows", initializer=torch.set_num_threads, initargs=(1,))


# A forked process has none of them.
os.register_at_fork(after_in_child=_pool.cache_clear)


def _set_threads(count: int) -> None:
    if _own_threads and torch.get_num_threads() != count:
        torch.set_num_threads(count)
