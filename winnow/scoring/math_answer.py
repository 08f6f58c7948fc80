"""math: the stated answer equals the reference, as mathematics (by math-verify)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from winnow.attempts import cores
from winnow.errors import UserError
from winnow.scoring.math_worker import Verdict, end_with_the_parent, judge
from winnow.scoring.score import Item, Measure, Score, Unreferenced

if TYPE_CHECKING:
    from pebble import ProcessPool

STEPS = 6
"""Of a completion, at most: two readings, two comparisons, a key, and one to spare; then its process ends."""
CHUNK = 32
"""Completions that a worker gets at a time: what they cost in passing to and fro is little then."""


class Math:
    """Value 1 and passed when math-verify finds answer and reference equal, else 0.

    A wrong answer gets a class, which all have that are equal to it. It runs in processes of its own, for
    math-verify hangs on some answers and ends on others: such a completion has no value, and nothing else is
    lost.

    Args:
        seconds: for each of the steps of a completion: reading the reference, reading the answer, comparing
            them, and for the key of a wrong one, without which a vote compares its text.
        processes: how many; the cores of the job if not given.
    """

    name: ClassVar[str] = "math"
    version: ClassVar[int] = 2
    measures: ClassVar[Measure] = "verdict"
    costly: ClassVar[bool] = False
    access: ClassVar[tuple[str, ...]] = ("processes",)

    def __init__(self, seconds: int = 5, processes: int | None = None) -> None:
        for key, value in (("seconds", seconds), ("processes", processes)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise UserError(key, f"{value!r}", "a whole number of at least 1", "correct the option")
        self._seconds, self._processes = seconds, processes or cores()
        self._pool: ProcessPool | None = None

    def score_items(self, items: Sequence[Item]) -> list[Score]:
        """Compare each answer with its prompt's reference."""
        pairs = [(item.text, item.prompt.reference) for item in items]
        chunks = [pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
        jobs = [self._schedule(chunk) for chunk in chunks]
        # Alone, what a chunk that did not end consists of: one of them is at fault, the others are not.
        singles = {
            number: [(pair, self._schedule([pair])) for pair in chunk]
            for number, (chunk, job) in enumerate(zip(chunks, jobs, strict=True))
            if self._ended(job) is None
        }
        verdicts: list[Verdict] = []
        for number, job in enumerate(jobs):
            if number not in singles:
                verdicts += job.result()
                continue
            for pair, single in singles[number]:
                # Once more without a key, for it may be that which did not end: a verdict is worth more.
                found = self._ended(single) or self._ended(single := self._schedule([pair], keyed=False))
                verdicts.append(found[0] if found else (None, False, self._fault(single), False, None))
        return [
            (Unreferenced if unreferenced else Score)(value, passed, detail, key)
            for value, passed, detail, unreferenced, key in verdicts
        ]

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
            self._pool = None

    def _schedule(self, pairs: Sequence[tuple[str, str | None]], keyed: bool = True) -> Any:
        if self._pool is None:
            self._pool = _pool(self._processes)
        # math-verify has limits of its own for the steps of a completion; a process is ended when these fail.
        return self._pool.schedule(judge, args=[pairs, self._seconds, keyed], timeout=STEPS * self._seconds)

    def _ended(self, job: Any) -> list[Verdict] | None:
        """What a job gave; None where it did not end, or its process died."""
        from pebble import ProcessExpired

        with suppress(TimeoutError, ProcessExpired):
            found: list[Verdict] = job.result()
            return found
        return None

    def _fault(self, job: Any) -> str:
        error = job.exception()
        if isinstance(error, TimeoutError):
            return f"math-verify did not end within {STEPS * self._seconds} s"
        return f"math-verify's process died: {error}"


def _pool(processes: int) -> ProcessPool:
    import multiprocessing

    from pebble import ProcessPool

    # Not forked: other threads of this process may hold locks.
    return ProcessPool(
        max_workers=processes, context=multiprocessing.get_context("spawn"), initializer=end_with_the_parent
    )
