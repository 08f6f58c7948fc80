"""Snakemake's DAG as the plain records of `snapshot`: every job, its state, and why it runs."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snakemake.io import strip_wildcard_constraints
from snakemake.settings.types import RerunTrigger

from winnow.workflow.snapshot import (
    DONE,
    MISSING,
    STALE,
    UNNEEDED,
    Cause,
    Job,
    Limits,
    Rule,
    Run,
    Snapshot,
)

TIMED = 100
"""Jobs of which the last run's start and end are looked up."""

WORK_PARAMETERS = {"num_rollout", "flags"}
"""Parameters that tell how many completions a job draws, or how many prompts there are."""


def read_dag(workflow: Any, limits: Limits) -> Snapshot:
    """The jobs and rules of a `snakemake.workflow.Workflow` whose DAG is built.

    The working directory has to be the workflow's.
    """
    rules = _rules(workflow)
    order = {name: place for place, name in enumerate(rules)}
    found = [
        job
        for level in workflow.dag.toposorted()
        for job in sorted(level, key=lambda job: (order[job.rule.name], str(job.output)))
        if job.output or not job.rule.norun
    ]
    numbers = {job: number for number, job in enumerate(found)}
    every = max(len(found) // TIMED, 1)
    # Some resources are functions, and dear: of jobs that run, and of one of each rule.
    samples = {job.rule.name: job for job in reversed(found)}.values()
    asked = {job for job in found if workflow.dag.needrun(job)}.union(samples)
    jobs = tuple(
        _job(workflow, job, numbers, asked=job in asked, timed=number % every == 0)
        for number, job in enumerate(found)
    )
    return Snapshot(jobs, rules, limits, Path.cwd())


def _rules(workflow: Any) -> dict[str, Rule]:
    found: dict[str, Rule] = {}
    stages: dict[str, str] = {}
    for rule in workflow.rules:
        first = strip_wildcard_constraints(str(rule.output[0])) if rule.output else rule.name
        stage = stages.setdefault(first, rule.name)
        pattern = rule.benchmark.regex().pattern if rule.benchmark else None
        chapter = Path(str(rule.snakefile)).stem
        found[rule.name] = Rule(rule.name, stage, chapter, pattern, rule.shellcmd)
    return found


def _job(workflow: Any, job: Any, numbers: Mapping[Any, int], asked: bool, timed: bool) -> Job:
    dag = workflow.dag
    outputs = tuple(map(str, job.output))
    runs = dag.needrun(job)
    missing = tuple(itertools.filterfalse(os.path.exists, outputs))
    there = not missing
    state = (STALE if there else MISSING) if runs else (DONE if there else UNNEEDED)
    parents = {parent: files for parent, files in dag.dependencies[job].items() if parent in numbers}
    counts = not WORK_PARAMETERS.isdisjoint(job.rule.params.keys())
    return Job(
        number=numbers[job],
        rule=job.rule.name,
        wildcards=dict(job.wildcards_dict),
        inputs=tuple(map(str, job.input)),
        outputs=outputs,
        state=state,
        cause=_cause(workflow, job, parents, numbers, missing) if runs else None,
        parents=tuple(sorted(numbers[parent] for parent in parents)),
        benchmark=str(job.benchmark) if job.benchmark else None,
        resources=_resources(job) if asked else {},
        parameters=dict(job.params.items()) if counts else {},
        local=job.rule.name in workflow._localrules,
        elapsed=_elapsed(workflow, job) if timed and outputs else None,
    )


def _elapsed(workflow: Any, job: Any) -> float | None:
    record = workflow.persistence.metadata(job.output[0])
    if record is None or record.starttime is None or record.endtime is None:
        return None
    return float(record.endtime - record.starttime)


def _resources(job: Any) -> dict[str, int]:
    found = {name: value for name, value in job.resources.items() if isinstance(value, int)}
    return {"threads": found.pop("_cores"), **{k: v for k, v in found.items() if not k.startswith("_")}}


def _cause(
    workflow: Any, job: Any, parents: Mapping[Any, Any], numbers: Mapping[Any, int], missing: tuple[str, ...]
) -> Cause:
    dag, persistence = workflow.dag, workflow.persistence
    reason = dag.reason(job)
    interrupted = bool(reason.forced and workflow.async_run(persistence.incomplete(job)))
    common: dict[str, Any] = {
        "forced": "" if interrupted or not reason.forced else _force_option(workflow.dag_settings, job),
        "interrupted": interrupted,
        "missing": missing,
        "made_before": any(persistence.metadata(f) for f in job.output if str(f) in missing),
        "updated": tuple(sorted(map(str, reason.updated_input))),
        "from_jobs": tuple(
            sorted(
                numbers[parent]
                for parent, files in parents.items()
                if dag.needrun(parent) and not reason.updated_input_run.isdisjoint(files)
            )
        ),
    }
    if reason.forced or missing or not persistence.has_metadata(job):
        return Cause(**common)
    return Cause(**common, **_changes(workflow, job))


def _force_option(settings: Any, job: Any) -> str:
    if settings.forceall:
        return "--forceall"
    named = job.rule.name in settings.forcerun or not settings.forcerun.isdisjoint(job.output)
    return "--forcerun" if named else "--force"


def _changes(workflow: Any, job: Any) -> dict[str, Any]:
    """What differs from the last run of a job whose outputs are all there.

    Snakemake itself looks no further than the first reason, nor at jobs below one that runs.
    """
    persistence, triggers = workflow.persistence, workflow.rerun_triggers
    parameters = RerunTrigger.PARAMS in triggers and bool(persistence.params_changed(job))
    inputs = RerunTrigger.INPUT in triggers and any(persistence.input_changed(job))
    code = RerunTrigger.CODE in triggers and any(persistence.code_changed(job))
    software = RerunTrigger.SOFTWARE_ENV in triggers and any(persistence.software_stack_changed(job))
    changes: dict[str, Any] = {"code": code, "software": software, "parameters": parameters, "inputs": inputs}
    if parameters or inputs:
        then = persistence.metadata(job.output[0])
        changes["then"] = Run(then.shellcmd, tuple(then.params or ()), tuple(then.input or ()))
        now = tuple(persistence._params(job))
        changes["now"] = Run(job.shellcmd, now, tuple(sorted(map(str, job.input))))
        changes["named"] = _rerun_parameters(job)
    return changes


def _rerun_parameters(job: Any) -> dict[str, object]:
    """The named parameters that Snakemake records: not those that derive from inputs or resources."""
    recorded = list(job.non_derived_params)
    found: dict[str, object] = {}
    for name, value in job.params._allitems():
        if recorded and value is recorded[0]:
            recorded.pop(0)
            if name:
                found[name] = value
    return found
