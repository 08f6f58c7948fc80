"""The settings of a run as Snakemake resolves them, asked of Snakemake in a process of its own."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from winnow.doctor.commands import ask
from winnow.doctor.finding import FAIL, OK, Finding
from winnow.doctor.slurm import duration

TIMEOUT_S = 120
BUG = "report it: it is a bug"
NOISE = re.compile(r"Using |Config file |Assuming unrestricted|usage:|\s+File |\s+\[|Traceback")
OWN_WORDS = re.compile(r"(profile\.py: error|Error): ")
MEND = re.compile(r"\s*to mend:\s*(.*)")
EXPECTED = re.compile(r"\s*expected:\s*(.*)")


@dataclass(frozen=True)
class Rule:
    """What a rule asks for.

    Attributes:
        name: the rule.
        local: it runs beside Snakemake, not on the cluster.
        attempts: resources of the first attempt and of each retry; None is known to a job only.
        capped: what it asks for, where the run's limits allow less.
        submit: the sbatch command of its jobs, up to what depends on the job.
        refused: why the executor would not even submit.
    """

    name: str
    local: bool
    attempts: tuple[Mapping[str, Any], ...]
    capped: Mapping[str, int]
    submit: str
    refused: str

    @property
    def first(self) -> Mapping[str, Any]:
        """The resources of the first attempt."""
        return self.attempts[0]


@dataclass(frozen=True)
class Profile:
    """A run's settings; see `winnow.workflow.profile.resolve`."""

    files: tuple[str, ...]
    lost: tuple[tuple[str, str, str, str], ...]
    executor: str
    jobs: int | None
    retries: int
    limits: Mapping[str, int]
    settings: Mapping[str, Any]
    unknown_rules: tuple[str, ...]
    rules: tuple[Rule, ...]
    results: str
    rewards: Mapping[str, str] = field(default_factory=dict)

    @property
    def submitted(self) -> list[Rule]:
        """The rules whose jobs go to the cluster."""
        return [rule for rule in self.rules if not rule.local]


def read_profile(checkout: Path, arguments: Sequence[str]) -> Profile | Finding:
    """Resolve ``snakemake ARGUMENTS``, or tell why Snakemake refuses them."""
    answer = ask(
        [sys.executable, "-m", "winnow.workflow.profile", *arguments],
        timeout_s=TIMEOUT_S,
        environment={"PYTHONPATH": str(checkout)},
    )
    if not answer.problem:
        try:
            return parse(json.loads(answer.output.splitlines()[-1]))
        except (ValueError, IndexError):
            return Finding(FAIL, "profile", "Snakemake's answer cannot be read", BUG)
    return refusal(answer.complaint or answer.problem)


def parse(told: Mapping[str, Any]) -> Profile:
    """The records of what `winnow.workflow.profile` prints."""
    rules = tuple(
        Rule(name=name, **{**rule, "attempts": tuple(rule["attempts"])})
        for name, rule in told["rules"].items()
    )
    return Profile(
        files=tuple(told["files"]),
        lost=tuple((key, entry, file, later) for key, entry, file, later in told["lost"]),
        executor=told["executor"],
        jobs=told["jobs"],
        retries=told["retries"],
        limits=told["limits"],
        settings=told["settings"],
        unknown_rules=tuple(told["unknown_rules"]),
        rules=rules,
        results=told["results"],
        rewards=told["rewards"],
    )


def refusal(complaint: str) -> Finding:
    """Snakemake's own words, without its usage and its trace."""
    # Raised by the Snakefile, its module stands in another line.
    missing = re.search(r"ModuleNotFoundError.*?No module named '([\w.]+)'", complaint, re.DOTALL)
    if missing:
        why = f"not looked at: the package {missing[1]} is missing"
        return Finding(FAIL, "profile", why, "install what is missing, as said under packages")
    if "Traceback (most recent call last)" in complaint:
        # Snakemake's own answer to some arguments is a trace; its last line is all that says something.
        last = complaint.rstrip().splitlines()[-1]
        return Finding(
            FAIL, "profile", f"Snakemake stops with {last}", "correct the profile or the arguments"
        )
    told = [line.strip() for line in complaint.splitlines() if line.strip() and not NOISE.match(line)]
    mend = next((match[1] for line in told if (match := MEND.match(line))), "")
    expected = next((match[1] for line in told if (match := EXPECTED.match(line))), "")
    found = [line for line in told if not MEND.match(line) and not EXPECTED.match(line)]
    if expected:
        mend = f"{mend} (expected: {expected})"
    # What stands before is usage, and what stands before that word is the program's name.
    starts = [number for number, line in enumerate(found) if OWN_WORDS.match(line)]
    text = OWN_WORDS.sub("", " ".join(found[starts[-1] if starts else 0 :]))
    return Finding(FAIL, "profile", text, mend or "correct the profile or the arguments")


def described(profile: Profile) -> Iterator[Finding]:
    """The settings of the run as a whole."""
    told = [f"executor {profile.executor}"]
    if profile.jobs is not None:
        told.append(f"at most {profile.jobs} jobs at once")
    told += [f"{name} ≤ {value}" for name, value in profile.limits.items()]
    told.append(f"{profile.retries} retries" if profile.retries != 1 else "1 retry")
    if profile.executor == "slurm":
        told.append(f"job ends by {profile.settings.get('status_command')}")
        told.append(f"SLURM's logs in {profile.settings.get('logdir') or '.snakemake/slurm_logs'}")
    files = ", then ".join(profile.files) or "no profile"
    yield Finding(OK, "profile", f"{files}: {', '.join(told)}")
    for scorer, model in profile.rewards.items():
        yield Finding(OK, "reward model", f"{scorer}: {model}")


def table(profile: Profile) -> list[str]:
    """What each rule asks for, a line each; a retry's demands where they grow."""
    head = ("rule", "CPUs", "memory", "time", "GPUs", "partition", "account", "more")
    rows = [head, *(_row(rule) for rule in profile.rules)]
    used = [column for column in range(len(head)) if any(row[column] for row in rows[1:])]
    widths = {column: max(len(row[column]) for row in rows) for column in used}
    return ["  ".join(f"{row[c]:<{widths[c]}}" for c in used).rstrip() for row in rows]


def _row(rule: Rule) -> tuple[str, ...]:
    def each(name: str, show: Any) -> str:
        first, last = rule.attempts[0].get(name), rule.attempts[-1].get(name)
        if name not in rule.first:
            return ""
        if first is None:
            return "per job"
        return show(first) if first == last or last is None else f"{show(first)} … {show(last)}"

    more = {
        name: rule.first[name]
        for name in ("nodes", "constraint", "qos", "slurm_extra")
        if rule.first.get(name) and (name, rule.first[name]) != ("nodes", 1)
    }
    return (
        f"{rule.name} (local)" if rule.local else rule.name,
        str(rule.first["threads"]),
        each("mem_mb", lambda mb: f"{mb / 1000:g} GB"),
        each("runtime", lambda minutes: duration(int(minutes))),
        gpus_asked(rule.first),
        str(rule.first.get("slurm_partition") or ""),
        str(rule.first.get("slurm_account") or ""),
        " ".join(f"{name}={value}" for name, value in more.items()),
    )


def gpus_asked(resources: Mapping[str, Any]) -> str:
    """``2 h100``, ``gres gpu:h100:2``, or nothing."""
    told = []
    if resources.get("gpu") or resources.get("gpu_model"):
        told.append(f"{resources.get('gpu', 1)} {resources.get('gpu_model') or ''}".strip())
    if resources.get("gres"):
        told.append(f"gres {resources['gres']}")
    return " and ".join(told)
