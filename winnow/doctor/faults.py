"""What in a profile will not work on this cluster, found before a job waits for it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from winnow.doctor.cluster import Cluster
from winnow.doctor.commands import ask
from winnow.doctor.finding import FAIL, HINT, OK, WARN, Finding, listing
from winnow.doctor.fit import Fault, of_partitions
from winnow.doctor.profile import Profile, Rule
from winnow.errors import closest

VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)\}?")
STATUS_CHECKS = 3
"""squeue has to remember a job for so many of Snakemake's first intervals between status checks."""


def check(profile: Profile, cluster: Cluster | None, variables: Mapping[str, str]) -> Iterator[Finding]:
    """All faults of the settings and of the rules, rules with the same fault in one line.

    Args:
        profile: the run's settings.
        cluster: where it would be submitted; None where no SLURM answers.
        variables: the environment.
    """
    yield from of_settings(profile)
    if profile.executor != "slurm":
        return
    if cluster is None:
        mend = "run it on a login node, or load SLURM's module there"
        yield Finding(FAIL, "profile", "its executor is slurm, and no SLURM answers here", mend)
    else:
        yield from of_job_ends(profile, cluster)
        yield from of_variables(profile, cluster, variables)
    found: dict[Fault, list[str]] = {}
    sound = []
    for rule in profile.submitted:
        faults = [*of_limits(rule, profile), *of_rule(rule, cluster, variables)]
        for fault in faults:
            found.setdefault(fault, []).append(rule.name)
        if not any(fault.level == FAIL or fault.waits for fault in faults):
            sound.append(rule)
    for fault, names in found.items():
        yield Finding(fault.level, "rules", f"{listing(names)}: {fault.found}", fault.mend)
    if cluster is not None and sound:
        yield from of_submission(sound)


def of_settings(profile: Profile) -> Iterator[Finding]:
    """Names and values that Snakemake takes without a word."""
    names = [rule.name for rule in profile.rules]
    for name in profile.unknown_rules:
        found = f"set-resources or set-threads names {name!r}, which is no rule{closest(name, names)}"
        yield Finding(WARN, "profile", found, "correct the name")
    for key, entry, file, later in profile.lost:
        mend = f"put {entry} under {key} in {later} too: the later one replaces {key} as a whole"
        yield Finding(WARN, "profile", f"{entry} of {file} is lost", mend)
    for name, value in profile.settings.items():
        if isinstance(value, str) and VARIABLE.search(value):
            fault = unexpanded(f"{profile.executor}-{name.replace('_', '-')}", value)
            yield Finding(fault.level, "profile", fault.found, fault.mend)


def unexpanded(name: str, value: str) -> Fault:
    """A variable that is not set reaches SLURM as it is written."""
    variable = VARIABLE.findall(value)[0]
    found = f"{name} is the literal text {value!r}: the variable is not set"
    return Fault(FAIL, found, f"export {variable}=…, or take {name} out of the profile")


def of_job_ends(profile: Profile, cluster: Cluster) -> Iterator[Finding]:
    """Whether Snakemake can learn that a job ended."""
    command = profile.settings.get("status_command")
    if command == "sacct" and not cluster.accounting:
        yield Finding(
            FAIL,
            "profile",
            "it asks sacct how jobs ended, and sacct does not answer here: no job's end would be seen",
            "slurm-status-command: squeue",
        )
    age, first_s = cluster.min_job_age_s, profile.settings.get("init_seconds_before_status_checks") or 40
    if command == "squeue" and age is not None and age < STATUS_CHECKS * first_s:
        mend = (
            "slurm-status-command: sacct"
            if cluster.accounting
            else f"slurm-init-seconds-before-status-checks: {max(1, age // STATUS_CHECKS)}"
        )
        found = f"squeue forgets a job {age} s after its end, and is first asked after {first_s} s"
        yield Finding(WARN, "profile", found, mend)


