"""How much work a job is: the completions that it draws or reads, the epochs that it trains."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import orjson

from winnow.workflow.snapshot import DONE, STALE, Job, Snapshot

EPOCHS = re.compile(r"--max_epochs[= ](\S+)")
TOKEN_ROWS = 256
"""Rows that are looked at for the length of completions."""


def draws(job: Job) -> bool:
    """Whether a job draws completions."""
    return "num_rollout" in job.parameters


def amounts(snapshot: Snapshot) -> list[float | None]:
    """For each job, the completions that it draws or reads, or its epochs; None where that is not known."""
    per_shard: dict[int, int | None] = {}
    found: list[float | None] = []
    for job in snapshot.jobs:
        epochs = EPOCHS.search(str(job.parameters.get("flags", "")))
        if epochs:
            found.append(float(epochs[1]))
        elif draws(job):
            makers = [
                snapshot.jobs[parent] for parent in job.parents if _makes_prompts(snapshot.jobs[parent])
            ]
            for maker in makers:
                if maker.number not in per_shard:
                    per_shard[maker.number] = _prompts_per_shard(snapshot.directory, maker)
            prompts = per_shard[makers[0].number] if makers else None
            found.append(None if prompts is None else prompts * int(str(job.parameters["num_rollout"])))
        else:
            # Blocks hold completions; what is made of several blocks reads them all.
            blocks = [found[parent] for parent in job.parents if "block" in snapshot.jobs[parent].wildcards]
            known = [count for count in blocks if count is not None]
            found.append(sum(known) if known and len(known) == len(blocks) else None)
    return found


def past_amount(snapshot: Snapshot, job: Job, today: float | None) -> float | None:
    """The same for the last run of a job: of as many completions as it left, or as many epochs."""
    if job.state == STALE and "block" in job.wildcards:
        return rows(snapshot.directory / job.outputs[0])
    then = job.cause.then if job.cause else None
    epochs = EPOCHS.search(then.command or "") if then else None
    return float(epochs[1]) if epochs else today


def rows(path: Path) -> int | None:
    """The lines of a file; None where there is none."""
    try:
        with path.open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    except FileNotFoundError:
        return None


def tokens_per_completion(path: Path) -> float | None:
    """The mean length of a file's first completions; None where there are none."""
    try:
        with path.open("rb") as file:
            lengths = [orjson.loads(line).get("completion_tokens") for line in islice(file, TOKEN_ROWS)]
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    known = [length for length in lengths if length is not None]
    return sum(known) / len(known) if known else None


def journalled(snapshot: Snapshot, job: Job) -> int:
    """Completions that an interrupted job left in its journal, which has a header line."""
    lines = rows(snapshot.directory / f"{job.outputs[0]}.partial") if draws(job) and job.runs else None
    return max((lines or 0) - 1, 0)


def _makes_prompts(job: Job) -> bool:
    return "--dataset=" in str(job.parameters.get("flags", ""))


def _prompts_per_shard(directory: Path, job: Job) -> int | None:
    """The prompts in each shard, which differ by one at most."""
    made = rows(directory / job.outputs[0])
    if job.state == DONE:
        return made
    flags = dict(re.findall(r"--(dataset|num_samples|start_idx)=('[^']*'|\S+)", str(job.parameters["flags"])))
    path = directory / flags["dataset"].strip("'")
    there = rows(path) if path.suffix == ".jsonl" else None
    if there is not None:
        there = max(there - int(flags.get("start_idx", 0)), 0)
    asked = int(flags["num_samples"]) if "num_samples" in flags else None
    known = [count for count in (there, asked) if count is not None]
    return -(-min(known) // len(job.outputs)) if known else made
