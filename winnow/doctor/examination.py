"""All checks in their order, and what they found as text and as JSON."""

from __future__ import annotations

import dataclasses
import os
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from winnow.doctor import disk, environment, faults, gpus, hub, profile, programs, slurm
from winnow.doctor.cluster import Cluster, read_cluster
from winnow.doctor.commands import user_name
from winnow.doctor.finding import FAIL, WARN, Finding, lines, verdict


@dataclass(frozen=True)
class Question:
    """What is to be looked at.

    Attributes:
        checkout: the folder with the Snakefile, ``envs/`` and ``.venv/``.
        arguments: those of Snakemake.
        profile: the profile that they name; None for none, "" for `slurm` where SLURM answers.
        environment: ``cpu`` or ``cuda``; None to find out.
        results: where results will lie; None for where the config says.
        need_gb: room (GB) below which it may get tight.
        torch: import torch even where there is no GPU.
    """

    checkout: Path
    arguments: tuple[str, ...] = ()
    profile: str = ""
    environment: str | None = None
    results: Path | None = None
    need_gb: float = 20.0
    torch: bool = False


@dataclass
class Examination:
    """What was found: a line each, the cluster, and the profile as it resolves."""

    findings: list[Finding] = field(default_factory=list)
    cluster: Cluster | None = None
    resolved: profile.Profile | None = None

    @property
    def failed(self) -> bool:
        """Whether something will not work."""
        return any(finding.level == FAIL for finding in self.findings)

    def text(self) -> str:
        """The report for a terminal."""
        told = lines(self.findings)
        if self.resolved is not None and self.resolved.executor != "local":
            told += ["", *profile.table(self.resolved)]
        return "\n".join([*told, "", verdict(self.findings)])

    def record(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "verdict": "FAIL" if self.failed else "ok",
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "cluster": dataclasses.asdict(self.cluster) if self.cluster else None,
            "profile": dataclasses.asdict(self.resolved) if self.resolved else None,
        }


def examine(question: Question) -> Examination:
    """Run all checks; one that breaks is a finding, and the others go on."""
    found = Examination()
    attempt(found, "packages", lambda: environment.check(question.checkout, question.environment))
    attempt(found, "GPUs", lambda: gpus.check(question.torch))
    attempt(found, "hub", hub.check)
    attempt(found, "SLURM", lambda: look_at_cluster(found))
    attempt(found, "profile", lambda: look_at_profile(found, question))
    attempt(found, "disk", lambda: look_at_disk(found, question))
    attempt(found, "programs", programs.check)
    return found


def attempt(found: Examination, name: str, check: Callable[[], Iterable[Finding]]) -> None:
    """Add what a check finds; a check that breaks says where."""
    try:
        found.findings.extend(check())
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})"
        found.findings.append(Finding(FAIL, name, f"this check itself broke: {where}", profile.BUG))


def look_at_cluster(found: Examination) -> Iterable[Finding]:
    """SLURM, kept for the profile's checks."""
    found.cluster, problem, missing = read_cluster(user_name())
    return slurm.check(found.cluster, problem, missing)


def look_at_profile(found: Examination, question: Question) -> Iterable[Finding]:
    """The settings of the run, and their faults on this cluster."""
    resolved = profile.read_profile(question.checkout, snakemake_arguments(question, found.cluster))
    if isinstance(resolved, Finding):
        return [resolved]
    found.resolved = resolved
    return [*profile.described(resolved), *faults.check(resolved, found.cluster, os.environ)]


def snakemake_arguments(question: Question, cluster: Cluster | None) -> Sequence[str]:
    """The arguments, with the profile that is looked at."""
    name = question.profile
    if not name and cluster is not None and Path("slurm").exists():
        name = "slurm"
    arguments = ["--profile", name] if name and name != "none" else []
    snakefile = question.checkout / "Snakefile"
    if not Path("Snakefile").exists() and not {"-s", "--snakefile"} & set(question.arguments):
        arguments += ["--snakefile", str(snakefile)]
    return [*arguments, *question.arguments]


def look_at_disk(found: Examination, question: Question) -> Iterable[Finding]:
    """The folder of the results, which the nodes of a cluster have to see too."""
    results = question.results or Path(found.resolved.results if found.resolved else "results")
    yield from disk.check(results, hub.cache(), question.need_gb)
    if found.cluster is None or found.resolved is None or found.resolved.executor != "slurm":
        return
    others = {node.host for node in found.cluster.nodes} - {os.uname().nodename}
    for path in {results: "results", question.checkout: "checkout"}:
        if others and disk.is_local(path):
            kind = disk.mount_of(disk.standing(path), disk.read_mounts()).kind
            mend = "put it on the cluster's shared file system; else no job finds it"
            yield Finding(
                WARN, "shared", f"{path} lies on {kind}, which other nodes do not see as a rule", mend
            )
