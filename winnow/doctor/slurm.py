"""The lines about SLURM: the cluster, its partitions, and how the end of a job is learnt."""

from __future__ import annotations

import os
from collections.abc import Iterator

from winnow.doctor.cluster import Cluster, Partition, gpus_shown
from winnow.doctor.finding import FAIL, HINT, OK, WARN, Finding


def check(cluster: Cluster | None, problem: str, missing: bool) -> Iterator[Finding]:
    """What SLURM said of itself, or why it said nothing."""
    if missing:
        yield Finding(OK, "SLURM", "none here: there is no sinfo (jobs run on this machine)")
        return
    if cluster is None:
        mend = (
            "`scontrol ping` tells whether the controller is up; SLURM_CONF may name another cluster's file"
        )
        yield Finding(FAIL, "SLURM", problem, mend)
        return
    up = sum(node.up for node in cluster.nodes)
    name = cluster.settings.get("ClusterName", "")
    version = cluster.settings.get("SLURM_VERSION", "of unknown version")
    found = f"{version}{f', cluster {name}' if name else ''}: {up} of {len(cluster.nodes)} nodes take jobs"
    yield Finding(OK if up else FAIL, "SLURM", found, "" if up else "`sinfo --list-reasons` tells why")
    for partition in cluster.partitions.values():
        yield partition_finding(partition)
    yield job_end_finding(cluster)
    if "SLURM_JOB_ID" in os.environ:
        mend = "run Snakemake on a login node (in tmux): it ends with the job that it runs in"
        yield Finding(WARN, "SLURM job", f"this is a job itself ({os.environ['SLURM_JOB_ID']})", mend)


def partition_finding(partition: Partition) -> Finding:
    """Nodes, GPUs and limit of a partition."""
    up = [node for node in partition.nodes if node.up]
    found = (
        f"{partition.name}{' (default)' if partition.is_default else ''}:"
        f" {len(up)} of {len(partition.nodes)} nodes up, GPUs {gpus_shown(partition.nodes)},"
        f" {shared(partition)}, limit {duration(partition.limit_min)}"
    )
    if not partition.up:
        return Finding(HINT, "partition", f"{found}; it is closed")
    return Finding(OK if up else HINT, "partition", found)


def shared(partition: Partition) -> str:
    """``64 CPUs and 512 GB a node``, as ranges where nodes differ."""

    def ranged(values: list[int]) -> str:
        low, high = min(values), max(values)
        return f"{low:,}" if low == high else f"{low:,}–{high:,}"

    memory = ranged([round(node.memory_mb / 1000) for node in partition.nodes])
    return f"{ranged([node.cpus for node in partition.nodes])} CPUs and {memory} GB a node"


def job_end_finding(cluster: Cluster) -> Finding:
    """Which command can tell Snakemake how a job ended."""
    kind = cluster.settings.get("AccountingStorageType", "").rpartition("/")[2]
    if cluster.accounting:
        return Finding(OK, "accounting", "sacct answers: slurm-status-command can be sacct or squeue")
    age = cluster.min_job_age_s
    forgets = f"squeue forgets a job {age} s after its end" if age is not None else "MinJobAge is unknown"
    why = "there is none" if kind in ("", "none", "(null)") else "sacct does not answer"
    return Finding(OK, "accounting", f"{why}: slurm-status-command has to be squeue ({forgets})")


def duration(minutes: int | None) -> str:
    """``2 days``, ``1 h 30 min``; ``none`` for None."""
    if minutes is None:
        return "none"
    days, rest = divmod(minutes, 24 * 60)
    hours, minutes = divmod(rest, 60)
    parts = [(days, "day" if days == 1 else "days"), (hours, "h"), (minutes, "min")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 min"
