"""A job that is told of its end stops cleanly: what is finished is kept, and the next attempt goes on.

Told by SIGTERM (scancel, preemption, a time limit), by SIGUSR1 (where a cluster sends it before the
limit), or by the clock: a job on SLURM knows when its time is over and stops shortly before.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from types import FrameType

from winnow.errors import UserError

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)
LEAST_MARGIN, MOST_MARGIN, MARGIN_SHARE = 10.0, 300.0, 0.05
"""Seconds kept back before the end of a job's time: a share of what is left at the start, within bounds."""

EXIT_CODE = 75
"""sysexits.h's EX_TEMPFAIL: not a failure of the input; the same command again goes on."""


class Stopped(BaseException):
    """The job was told of its end. Like KeyboardInterrupt no Exception: nothing shall swallow it."""


def end_of_job(deadline: str) -> float | None:
    """When this job has to have stopped, in seconds since the epoch; None if nobody knows of an end.

    Args:
        deadline: ``auto`` asks SLURM, keeping a margin back; ``none``; a number of seconds from now;
            or a moment such as 2026-11-21T06:00.

    Raises:
        UserError: none of these.
    """
    if deadline == "none":
        return None
    if deadline == "auto":
        end = _slurm_end()
        if end is None:
            return None
        return end - min(max((end - time.time()) * MARGIN_SHARE, LEAST_MARGIN), MOST_MARGIN)
    try:
        return time.time() + float(deadline)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(deadline).timestamp()
    except ValueError:
        raise UserError(
            "--deadline",
            repr(deadline),
            "auto, none, seconds from now, or a moment such as 2026-11-21T06:00",
            "correct the deadline",
        ) from None


@contextmanager
def told_of_the_end(deadline: str, act: Callable[[str], None] | None = None) -> Iterator[None]:
    """While this is entered, the end of the job raises `Stopped` in the main thread, or calls `act`.

    Args:
        deadline: as `end_of_job` takes it.
        act: called with the reason instead of raising, for those who must finish a step first.

    Raises:
        Stopped: the job was told of its end.
    """
    end = end_of_job(deadline)
    told = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal told
        if _held.sections:
            _held.news = lambda: handle(number, frame)
            return
        if told:
            # Two signals arrived together.
            return
        told = True
        reason = "the end of its time" if number == signal.SIGALRM else signal.Signals(number).name
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        if act is None:
            raise Stopped(reason)
        act(reason)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    if end is not None:
        log.info("told to stop at %s", datetime.fromtimestamp(end).strftime("%H:%M:%S"))
        signal.setitimer(signal.ITIMER_REAL, max(end - time.time(), 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


class _Held:
    """News that waits for the end of a write. A signal's mask would not do: other threads take the signal."""

    sections = 0
    news: Callable[[], None] | None = None


_held = _Held()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold the news back until a write that must stay whole is done."""
    _held.sections += 1
    try:
        yield
    finally:
        _held.sections -= 1
        if not _held.sections and _held.news is not None:
            news, _held.news = _held.news, None
            news()


def _slurm_end() -> float | None:
    """The end of this SLURM job's time, in seconds since the epoch; None without a job or a limit."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return None
    if "SLURM_JOB_END_TIME" in os.environ:
        return float(os.environ["SLURM_JOB_END_TIME"])
    # SLURM sets the variable from 22.05 on in batch scripts, but not in every step.
    command = ["squeue", "--noheader", "--jobs", job, "--format", "%e"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=30, check=True
        ).stdout.strip()
        return datetime.fromisoformat(answer).timestamp()
    except (OSError, subprocess.SubprocessError, ValueError) as problem:
        log.warning("cannot ask SLURM when this job ends (%s); give --deadline to stop in time", problem)
        return None
