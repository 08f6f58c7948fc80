"""A SLURM cluster as its own commands describe it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from winnow.doctor.commands import ask
from winnow.doctor.finding import listing

SINFO = ["sinfo", "--noheader", "--Node", "--format=%N|%n|%P|%a|%T|%l|%c|%m|%G"]
USABLE = {"idle", "mixed", "allocated", "completing", "planned", "reserved", "powering_up", "powered_down"}
UNKNOWN = {"", "(null)", "none", "n/a"}


@dataclass(frozen=True)
class Node:
    """A node: its host, state, CPUs, memory (MB), and GPUs per model ("" where SLURM knows none)."""

    name: str
    host: str
    state: str
    cpus: int
    memory_mb: int
    gpus: dict[str, int] = field(default_factory=dict)

    @property
    def up(self) -> bool:
        """Whether it takes jobs, now or when it is free. A star marks one that does not answer."""
        return not self.state.endswith("*") and self.state.rstrip("~#!%$@^-+").lower() in USABLE

    @property
    def all_gpus(self) -> int:
        """Its GPUs of all models."""
        return sum(self.gpus.values())


@dataclass(frozen=True)
class Partition:
    """A partition: whether it takes jobs, its time limit (minutes, None for none), and its nodes."""

    name: str
    is_default: bool
    up: bool
    limit_min: int | None
    nodes: tuple[Node, ...]

    @property
    def models(self) -> set[str]:
        """The GPU models of its nodes, without the unnamed."""
        return {model for node in self.nodes for model in node.gpus if model}


@dataclass(frozen=True)
class Cluster:
    """What matters of a cluster.

    Attributes:
        partitions: by name.
        settings: of ``scontrol show config``; empty where that did not answer.
        accounts: those that this user may charge, None where that is not known.
        default_account: the one that SLURM takes where none is named.
        accounting: whether sacct answers, and so tells of jobs that ended.
    """

    partitions: dict[str, Partition]
    settings: dict[str, str] = field(default_factory=dict)
    accounts: frozenset[str] | None = None
    default_account: str = ""
    accounting: bool = False

    @property
    def default(self) -> Partition | None:
        """The partition that takes what names none."""
        return next((p for p in self.partitions.values() if p.is_default), None)

    @property
    def nodes(self) -> list[Node]:
        """All nodes, each once."""
        return list({node.name: node for p in self.partitions.values() for node in p.nodes}.values())

    @property
    def needs_account(self) -> bool:
        """Whether a job without a valid account is refused."""
        enforced = re.split(r"[,\s]+", self.settings.get("AccountingStorageEnforce", ""))
        return any(rule in enforced for rule in ("associations", "limits", "qos", "safe", "all"))

    @property
    def min_job_age_s(self) -> int | None:
        """How long squeue still knows a job that ended (seconds)."""
        match = re.match(r"(\d+)", self.settings.get("MinJobAge", ""))
        return int(match[1]) if match else None


def read_cluster(user: str) -> tuple[Cluster | None, str, bool]:
    """Ask SLURM.

    Returns:
        The cluster, or None and why it did not answer, and whether SLURM is missing altogether.
    """
    nodes = ask(SINFO)
    if nodes.problem:
        return None, nodes.problem, nodes.missing
    config = ask(["scontrol", "show", "config"])
    settings = parse_settings(config.output) if not config.problem else {}
    partitions = parse_nodes(nodes.output)
    if settings.get("AccountingStorageType", "").rpartition("/")[2] in UNKNOWN:
        return Cluster(partitions, settings), "", False
    jobs = ask(["sacct", "--noheader", "--allocations", "--starttime=now"])
    mine = ask(
        [
            "sacctmgr",
            "--noheader",
            "--parsable2",
            "show",
            "user",
            user,
            "withassoc",
            "format=account,defaultaccount",
        ]
    )
    accounts, default = parse_accounts(mine.output)
    known = frozenset(accounts) if accounts and not mine.problem else None
    return Cluster(partitions, settings, known, default, not jobs.problem), "", False


def parse_nodes(output: str) -> dict[str, Partition]:
    """The lines of `SINFO`, one for each node in each partition; the default partition comes first."""
    nodes: dict[str, list[Node]] = {}
    heads: dict[str, tuple[bool, bool, int | None]] = {}
    for line in output.splitlines():
        parts = line.strip().split("|")
        if len(parts) != 9:
            continue
        name, host, partition, available, state, limit, cpus, memory, gres = parts
        key = partition.rstrip("*")
        heads[key] = (partition.endswith("*"), available == "up", parse_minutes(limit))
        node = Node(name, host, state, whole(cpus), whole(memory), parse_gres(gres))
        nodes.setdefault(key, []).append(node)
    order = sorted(heads, key=lambda key: (not heads[key][0], key))
    return {key: Partition(key, *heads[key], tuple(nodes[key])) for key in order}


def whole(text: str) -> int:
    """The number that a field opens with: sinfo writes ``64+`` where nodes differ."""
    match = re.match(r"\d+", text.strip())
    return int(match[0]) if match else 0


def parse_gres(text: str) -> dict[str, int]:
    """GPUs per model, of ``gpu:h100:8(S:0-1),nvme:1``; a GPU of no named model has the name "".

    What stands in brackets tells sockets or indices, and may hold commas.
    """
    gpus: dict[str, int] = {}
    for part in re.sub(r"\([^)]*\)", "", text).split(","):
        kind, *rest = [piece for piece in part.strip().split(":") if piece != "no_consume"]
        if kind != "gpu":
            continue
        count = int(rest.pop()) if rest and rest[-1].isdigit() else 1
        model = rest[0] if rest else ""
        gpus[model] = gpus.get(model, 0) + count
    return gpus


def parse_minutes(text: str) -> int | None:
    """A time limit in whole minutes: ``days-hours:minutes:seconds`` and its short forms; None for none."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text.strip())
    if not match:
        return None
    days, first, second = (int(group or 0) for group in match.groups()[:3])
    # The first number is hours after days or where three follow each other, else minutes.
    hours, minutes = (first, second) if match[1] or match[4] else (0, first)
    return (days * 24 + hours) * 60 + minutes


def parse_settings(output: str) -> dict[str, str]:
    """The lines ``Name = value`` of ``scontrol show config``."""
    pairs = (line.split("=", 1) for line in output.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def parse_accounts(output: str) -> tuple[list[str], str]:
    """Accounts and the default one, of ``account|default account`` lines."""
    rows = [line.strip().split("|") for line in output.splitlines() if line.count("|") == 1]
    default = next((row[1] for row in rows if row[1]), "")
    return list(dict.fromkeys(row[0] for row in rows if row[0])), default


def gpus_shown(nodes: Iterable[Node]) -> str:
    """``h100 4 a node (8)``; the models and counts of some nodes."""
    kinds: dict[str, list[int]] = {}
    for node in nodes:
        for model, count in node.gpus.items():
            kinds.setdefault(model or "of no named model", []).append(count)
    told = []
    for model, counts in sorted(kinds.items()):
        each = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)}–{max(counts)}"
        told.append(f"{model} {each} a node ({sum(counts)})")
    return listing(told) or "none"
