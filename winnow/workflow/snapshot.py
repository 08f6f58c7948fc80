"""The DAG of a run as plain records, taken once by `winnow.workflow.dry_run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DONE, MISSING, STALE, UNNEEDED = "done", "missing", "stale", "not needed"
STATES = (DONE, STALE, MISSING, UNNEEDED)
"""Up to date; there but to be made again; not there and to be made; not there, and nobody asks for it."""


@dataclass(frozen=True, slots=True)
class Run:
    """What determines a job's result: of the last run as it was recorded, or of the next.

    Attributes:
        command: the shell command, None where the rule has none or none was recorded.
        parameters: the `repr` of every parameter that can make the job run again.
        inputs: its input files, sorted.
    """

    command: str | None
    parameters: tuple[str, ...]
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a job runs, as Snakemake found it.

    Attributes:
        forced: the option that forces it, "" for none.
        interrupted: an earlier run was killed while it wrote an output, or still writes it.
        missing: outputs that are not there; `made_before` says whether they were, once.
        updated: inputs that changed since.
        from_jobs: jobs of this run that make an input of it.
        code, software: the rule's command or its software environment changed.
        parameters, inputs: whether these differ between `then` and `now`.
        then, now: the last run beside the next, where parameters or inputs differ.
        named: the next run's parameters by name.
    """

    forced: str = ""
    interrupted: bool = False
    missing: tuple[str, ...] = ()
    made_before: bool = False
    updated: tuple[str, ...] = ()
    from_jobs: tuple[int, ...] = ()
    code: bool = False
    software: bool = False
    parameters: bool = False
    inputs: bool = False
    then: Run | None = None
    now: Run | None = None
    named: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """A job of the DAG.

    Attributes:
        number: its place in `Snapshot.jobs`.
        rule: the name of its rule.
        wildcards: by name.
        inputs, outputs: paths relative to the working directory.
        state: one of `STATES`.
        cause: why it runs; None where it does not.
        parents: numbers of the jobs that make its inputs.
        benchmark: the path of its benchmark file.
        resources: whole numbers by name (`gpu`, `mem_mb` …), `threads` among them; of jobs that run and
            of one job of each rule.
        parameters: of rules that say how much work there is, all parameters by name.
        local: it runs beside Snakemake itself, not on the cluster.
        elapsed: seconds from the submission of its last run to its end; looked up for some jobs only.
    """

    number: int
    rule: str
    wildcards: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    state: str
    cause: Cause | None
    parents: tuple[int, ...]
    benchmark: str | None
    resources: Mapping[str, int]
    parameters: Mapping[str, object]
    local: bool = False
    elapsed: float | None = None

    @property
    def runs(self) -> bool:
        """Whether the job is to run."""
        return self.cause is not None


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the workflow.

    Attributes:
        name: its name.
        stage: the first rule whose outputs begin with the same pattern: `generate` and
            `generate_qstar` make the same files, and are one stage to a reader.
        chapter: the file that defines it, without its ending: `generate` of rules/generate.smk.
        benchmark: a regular expression for the paths of its benchmark files, None for none.
        command: the shell command before anything is filled in.
    """

    name: str
    stage: str
    chapter: str
    benchmark: str | None
    command: str | None


@dataclass(frozen=True, slots=True)
class Limits:
    """What may run at once; None is no limit.

    Attributes:
        cores: threads at once on this machine (of local jobs only, where there is a cluster).
        jobs: jobs at once on the cluster.
        resources: limits that were given as --resources.
        executor: the name of Snakemake's executor, such as `local` or `slurm`.
    """

    cores: int | None
    jobs: int | None
    resources: Mapping[str, int]
    executor: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All jobs and rules, and what may run at once.

    Attributes:
        jobs: each after those that it needs; targets such as `all` left out.
        rules: by name, in the order of the Snakefile.
        limits: see there.
        directory: what the paths of jobs are relative to.
    """

    jobs: tuple[Job, ...]
    rules: Mapping[str, Rule]
    limits: Limits
    directory: Path

    def stage(self, job: Job) -> str:
        """The name of a job's stage."""
        return self.rules[job.rule].stage

    def stages(self) -> list[str]:
        """The stages that have jobs, in the order of the Snakefile."""
        present = {self.stage(job) for job in self.jobs}
        return [name for name in self.rules if name in present]
