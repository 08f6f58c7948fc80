"""Whether the cluster's partitions can run what a rule asks for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from winnow.doctor.cluster import Cluster, Node, Partition, parse_gres
from winnow.doctor.finding import FAIL, WARN
from winnow.doctor.profile import Rule
from winnow.doctor.slurm import duration
from winnow.errors import closest


@dataclass(frozen=True)
class Fault:
    """Something wrong in what a rule asks for.

    Attributes:
        level, found, mend: as of a finding.
        waits: nothing is wrong but that nodes are down, which sbatch calls wrong too.
    """

    level: str
    found: str
    mend: str
    waits: bool = False


def of_partitions(rule: Rule, cluster: Cluster) -> Iterator[Fault]:
    """Whether one of the partitions that a rule names, or the default one, can run its jobs."""
    named = rule.first.get("slurm_partition")
    names = str(named).split(",") if named else []
    unknown = [name for name in names if name not in cluster.partitions]
    if unknown:
        there = ", ".join(cluster.partitions)
        found = f"the partition {unknown[0]} does not exist{closest(unknown[0], cluster.partitions)}"
        yield Fault(FAIL, found, f"slurm_partition: one of {there}")
        return
    partitions = [cluster.partitions[name] for name in names]
    if not named:
        if cluster.default is None:
            found = "names no partition, and the cluster has no default one"
            yield Fault(FAIL, found, f"slurm_partition: one of {', '.join(cluster.partitions)}")
            return
        partitions = [cluster.default]
    # SLURM takes the first that fits, so that it is enough if one does.
    verdicts = [list(of_partition(rule, partition, cluster)) for partition in partitions]
    yield from min(
        verdicts, key=lambda faults: [sum(f.level == level for f in faults) for level in (FAIL, WARN)]
    )


def of_partition(rule: Rule, partition: Partition, cluster: Cluster) -> Iterator[Fault]:
    """Whether a partition can run a rule's jobs: GPUs, memory, CPUs and time, retries too."""
    if not partition.up:
        yield Fault(FAIL, f"the partition {partition.name} is closed", "name another: slurm_partition")
        return
    fitting, fault = with_gpus(rule.first, partition, cluster)
    if fault is not None:
        yield fault
        return
    for number, asked in enumerate(rule.attempts, start=1):
        late = f" at attempt {number}" if number > 1 else ""
        faults = list(of_size(asked, fitting, partition, late))
        yield from faults
        if faults:
            return
    yield from of_count(rule.first, fitting, partition)


def of_count(asked: Mapping[str, Any], nodes: list[Node], partition: Partition) -> Iterator[Fault]:
    """Whether there are as many nodes as a job needs, and as many that are up."""
    memory = asked.get("mem_mb") or 0
    large = [node for node in nodes if node.memory_mb >= memory and node.cpus >= asked["threads"]]
    needed = asked.get("nodes") or 1
    if len(large) < needed:
        found = f"asks for {needed} nodes, and {partition.name} has {len(large)} that fit"
        yield Fault(FAIL, found, "fewer nodes, or another partition")
    elif sum(node.up for node in large) < needed:
        found = f"too few nodes of {partition.name} that fit are up now: jobs would wait"
        yield Fault(WARN, found, "`sinfo --list-reasons` tells why", waits=True)


def of_size(asked: Mapping[str, Any], nodes: list[Node], partition: Partition, late: str) -> Iterator[Fault]:
    """Memory, CPUs and time of one attempt against the largest node and the partition's limit."""
    level = WARN if late else FAIL
    memory, runtime = asked.get("mem_mb"), asked.get("runtime")
    most_memory, most_cpus = max(node.memory_mb for node in nodes), max(node.cpus for node in nodes)
    mend = f"less under `resources` in the config, or set-resources{', or fewer retries' if late else ''}"
    if isinstance(memory, int) and memory > most_memory:
        found = (
            f"asks for {memory:,} MB{late}, nodes of {partition.name} that fit have up to {most_memory:,} MB"
        )
        yield Fault(level, found, mend)
    if asked["threads"] > most_cpus:
        cpus = f"{asked['threads']} CPUs{late}"
        found = f"asks for {cpus}, nodes of {partition.name} that fit have up to {most_cpus}"
        yield Fault(level, found, mend)
    if isinstance(runtime, int) and partition.limit_min is not None and runtime > partition.limit_min:
        found = (
            f"asks for {duration(runtime)}{late}, the limit of {partition.name} is"
            f" {duration(partition.limit_min)}: SLURM refuses such a job, or lets it wait for ever"
        )
        yield Fault(level, found, mend)


def with_gpus(
    asked: Mapping[str, Any], partition: Partition, cluster: Cluster
) -> tuple[list[Node], Fault | None]:
    """The nodes of a partition with the GPUs that a rule asks for, or what is wrong with them."""
    model, count = gpus_a_node(asked)
    nodes = list(partition.nodes)
    if not count:
        return nodes, None
    having = [node for node in nodes if gpus_of(node, model)]
    wanted = model or "GPU"
    if not having:
        elsewhere = [
            p.name for p in cluster.partitions.values() if any(gpus_of(node, model) for node in p.nodes)
        ]
        models = ", ".join(sorted(partition.models))
        mend = (
            f"slurm_partition: one of {', '.join(elsewhere)}"
            if elsewhere
            else "`resources: gpu: 0` in the config"
        )
        if models:
            mend = f"gpu_model: one of {models}" + (f"; or {mend}" if elsewhere else "")
        return [], Fault(FAIL, f"asks for {wanted}, and no node of {partition.name} has any", mend)
    most = max(gpus_of(node, model) for node in having)
    if count > most:
        found = f"asks for {count} {wanted}s on a node, nodes of {partition.name} have up to {most}"
        return [], Fault(
            FAIL, found, "fewer, or over more nodes: gpu and nodes under `resources` in the config"
        )
    return [node for node in having if gpus_of(node, model) >= count], None


def gpus_of(node: Node, model: str) -> int:
    """A node's GPUs of a model, or all where none is named."""
    if not model:
        return node.all_gpus
    return sum(count for name, count in node.gpus.items() if name.lower() == model.lower())


def gpus_a_node(asked: Mapping[str, Any]) -> tuple[str, int]:
    """The model ("" for any) and the number of GPUs on each node that a rule asks for."""
    if asked.get("gres"):
        gpus = parse_gres(str(asked["gres"]))
        return next(iter(gpus.items()), ("", 0))
    model = str(asked.get("gpu_model") or "")
    count = asked.get("gpu", 1 if model else 0)
    return model, math.ceil(count / (asked.get("nodes") or 1)) if isinstance(count, int) else 0
