"""What each job has cost, from Snakemake's benchmark of it and from its own account of its attempts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from winnow import attempts, jsonl
from winnow.attempts import DONE, Record
from winnow.errors import UserError
from winnow.ledger.places import CONFIGURED, Place, place_of

Asked = Mapping[str, Mapping[str, Any]]
"""The config's `resources`: stage → what one of its jobs asked for."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Wall seconds, and these times the GPUs and the cores that were held."""

    seconds: float = 0.0
    gpu_seconds: float = 0.0
    core_seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.seconds + other.seconds,
            self.gpu_seconds + other.gpu_seconds,
            self.core_seconds + other.core_seconds,
        )


@dataclass(frozen=True, slots=True)
class Tokens:
    """What lies in a generating job's completions; `prompt` counts each prompt once."""

    completions: int
    prompt: int
    completion: int


@dataclass(frozen=True, slots=True)
class Job:
    """One job, over all of its attempts.

    Attributes:
        place: its line of the ledger.
        attempts: how many.
        last: what the attempt behind its result took.
        earlier: what all others took: killed, failed, or of a result that was replaced.
        drawing_seconds: wall seconds of the attempts that drew its completions, those resumed included.
        tokens: of stages that draw completions.
    """

    place: Place
    attempts: int
    last: Spent
    earlier: Spent
    drawing_seconds: float
    tokens: Tokens | None


def jobs(run_dir: Path, asked: Asked) -> Iterator[Job]:
    """All jobs that left a benchmark or an account below `run_dir`, but for the summary's own.

    Raises:
        UserError: a benchmark file that is damaged.
    """
    finished = _paths(run_dir / "benchmarks", ".jsonl")
    accounted = _paths(run_dir / "logs", ".log.attempts")
    for path in sorted({*finished, *accounted} - {"summary"}):
        place = place_of(path)
        records = attempts.read(run_dir / "logs" / f"{path}.log.attempts") if path in accounted else []
        rows = _benchmark(run_dir / "benchmarks" / f"{path}.jsonl") if path in finished else []
        yield _job(place, rows, records, asked, run_dir / f"{path}.jsonl")


def _paths(folder: Path, suffix: str) -> set[str]:
    """Files below a folder, relative to it and without their suffix."""
    found: set[str] = set()
    for parent, _, names in os.walk(folder):
        relative = os.path.relpath(parent, folder)
        inside = "" if relative == "." else f"{relative}/"
        found.update(f"{inside}{name.removesuffix(suffix)}" for name in names if name.endswith(suffix))
    return found


def _benchmark(path: Path) -> list[dict[str, Any]]:
    rows = list(jsonl.rows(path))
    for row in rows:
        if not isinstance(row.get("s"), int | float):
            raise UserError(
                path, "a row without seconds ('s')", "a benchmark of Snakemake's", "delete the file"
            )
    return rows


def _job(
    place: Place, rows: list[dict[str, Any]], records: list[Record], asked: Asked, completions: Path
) -> Job:
    ends = [index for index, record in enumerate(records) if record.outcome == DONE]
    last = records[ends[-1]] if ends else None
    measured = sum(row["s"] for row in rows)
    # A program's own time lies within Snakemake's, unless it waited for an orphan to finish its job.
    same = last is not None and bool(rows) and measured >= last.seconds
    result = _held(rows, last, place.stage, asked) if rows else Spent()
    if last is not None and not rows:
        result = _spent(last)
    others = [r for r in records if r is not last or (rows and not same)]
    earlier = sum(map(_spent, others), Spent())
    making = records[ends[-2] + 1 if len(ends) > 1 else 0 : ends[-1] + 1 if ends else None]
    drawing = sum(record.seconds for record in making) if making else measured
    if last is not None and same:
        drawing += measured - last.seconds
    return Job(
        place,
        len(others) + bool(rows or last),
        result,
        earlier,
        drawing,
        _tokens(records, completions) if place.stage.startswith("generate") else None,
    )


def _gpus(held: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    """The GPUs over all nodes: as the job held them, whichever words it asked in, else as configured."""
    if "gpu" in held or "gpus_in_flight" in held:
        return int(held.get("gpu") or held.get("gpus_in_flight", 0))
    return int(config.get("gpu", 0) * config.get("nodes", 1))


def _held(rows: list[dict[str, Any]], last: Record | None, stage: str, asked: Asked) -> Spent:
    """What the benchmark's time cost: by the job's own account, the extended benchmark, or the config."""
    config = asked.get(CONFIGURED.get(stage, stage), {})
    spent = Spent()
    for row in rows:
        gpus = _gpus(row.get("resources", {}), config)
        cores = row.get("threads", config.get("threads", 1))
        if last is not None:
            gpus, cores = last.gpus, last.cores
        spent += Spent(row["s"], row["s"] * gpus, row["s"] * cores)
    return spent


def _spent(record: Record) -> Spent:
    return Spent(record.seconds, record.seconds * record.gpus, record.seconds * record.cores)


def _tokens(records: list[Record], completions: Path) -> Tokens:
    """As the job counted them; read from the completions where no account of it is left."""
    for record in reversed(records):
        if record.figures.get("completions"):
            figures = record.figures
            return Tokens(figures["completions"], figures["prompt_tokens"], figures["completion_tokens"])
    if not completions.exists():
        return Tokens(0, 0, 0)
    drawn = prompt = completion = 0
    for _, rows in groupby(jsonl.rows(completions), key=lambda row: row["prompt_id"]):
        group = [(row["prompt_tokens"], row["completion_tokens"]) for row in rows]
        drawn += len(group)
        prompt += group[0][0]
        completion += sum(tokens for _, tokens in group)
    return Tokens(drawn, prompt, completion)
