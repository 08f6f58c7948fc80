"""What a run of Snakemake is going to do, kept as a file, so that any shell can follow it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from winnow import jsonl
from winnow.errors import UserError
from winnow.ledger.places import STAGES

NAME = ".plan.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs of one run; paths are relative to the run's folder.

    Attributes:
        started: when it began, in seconds since the epoch, by the clock of the file system.
        host, pid: where Snakemake runs.
        scorer: whose verdict is the pass rate.
        jobs: stage → (first output, log, benchmark) of each of its jobs, the stages in their order.
    """

    started: float
    host: str
    pid: int
    scorer: str
    jobs: dict[str, list[tuple[str, str, str]]]

    @property
    def ended(self) -> bool:
        """Whether Snakemake is known to have ended: on another machine, nobody knows."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False


def plan_of(jobs: Iterable[Any], run_dir: Path, scorer: str) -> Plan:
    """Write and return the plan of Snakemake's jobs that are to run.

    Args:
        jobs: jobs of its DAG; those without output (targets) or log are left out.
        run_dir: ``results/<run>``.
        scorer: whose verdict is the pass rate.
    """
    found: dict[str, list[tuple[str, str, str]]] = {}
    inside = f"{run_dir}/"

    def relative(path: Any) -> str:
        # What a pathvar of the config's puts elsewhere is found by its way from here.
        text = str(path or "")
        return text.removeprefix(inside) if text.startswith(inside) else os.path.relpath(text or ".", run_dir)

    for job in jobs:
        if job.output and job.log:
            paths = (relative(job.output[0]), relative(job.log[0]), relative(job.benchmark))
            # The two rules of a stage that differ in the diagnostics of q* are one stage to a reader.
            found.setdefault(job.rule.name.removesuffix("_qstar"), []).append(paths)
    order = [*STAGES, *found]
    ordered = {stage: found[stage] for stage in sorted(found, key=order.index)}
    plan = {"host": socket.gethostname(), "pid": os.getpid(), "scorer": scorer, "jobs": ordered}
    with jsonl.replacing(run_dir / NAME) as file:
        file.write(jsonl.dumps(plan))
    return read_plan(run_dir)


def read_plan(run_dir: Path) -> Plan:
    """The plan of the last run.

    Raises:
        UserError: there was none.
    """
    path = run_dir / NAME
    if not path.exists():
        raise UserError(
            path,
            "no such file",
            "the plan of a run, which Snakemake leaves when it begins",
            "give the folder of a run, such as results/arithmetic, or start one",
        )
    plan = jsonl.read_json(path)
    jobs = {stage: [(a, b, c) for a, b, c in group] for stage, group in plan["jobs"].items()}
    return Plan(path.stat().st_mtime, plan["host"], plan["pid"], plan["scorer"], jobs)
