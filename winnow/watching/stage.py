"""What is known of a stage of a run that is under way, and how long the rest may take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean

from winnow.attempts import RUNNING, Record

COUNTED = ("completions", "steps")
"""Figures that grow up to a job's `total`."""

TOLD = 0.05
"""The part of a job that has to be done before its duration is guessed from it."""


@dataclass(slots=True)
class Stage:
    """The jobs of a stage in one run.

    Attributes:
        total, done: how many there are, and how many are finished.
        begun: logs of jobs that have begun and are not finished.
        records: the last attempt in this run, by the job's log.
        before, measured: wall seconds of some of the jobs, in an earlier run and in this one.
    """

    total: int
    done: int = 0
    begun: set[str] = field(default_factory=set)
    records: dict[str, Record] = field(default_factory=dict)
    before: list[float] = field(default_factory=list)
    measured: list[float] = field(default_factory=list)

    def running(self) -> list[Record]:
        """The attempts that live."""
        found = [self.records[log] for log in self.begun if log in self.records]
        return [record for record in found if record.outcome == RUNNING]

    def count(self, figure: str) -> int:
        """A figure, added up over the jobs that tell it."""
        return sum(record.figures.get(figure, 0) for record in self.records.values())

    def expected(self) -> tuple[int, bool]:
        """The sum of the jobs' `total`, jobs that have not begun like the others; and whether it is exact."""
        told = [record.figures["total"] for record in self.records.values() if record.figures.get("total")]
        if not told:
            return 0, False
        return round(sum(told) / len(told) * self.total), len(told) == self.total

    def job_seconds(self) -> float | None:
        """How long a job takes: as measured in this run, as in an earlier one, or as those that run tell."""
        guesses = [record.seconds / part for record in self.running() if (part := _part(record, True)) > TOLD]
        samples = self.measured or self.before or guesses
        return fmean(samples) if samples else None


def seconds_left(stages: Iterable[Stage], elapsed: float) -> tuple[float, bool] | None:
    """How long the run may still take, and whether every stage was counted; None when nobody can tell.

    What is left is shared by as many jobs as run at once; but the stages wait for each other, so that it
    takes at least one job of each.

    Args:
        stages: all stages of the run.
        elapsed: seconds since the run began.
    """
    work = chain = busy = 0.0
    at_once, complete = 1, True
    for stage in stages:
        each, live = stage.job_seconds(), stage.running()
        at_once = max(at_once, len(stage.begun))
        busy += (each or 0.0) * stage.done + sum(record.seconds for record in live)
        if stage.done == stage.total:
            continue
        if each is None:
            complete = False
            continue
        rests = [_rest(record, each) for record in live]
        waiting = stage.total - stage.done - len(live)
        work += sum(rests) + waiting * each
        chain += each if waiting > 0 else max(rests)
    if not work:
        return None
    return max(chain, work / max(at_once, busy / elapsed)), complete


def _rest(record: Record, each: float) -> float:
    if record.figures.get("total"):
        return each * (1 - _part(record))
    return max(each - record.seconds, 0.0)


def _part(record: Record, by_itself: bool = False) -> float:
    """The part of its job that an attempt has finished; `by_itself`: of what it found to do."""
    total = record.figures.get("total", 0)
    name = next((name for name in COUNTED if name in record.figures), None)
    if not total or name is None:
        return 0.0
    found = record.found.get(name, 0) if by_itself else 0
    return (record.figures[name] - found) / max(total - found, 1)
