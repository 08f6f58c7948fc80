"""Follow a run by the files that it leaves: the same for every executor, and from any shell.

Cheap for many jobs: a look lists the folders of unfinished jobs and reads one short line of each job that
runs. What is finished is not looked at again.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from winnow import attempts, jsonl
from winnow.attempts import RUNNING, Record
from winnow.watching.plan import Plan
from winnow.watching.stage import Stage

ALIVE_SECONDS = 120.0
"""An attempt that gave no sign of life for so long is over, whatever its line says."""

WINDOW_SECONDS = 60.0
"""Tokens a second are measured over so long."""

SAMPLES = 30
"""Jobs of a stage whose duration is read."""


@dataclass(slots=True, eq=False)
class Job:
    """A job of the plan; paths are relative to the run's folder."""

    stage: str
    output: str
    log: str
    benchmark: str
    done: bool = False


class Watch:
    """What is known of a run.

    Attributes:
        plan: what it is about to do.
        stages: by name, in their order.
        seen, eligible: completions that selections of this run have seen, and those that their rules keep.
    """

    def __init__(self, run_dir: Path, plan: Plan) -> None:
        self.plan = plan
        self.stages = {name: Stage(len(jobs)) for name, jobs in plan.jobs.items()}
        self.seen = self.eligible = 0
        self._root = run_dir
        jobs = [Job(name, *paths) for name, group in plan.jobs.items() for paths in group]
        self._outputs = _by_folder({job.output: job for job in jobs})
        self._logs = _by_folder({log: job for job in jobs for log in (job.log, f"{job.log}.attempts")})
        self._closing: list[Job] = []
        self._unmeasured: list[Job] = []
        self._tokens: dict[tuple[str, float], int] = {}
        self._drawn: deque[tuple[float, int]] = deque()
        for stage, group in zip(self.stages.values(), plan.jobs.values(), strict=True):
            stage.before = [s for paths in group[:SAMPLES] if (s := self._seconds(paths[2])) is not None]

    def look(self) -> None:
        """See what has changed."""
        closed, self._closing = self._closing, []
        for path, job in list(self._fresh(self._outputs)):
            _forget(self._outputs, path)
            self._finish(job)
        for path, job in self._fresh(self._logs):
            if path == job.log:
                self._begin(job)
            else:
                self._read(job, path)
        for job in closed:
            self._close(job)
        self._unmeasured = [job for job in self._unmeasured if not self._measured(job)]
        self._drawn.append((time.monotonic(), sum(self._tokens.values())))
        while len(self._drawn) > 2 and self._drawn[1][0] <= self._drawn[-1][0] - WINDOW_SECONDS:
            self._drawn.popleft()

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return max(time.time() - self.plan.started, 1e-3)

    @property
    def tokens_per_second(self) -> float | None:
        """Over the last minute; after a single look, of the attempts that run. None when none draws."""
        drawing = [
            record
            for stage in self.stages.values()
            for record in stage.running()
            if "completion_tokens" in record.figures
        ]
        if not drawing:
            return None
        (then, before), (now, drawn) = self._drawn[0], self._drawn[-1]
        if now - then >= 2 * attempts.BEAT_SECONDS:
            return (drawn - before) / (now - then)
        return sum(_tokens(record) / max(record.seconds, 1e-3) for record in drawing)

    @property
    def pass_rate(self) -> float | None:
        """The share that passed, of the completions that were scored in this run."""
        stage = self.stages.get("score", Stage(0))
        scored = stage.count("completions")
        return stage.count(f"passed_{self.plan.scorer}") / scored if scored else None

    def unfinished(self) -> list[tuple[str, str]]:
        """(stage, log) of the jobs that have begun and are not finished."""
        return [(name, log) for name, stage in self.stages.items() for log in sorted(stage.begun)]

    def _fresh(self, folders: dict[str, dict[str, Job]]) -> Iterator[tuple[str, Job]]:
        """Files of some jobs that were written in this run."""
        for folder, names in folders.items():
            try:
                entries = os.scandir(self._root / folder)
            except FileNotFoundError:
                continue
            with entries:
                for entry in entries:
                    job = names.get(entry.name)
                    if job is not None and self._in_this_run(entry):
                        yield f"{folder}/{entry.name}" if folder else entry.name, job

    def _in_this_run(self, entry: os.DirEntry[str]) -> bool:
        try:
            return entry.stat().st_mtime >= self.plan.started
        except FileNotFoundError:
            # Snakemake has just removed it, to make it again.
            return False

    def _begin(self, job: Job) -> None:
        if not job.done:
            self.stages[job.stage].begun.add(job.log)

    def _read(self, job: Job, path: str) -> None:
        records = attempts.read(self._root / path)
        if not records:
            return
        last = records[-1]
        if last.outcome == RUNNING and (self._root / path).stat().st_mtime < time.time() - ALIVE_SECONDS:
            last = replace(last, outcome="killed")
        self.stages[job.stage].records[job.log] = last
        self._tokens[job.log, last.started] = _tokens(last)

    def _finish(self, job: Job) -> None:
        job.done = True
        stage = self.stages[job.stage]
        stage.done += 1
        stage.begun.discard(job.log)
        self._closing.append(job)
        if stage.done <= SAMPLES:
            self._unmeasured.append(job)

    def _close(self, job: Job) -> None:
        """One look after its first output is there: by now the others are, and the end of its account."""
        _forget(self._logs, job.log)
        _forget(self._logs, f"{job.log}.attempts")
        statistics = self._root / Path(job.output).with_name("statistics.json")
        if job.stage == "select" and statistics.exists():
            found = jsonl.read_json(statistics)
            self.seen += found["completions"]
            self.eligible += found["eligible"]

    def _measured(self, job: Job) -> bool:
        """Read the benchmark, which Snakemake writes soon after the output."""
        seconds = self._seconds(job.benchmark, self.plan.started)
        if seconds is not None:
            self.stages[job.stage].measured.append(seconds)
        return seconds is not None

    def _seconds(self, benchmark: str, since: float = 0.0) -> float | None:
        path = self._root / benchmark
        if not path.is_file() or path.stat().st_mtime < since:
            return None
        lines = path.read_bytes().splitlines()
        # Snakemake may be writing it.
        return float(orjson.loads(lines[0])["s"]) if lines and lines[0].endswith(b"}") else None


def _by_folder(paths: dict[str, Job]) -> dict[str, dict[str, Job]]:
    found: dict[str, dict[str, Job]] = {}
    for path, job in paths.items():
        folder, name = os.path.split(path)
        found.setdefault(folder, {})[name] = job
    return found


def _forget(folders: dict[str, dict[str, Job]], path: str) -> None:
    folder, name = os.path.split(path)
    del folders[folder][name]
    if not folders[folder]:
        del folders[folder]


def _tokens(record: Record) -> int:
    """Those that this attempt drew itself."""
    name = "completion_tokens"
    return record.figures.get(name, 0) - record.found.get(name, 0)
