"""Data-parallel generation: one worker process for each GPU, one journal.

A completion depends on its own seed alone, so it does not matter which worker draws it. The parent
writes the journal; a worker that dies takes nothing with it but what it had not finished.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any

from winnow.devices import VISIBLE
from winnow.errors import UserError
from winnow.generation import Block, Finished, Missing, Terms, completions

if TYPE_CHECKING:
    from winnow.qstar.sampler import OptimalSampler

log = logging.getLogger("generate")

WAITING = 1024
"""Finished completions that wait for the journal, at most."""


def draw_on_all(
    devices: list[str],
    load: Callable[[], OptimalSampler],
    block: Block,
    missing: Iterable[Missing],
    terms: Terms,
) -> Generator[Finished]:
    """Yield the missing completions as the workers finish them.

    Args:
        devices: names for CUDA_VISIBLE_DEVICES, one a worker.
        load: makes the sampler; has to be picklable.
        block, missing, terms: as `completions` takes them; the batch is a worker's, and each worker counts
            those that failed by itself.

    Raises:
        UserError: what a worker raised.
        RuntimeError: a worker died, or raised anything else; its traceback is in the message.
    """
    context = multiprocessing.get_context("spawn")
    finished: Any = context.Queue(WAITING)
    workers = [
        context.Process(
            target=_work,
            args=(device, len(devices), load, block, share, terms, finished),
            daemon=True,
        )
        for device, share in zip(devices, shares(missing, len(devices)), strict=True)
        if share
    ]
    log.info("%d workers, on the GPUs %s", len(workers), ", ".join(devices))
    try:
        for worker in workers:
            worker.start()
        yield from _collected(workers, finished)
    finally:
        for worker in workers:
            if worker.pid is not None:
                worker.kill()
                worker.join()


def shares(missing: Iterable[Missing], count: int) -> list[list[Missing]]:
    """The missing completions dealt over workers; a prompt's samples stay together and share its prefill."""
    dealt: list[list[Missing]] = [[] for _ in range(count)]
    turn: dict[str, int] = {}
    for each in missing:
        worker = turn.setdefault(each.prompt.id, len(turn) % count)
        dealt[worker].append(each)
    return dealt


def _collected(workers: list[Any], finished: Any) -> Generator[Finished]:
    running = len(workers)
    while running:
        try:
            found = finished.get(timeout=1.0)
        except queue.Empty:
            dead = [worker for worker in workers if worker.exitcode not in (None, 0)]
            if dead:
                raise RuntimeError(
                    f"a worker died with exit code {dead[0].exitcode}: "
                    "its memory may not have sufficed (a smaller --batch_size needs less)"
                ) from None
            continue
        if found is None:
            running -= 1
        elif isinstance(found, UserError):
            raise found
        elif isinstance(found, str):
            raise RuntimeError(f"in a worker:\n{found}")
        else:
            yield found


def _work(
    device: str,
    workers: int,
    load: Callable[[], OptimalSampler],
    block: Block,
    missing: list[Missing],
    terms: Terms,
    finished: Any,
) -> None:
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        # Told of its end, the parent stops the workers once the journal is whole.
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_die_with_the_parent, daemon=True).start()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    os.environ[VISIBLE] = device
    threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    os.environ["OMP_NUM_THREADS"] = str(max(1, threads // workers))
    try:
        for found in completions(block, missing, load(), terms):
            finished.put(found)
        finished.put(None)
    except UserError as error:
        finished.put(error)
    except Exception:
        finished.put(traceback.format_exc())


def _die_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