def of_variables(profile: Profile, cluster: Cluster, variables: Mapping[str, str]) -> Iterator[Finding]:
    """SLURM's variables that the executor's own arguments override."""
    wanted = variables.get("SBATCH_PARTITION")
    if not wanted:
        return
    others = [
        rule.name for rule in profile.submitted if rule.first.get("slurm_partition") not in (wanted, None)
    ]
    unnamed = [rule.name for rule in profile.submitted if not rule.first.get("slurm_partition")]
    if unnamed and cluster.default is not None:
        found = f"SBATCH_PARTITION={wanted} does not count for {listing(unnamed)}: the default one is named"
        yield Finding(WARN, "profile", found, f"default-resources: slurm_partition={wanted}")
    if others:
        found = f"SBATCH_PARTITION={wanted} does not count for {listing(others)}: the profile names another"
        yield Finding(HINT, "profile", found)


def of_limits(rule: Rule, profile: Profile) -> Iterator[Fault]:
    """What the rule will silently get less of."""
    for name, amount in rule.capped.items():
        limit = profile.limits[name]
        found = f"asks for {name}={amount}, and gets {limit}: more may not be in flight"
        yield Fault(WARN, found, f"resources: {name}={amount} in the profile")


def of_rule(rule: Rule, cluster: Cluster | None, variables: Mapping[str, str]) -> Iterator[Fault]:
    """What is wrong in what a rule asks for."""
    if rule.refused:
        yield Fault(FAIL, f"the executor refuses it: {rule.refused}", "correct the rule's resources")
    raw = {
        name: value for name, value in rule.first.items() if isinstance(value, str) and VARIABLE.search(value)
    }
    for name, value in raw.items():
        yield unexpanded(name, value)
    yield from of_gpu_names(rule.first)
    if cluster is None:
        return
    yield from of_account(rule.first.get("slurm_account"), cluster, variables)
    if "slurm_partition" not in raw:
        yield from of_partitions(rule, cluster)


def of_gpu_names(asked: Mapping[str, Any]) -> Iterator[Fault]:
    """GPUs that are asked for twice, or by accident."""
    counted = asked.get("gpu") or asked.get("gpu_model")
    if counted and "gpu" in str(asked.get("gres") or ""):
        found = "asks for GPUs twice, by gpu or gpu_model and by gres: SLURM refuses it, or gives other ones"
        yield Fault(FAIL, found, "keep one: gpu with gpu_model, or gres and the profile slurm-gres")
    elif asked.get("gpu_model") and not asked.get("gpu"):
        found = f"asks for one GPU, by gpu_model={asked['gpu_model']} without gpu"
        yield Fault(
            WARN, found, "name the model where GPUs are asked for: gpu_model under `resources` in the config"
        )


def of_account(account: str | None, cluster: Cluster, variables: Mapping[str, str]) -> Iterator[Fault]:
    """An account that is needed and missing, or named and not the user's."""
    mine = ", ".join(sorted(cluster.accounts or ()))
    if account and VARIABLE.search(str(account)):
        return
    if account and cluster.accounts is not None:
        given = [part for part in re.split(r"[,\s]+", str(account)) if part]
        wrong = [part for part in given if part.lower() not in {known.lower() for known in cluster.accounts}]
        if wrong:
            yield Fault(FAIL, f"the account {wrong[0]} is not one of yours", f"slurm_account: one of {mine}")
    elif cluster.needs_account and not (variables.get("SBATCH_ACCOUNT") or cluster.default_account):
        known = f"one of {mine}" if mine else "your account"
        yield Fault(FAIL, "no account is named, and this cluster wants one", f"export SBATCH_ACCOUNT={known}")


def of_submission(rules: list[Rule]) -> Iterator[Finding]:
    """Ask SLURM itself, with the executor's own command: nothing is submitted."""
    asked: dict[str, list[str]] = {}
    for rule in rules:
        words = shlex.split(rule.submit)
        words[1:1] = ["--test-only"]
        words[words.index("--comment") + 1] = "winnow-doctor"
        asked.setdefault(shlex.join([*words, "--wrap=true"]), []).append(rule.name)
    refused = 0
    for command, names in asked.items():
        answer = ask(shlex.split(command), timeout_s=30)
        if answer.problem:
            refused += 1
            reason = answer.problem.partition(" failed: ")[2] or answer.problem
            mend = f"try what SLURM takes: {command}"
            yield Finding(FAIL, "rules", f"{listing(names)}: sbatch refuses it: {reason}", mend)
    if not refused:
        yield Finding(
            OK, "rules", f"sbatch would take the jobs of {len(rules)} rules (asked with --test-only)"
        )
