"""The ledger of a run: one row for each stage, step, alpha, n and block; and what an arm cost, as a view."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from winnow.arms import Arm, blocks_for
from winnow.ledger.jobs import Asked, Job, Spent, jobs
from winnow.ledger.places import STAGES, Place

Row = dict[str, Any]


def ledger(run_dir: Path, asked: Asked) -> tuple[list[Row], list[Row], Row]:
    """The rows of a run, their sums by stage, and their sum, in all of which each job counts once.

    A row is `{stage, step, alpha, n, block}` (see `Place`) and what `_sum_up` gives.

    Args:
        run_dir: ``results/<run>``.
        asked: the config's `resources`; used for jobs that tell neither their GPUs nor their cores.
    """
    found: dict[Place, list[Job]] = defaultdict(list)
    for job in jobs(run_dir, asked):
        found[job.place].append(job)
    places = sorted(found, key=_order)
    rows = [{**asdict(place), **_sum_up(found[place])} for place in places]
    stages = [
        {"stage": stage, **_sum_up(job for place in group for job in found[place])}
        for stage, group in groupby(places, key=lambda place: place.stage)
    ]
    return rows, stages, _sum_up(job for group in found.values() for job in group)


def arm_cost(rows: Iterable[Row], arm: Arm, block_size: int) -> tuple[float, float]:
    """GPU-hours and CPU-hours behind an arm: a view, for several arms may look at one block.

    Its blocks with their scoring, one that it uses in part counted in part; its selection, diagnostics,
    training data and training, and the evaluation of its checkpoint.
    """
    gpu_hours = cpu_hours = 0.0
    for row in rows:
        if (row["step"], row["alpha"]) != (arm.step, arm.alpha):
            continue
        if row["block"] is None:
            share = float(row["n"] == arm.n)
        else:
            used = arm.n - row["block"] * block_size if row["block"] in blocks_for(arm.n, block_size) else 0
            share = min(used, block_size) / block_size
        gpu_hours += share * row["gpu_hours"]
        cpu_hours += share * row["cpu_hours"]
    return round(gpu_hours, 6), round(cpu_hours, 6)


def _sum_up(group: Iterable[Job]) -> Row:
    group = list(group)
    earlier = sum((job.earlier for job in group), Spent())
    spent = sum((job.last for job in group), earlier)
    row = {
        "jobs": len(group),
        "attempts": sum(job.attempts for job in group),
        "seconds": round(spent.seconds, 3),
        "gpu_hours": round(spent.gpu_seconds / 3600, 6),
        "cpu_hours": round(spent.core_seconds / 3600, 6),
        "earlier_gpu_hours": round(earlier.gpu_seconds / 3600, 6),
        "earlier_cpu_hours": round(earlier.core_seconds / 3600, 6),
    }
    drawing = [job for job in group if job.tokens]
    tokens = [job.tokens for job in drawing if job.tokens]
    seconds = sum(job.drawing_seconds for job in drawing)
    drawn = sum(each.completion for each in tokens)
    return {
        **row,
        "completions": sum(each.completions for each in tokens) if tokens else None,
        "prompt_tokens": sum(each.prompt for each in tokens) if tokens else None,
        "completion_tokens": drawn if tokens else None,
        "tokens_per_second": round(drawn / seconds, 1) if seconds else None,
    }


def _order(place: Place) -> tuple[Any, ...]:
    stages = [*STAGES, place.stage]
    return (
        stages.index(place.stage), place.stage, place.step or "", place.alpha or "", place.n or 0,
        place.block or 0,
    )  # fmt: skip
