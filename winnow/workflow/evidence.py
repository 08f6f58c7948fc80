"""What past jobs took: their benchmark files, by rule and arm, of this run and of its neighbours."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from winnow.workflow.snapshot import DONE, STALE, Job, Snapshot
from winnow.workflow.work import draws, past_amount, rows, tokens_per_completion

SAMPLED = 48
"""Benchmark files that are read for one arm of a rule: its blocks are of one size."""

Arm = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Past:
    """What jobs of one rule and arm took.

    Attributes:
        seconds: their mean wall time.
        amount: the work of each, as `work.amounts` counts it; None where that is not known.
        tokens: the mean length of the completions that they drew; None where they drew none.
    """

    seconds: float
    amount: float | None
    tokens: float | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a job is expected to take.

    Attributes:
        seconds: wall time.
        tokens_per_completion: None where the job draws nothing.
        source: where this comes from: ``this arm``, ``other arms`` or ``run <name>``.
    """

    seconds: float
    tokens_per_completion: float | None
    source: str


def arm_of(wildcards: Mapping[str, str]) -> Arm:
    """The wildcards that tell arms apart: all but shard and block."""
    return tuple(sorted((k, v) for k, v in wildcards.items() if k not in ("shard", "block")))


class Evidence:
    """Past jobs of a snapshot's rules.

    Args:
        snapshot: whose run, and whose neighbours in the same results folder, are looked at.
        amounts: the work of each of its jobs (`work.amounts`).
    """

    def __init__(self, snapshot: Snapshot, amounts: Sequence[float | None]) -> None:
        self.snapshot = snapshot
        self.root = _root(snapshot)
        self._own = self._of_jobs(amounts)
        self._neighbours: dict[str, dict[str, dict[Arm, Past]]] | None = None

    def estimate(self, job: Job, amount: float | None) -> Estimate | None:
        """From the nearest past: this arm, the same alpha, the rule at all, then other runs."""
        arm = arm_of(job.wildcards)
        for source, past in self._nearest(job.rule, arm):
            ratios = [amount / one.amount if amount is not None and one.amount else 1.0 for one in past]
            seconds = [one.seconds * ratio for one, ratio in zip(past, ratios, strict=True)]
            lengths = [one.tokens for one in past if one.tokens is not None]
            return Estimate(
                sum(seconds) / len(seconds), sum(lengths) / len(lengths) if lengths else None, source
            )
        return None

    def length(self, job: Job) -> float | None:
        """The mean tokens of the completions that the arm of a job has drawn in this run."""
        past = self._own.get(job.rule, {}).get(arm_of(job.wildcards))
        return past.tokens if past else None

    def _nearest(self, rule: str, arm: Arm) -> Iterator[tuple[str, list[Past]]]:
        yield from _within(self._own.get(rule, {}), arm, "this arm", "other arms")
        if self._neighbours is None:
            self._neighbours = self._of_neighbours()
        for run, found in self._neighbours.items():
            yield from _within(found.get(rule, {}), arm, f"run {run}", f"run {run}")

    def _of_jobs(self, amounts: Sequence[float | None]) -> dict[str, dict[Arm, Past]]:
        """Past of this run, from the benchmark files of its own jobs."""
        groups: dict[tuple[str, Arm], list[Job]] = defaultdict(list)
        for job in self.snapshot.jobs:
            if job.benchmark:
                groups[job.rule, arm_of(job.wildcards)].append(job)
        found: dict[str, dict[Arm, Past]] = defaultdict(dict)
        for (rule, arm), jobs in groups.items():
            seconds = self._seconds(job.benchmark for job in jobs if job.benchmark)
            if not seconds:
                continue
            there = next((job for job in jobs if job.state in (DONE, STALE)), jobs[0])
            amount = past_amount(self.snapshot, there, amounts[there.number])
            tokens = self._tokens(there.outputs[0]) if draws(there) else None
            found[rule][arm] = Past(sum(seconds) / len(seconds), amount, tokens)
        return found

    def _of_neighbours(self) -> dict[str, dict[str, dict[Arm, Past]]]:
        """Past of the runs beside this one, the latest first."""
        if self.root is None:
            return {}
        own = self.snapshot.directory / self.root
        runs = [path.parent for path in own.parent.glob("*/benchmarks")]
        # This one first: it may hold arms that are in the config no longer.
        runs.sort(key=lambda run: (run == own, (run / "benchmarks").stat().st_mtime), reverse=True)
        return {run.name: self._of_run(run) for run in runs}

    def _of_run(self, run: Path) -> dict[str, dict[Arm, Past]]:
        groups: dict[tuple[str, Arm], list[str]] = defaultdict(list)
        patterns = [
            (rule.name, re.compile(rule.benchmark)) for rule in self.snapshot.rules.values() if rule.benchmark
        ]
        for folder, _, names in os.walk(run / "benchmarks"):
            for name in names:
                # Under the name of this run, for which the patterns are.
                below = Path(folder, name).relative_to(run)
                for rule, pattern in patterns:
                    match = pattern.match(f"{self.root}/{below}")
                    if match:
                        groups[rule, arm_of(match.groupdict())].append(str(run / below))
                        break
        found: dict[str, dict[Arm, Past]] = defaultdict(dict)
        for (rule, arm), paths in groups.items():
            seconds = self._seconds(paths)
            if seconds:
                block = run / Path(paths[0]).relative_to(run / "benchmarks")
                drew = ".block-" in block.name
                tokens = self._tokens(block) if drew else None
                found[rule][arm] = Past(sum(seconds) / len(seconds), rows(block) if drew else None, tokens)
        return found

    def _seconds(self, paths: Iterable[str]) -> list[float]:
        """Wall times in some of these benchmark files."""
        paths = list(paths)
        every = max(len(paths) // SAMPLED, 1)
        found = (benchmark_seconds(self.snapshot.directory / path) for path in paths[::every])
        return [seconds for seconds in found if seconds is not None]

    def _tokens(self, path: str | Path) -> float | None:
        return tokens_per_completion(self.snapshot.directory / path)


def benchmark_seconds(path: Path) -> float | None:
    """The wall time that a benchmark file holds, of the last attempt; None where there is none yet."""
    try:
        lines = path.read_bytes().splitlines()
        return float(orjson.loads(lines[-1])["s"])
    except (FileNotFoundError, IndexError, orjson.JSONDecodeError):
        return None


def _within(found: Mapping[Arm, Past], arm: Arm, same: str, other: str) -> Iterator[tuple[str, list[Past]]]:
    if arm in found:
        yield same, [found[arm]]
    alpha = dict(arm).get("alpha")
    alike = [past for key, past in found.items() if dict(key).get("alpha") == alpha]
    if alike or found:
        yield other, alike or list(found.values())


def _root(snapshot: Snapshot) -> str | None:
    """``results/<run>``: what the paths of benchmark files begin with."""
    for job in snapshot.jobs:
        if job.benchmark and "/benchmarks/" in job.benchmark:
            return job.benchmark.partition("/benchmarks/")[0]
    return None
