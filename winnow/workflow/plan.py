"""The plan of a run: what would run and why, what it would cost, and what is there already."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from winnow.workflow.evidence import Estimate, Evidence, benchmark_seconds
from winnow.workflow.reasons import Reason, reasons
from winnow.workflow.schedule import OVERHEAD, Task, makespan
from winnow.workflow.snapshot import DONE, STATES, Job, Limits, Snapshot
from winnow.workflow.work import amounts, draws, journalled


@dataclass(frozen=True, slots=True)
class Cost:
    """What some jobs are expected to take.

    Attributes:
        seconds: their wall time, one after the other.
        gpu_hours: the same, times the GPUs that each asks for.
        completions: to be drawn.
        tokens: of these completions.
        unknown_seconds: jobs of which no past is known; they count nowhere else.
        unknown_gpu_hours: those of them that ask for a GPU.
        unknown_completions, unknown_tokens: drawing jobs of which these are not known.
    """

    seconds: float = 0.0
    gpu_hours: float = 0.0
    completions: int = 0
    tokens: int = 0
    unknown_seconds: int = 0
    unknown_gpu_hours: int = 0
    unknown_completions: int = 0
    unknown_tokens: int = 0

    @staticmethod
    def total(costs: Sequence[Cost]) -> Cost:
        """The sum of several."""
        names = [field.name for field in dataclasses.fields(Cost)]
        return Cost(*(sum(getattr(cost, name) for cost in costs) for name in names))


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage of a plan.

    Attributes:
        stage: its name.
        jobs: how many run.
        states: how many are in each of the snapshot's states.
        cost: of the jobs that run.
        sources: where the estimates come from, the most used first.
        why: reasons, each with the jobs that it holds for, the most frequent first.
        followers: jobs that run only because others do.
    """

    stage: str
    jobs: int
    states: dict[str, int]
    cost: Cost
    sources: tuple[str, ...]
    why: tuple[tuple[Reason, int], ...]
    followers: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All stages, and the run as a whole.

    Attributes:
        run: ``results/<run>``.
        stages: in the order of the Snakefile.
        total: the cost of all of them.
        jobs: how many run.
        reused_jobs: how many are done already.
        reused_completions, reused_tokens: what drawing jobs that are done have drawn; None where no
            finished completion was found to measure.
        resumed_completions: what interrupted jobs left in their journals.
        seconds: from the start of Snakemake to its end; a lower bound where jobs are unknown.
        limits: what may run at once.
        interrupted: jobs that --rerun-incomplete makes again.
    """

    run: str
    stages: tuple[StagePlan, ...]
    total: Cost
    jobs: int
    reused_jobs: int
    reused_completions: int
    reused_tokens: int | None
    resumed_completions: int
    seconds: float
    limits: Limits
    interrupted: int

    def to_json(self) -> dict[str, Any]:
        """The same as plain lists and numbers."""
        found = dataclasses.asdict(self)
        for stage, plan in zip(found["stages"], self.stages, strict=True):
            stage["why"] = [{**dataclasses.asdict(reason), "jobs": count} for reason, count in plan.why]
        return found


def make_plan(snapshot: Snapshot, startup_seconds: float = 0.0) -> Plan:
    """The plan of a snapshot.

    Args:
        snapshot: the DAG.
        startup_seconds: what Snakemake takes before its first job: as long as the snapshot took.
    """
    work = amounts(snapshot)
    evidence = Evidence(snapshot, work)
    resumed = [journalled(snapshot, job) for job in snapshot.jobs]
    estimates = [
        _remaining(evidence.estimate(job, amount), amount, kept) if job.runs else None
        for job, amount, kept in zip(snapshot.jobs, work, resumed, strict=True)
    ]
    costs = [_cost(*of_job) for of_job in zip(snapshot.jobs, work, resumed, estimates, strict=True)]
    stages = tuple(_stage(snapshot, name, estimates, costs) for name in snapshot.stages())
    reused = [job for job in snapshot.jobs if job.state == DONE and draws(job)]
    lengths = [evidence.length(job) for job in reused]
    drawn = [int(work[job.number] or 0) for job in reused]
    known = [count * length for count, length in zip(drawn, lengths, strict=True) if length is not None]
    return Plan(
        run=evidence.root or "",
        stages=stages,
        total=Cost.total(costs),
        jobs=sum(stage.jobs for stage in stages),
        reused_jobs=sum(stage.states.get(DONE, 0) for stage in stages),
        reused_completions=sum(drawn),
        reused_tokens=round(sum(known)) if known or not reused else None,
        resumed_completions=sum(resumed),
        seconds=_seconds(snapshot, estimates, startup_seconds),
        limits=snapshot.limits,
        interrupted=sum(job.cause is not None and job.cause.interrupted for job in snapshot.jobs),
    )


def _remaining(estimate: Estimate | None, amount: float | None, resumed: int) -> Estimate | None:
    """An estimate without the part that a journal holds already."""
    if estimate is None or not amount:
        return estimate
    left = max(1 - resumed / amount, 0.0)
    return dataclasses.replace(estimate, seconds=estimate.seconds * left)


def _cost(job: Job, amount: float | None, resumed: int, estimate: Estimate | None) -> Cost:
    if not job.runs:
        return Cost()
    drawn = max(int(amount) - resumed, 0) if draws(job) and amount is not None else None
    length = estimate.tokens_per_completion if estimate else None
    seconds = estimate.seconds if estimate else 0.0
    return Cost(
        seconds=seconds,
        gpu_hours=seconds * gpus(job) / 3600,
        completions=drawn or 0,
        tokens=round(drawn * length) if drawn is not None and length is not None else 0,
        unknown_seconds=int(estimate is None),
        unknown_gpu_hours=int(estimate is None and gpus(job) > 0),
        unknown_completions=int(draws(job) and drawn is None),
        unknown_tokens=int(draws(job) and (drawn is None or length is None)),
    )


def gpus(job: Job) -> int:
    """The GPUs that a job asks for, over all its nodes."""
    return job.resources.get("gpu") or job.resources.get("gpus_in_flight", 0)


def _stage(
    snapshot: Snapshot, name: str, estimates: Sequence[Estimate | None], costs: Sequence[Cost]
) -> StagePlan:
    jobs = [job for job in snapshot.jobs if snapshot.stage(job) == name]
    states = Counter(job.state for job in jobs)
    why = [reasons(snapshot, job) for job in jobs if job.runs]
    counts = Counter(reason for found in why for reason in found)
    sources = Counter(one.source for job in jobs if (one := estimates[job.number]) is not None)
    return StagePlan(
        stage=name,
        jobs=sum(job.runs for job in jobs),
        states={state: states[state] for state in STATES if states[state]},
        cost=Cost.total([costs[job.number] for job in jobs]),
        sources=tuple(source for source, _ in sources.most_common()),
        why=tuple(counts.most_common()),
        followers=sum(all(reason.follows for reason in found) for found in why),
    )


def _seconds(snapshot: Snapshot, estimates: Sequence[Estimate | None], startup: float) -> float:
    """The whole run's wall time: its jobs through the scheduler."""
    limits = snapshot.limits
    if not any(job.runs for job in snapshot.jobs):
        return 0.0
    clustered = limits.executor != "local"
    latency = _latency(snapshot) if clustered else OVERHEAD
    places = {job.number: place for place, job in enumerate(job for job in snapshot.jobs if job.runs)}
    tasks = []
    for job in snapshot.jobs:
        if not job.runs:
            continue
        here = job.local or not clustered
        one = estimates[job.number]
        tasks.append(
            Task(
                seconds=(one.seconds if one else 0.0) + (OVERHEAD if here else latency),
                parents=tuple(places[parent] for parent in job.parents if parent in places),
                needs=_needs(job, here),
            )
        )
    available = dict(limits.resources)
    for name, limit in (("threads", limits.cores), ("jobs", limits.jobs)):
        if limit is not None:
            available[name] = limit
    return startup + makespan(tasks, available)


def _needs(job: Job, here: bool) -> dict[str, int]:
    """What a job takes of the limits: threads where Snakemake runs, one job of the cluster elsewhere."""
    needs = {name: amount for name, amount in job.resources.items() if name != "threads"}
    return {**needs, **({"threads": job.resources.get("threads", 1)} if here else {"jobs": 1})}


def _latency(snapshot: Snapshot) -> float:
    """What passed between submission and end of past jobs, beyond what their benchmarks saw: the median."""
    found: list[float] = []
    for job in _timed(snapshot.jobs):
        ran = benchmark_seconds(snapshot.directory / str(job.benchmark))
        if ran is not None and job.elapsed is not None:
            found.append(job.elapsed - ran)
    return max(statistics.median(found), OVERHEAD) if found else OVERHEAD


def _timed(jobs: Iterable[Job]) -> list[Job]:
    return [job for job in jobs if job.elapsed is not None and job.benchmark and not job.local]
