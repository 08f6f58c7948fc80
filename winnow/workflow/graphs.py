"""The rule graph and the job graph of a snapshot: boxes and arrows, before anything is drawn."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

from winnow.workflow.plan import gpus
from winnow.workflow.reasons import product_of
from winnow.workflow.snapshot import STATES, Job, Snapshot

MOST_BOXES = 160
"""A job graph of more is folded further: first n, then alpha, then all arms."""

Arrow = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Box:
    """A stage, or the jobs of one arm in a stage.

    Attributes:
        name: unique in its graph.
        title: the stage.
        text: a line below it: what it makes, or which n, model or checkpoint.
        group: boxes of one group stand together: the file of rules/, or the arm; "" for none.
        column: how many stages come before it, on the longest way.
        states: jobs by state.
        gpu: whether its jobs ask for a GPU.
    """

    name: str
    title: str
    text: str
    group: str
    column: int
    states: Mapping[str, int]
    gpu: bool


@dataclass(frozen=True, slots=True)
class Graph:
    """Boxes and arrows.

    Attributes:
        boxes: in the order of the Snakefile.
        arrows: pairs of names; those that follow from others are left out.
        returns: arrows back to an earlier stage, from one round to the next.
    """

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    returns: tuple[Arrow, ...]


def rule_graph(snapshot: Snapshot) -> Graph:
    """One box a stage: rules that make the same files are one.

    Stages of one file of rules/ that lead from one to the next are a group.
    """
    chapters = {stage: snapshot.rules[stage].chapter for stage in snapshot.stages()}
    linked = {stage for a, b in _stage_arrows(snapshot) if chapters[a] == chapters[b] for stage in (a, b)}
    groups = {stage: chapter if stage in linked else "" for stage, chapter in chapters.items()}
    arms = [
        (groups[snapshot.stage(job)], product_of(job.outputs[0]) if job.outputs else "")
        for job in snapshot.jobs
    ]
    return _graph(snapshot, [snapshot.stage(job) for job in snapshot.jobs], arms)


def job_graph(snapshot: Snapshot, most_boxes: int = MOST_BOXES) -> Graph:
    """One box for the shards and blocks of an arm in a stage; coarser where there are too many boxes."""
    for level in range(4):
        arms = [_arm(job.wildcards, level) for job in snapshot.jobs]
        names = [
            "/".join(filter(None, (snapshot.stage(job), *arm)))
            for job, arm in zip(snapshot.jobs, arms, strict=True)
        ]
        if len(set(names)) <= most_boxes:
            break
    return _graph(snapshot, names, arms)


def _arm(wildcards: Mapping[str, str], level: int) -> tuple[str, str]:
    """(arm, what else tells its boxes apart) in words; less of it with each level."""
    step, alpha, n = wildcards.get("step", ""), wildcards.get("alpha", ""), wildcards.get("n", "")
    if "checkpoint" in wildcards:
        # step-460/kl_symmetry/n-8, or step-460/untrained
        step, alpha, n, *_ = [*wildcards["checkpoint"].split("/"), ""]
        step, n = step.removeprefix("step-"), n.removeprefix("n-")
    known = {"step", "alpha", "n", "checkpoint", "shard", "block"}
    others = [value for name, value in wildcards.items() if name not in known]
    if level == 3:
        return "", ""
    arm = [f"step {step}"] * bool(step) + [alpha] * bool(alpha and level < 2)
    rest = [f"n = {n}"] * bool(n and level < 1) + others
    return " · ".join(arm), " · ".join(rest)


def _graph(snapshot: Snapshot, names: Sequence[str], arms: Sequence[tuple[str, str]]) -> Graph:
    """Args: for each job, the name of its box, and (group, text) of this box."""
    members: dict[str, list[Job]] = {}
    for job, name in zip(snapshot.jobs, names, strict=True):
        members.setdefault(name, []).append(job)
    order = {stage: place for place, stage in enumerate(snapshot.stages())}
    place = {name: order[snapshot.stage(jobs[0])] for name, jobs in members.items()}
    edges = {(names[parent], names[job.number]) for job in snapshot.jobs for parent in job.parents}
    edges = {(a, b) for a, b in edges if a != b}
    returns = _returns(edges, place)
    forward = edges - returns
    columns = _columns(snapshot)
    boxes = []
    for name in sorted(members, key=lambda one: (place[one], _natural(one))):
        jobs = members[name]
        states = Counter(job.state for job in jobs)
        stage, (group, text) = snapshot.stage(jobs[0]), arms[jobs[0].number]
        boxes.append(
            Box(
                name=name,
                title=stage,
                text=text,
                group=group,
                column=columns[stage],
                states={state: states[state] for state in STATES if states[state]},
                gpu=any(map(gpus, jobs)),
            )
        )
    return Graph(tuple(boxes), tuple(sorted(without_shortcuts(forward))), tuple(sorted(returns)))


def _natural(text: str) -> list[tuple[int, str]]:
    """A key that sorts n = 4 before n = 16."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", text)]


def _stage_arrows(snapshot: Snapshot) -> set[Arrow]:
    edges = {
        (snapshot.stage(snapshot.jobs[parent]), snapshot.stage(job))
        for job in snapshot.jobs
        for parent in job.parents
    }
    return {(a, b) for a, b in edges if a != b}


def _columns(snapshot: Snapshot) -> dict[str, int]:
    stages = snapshot.stages()
    edges = _stage_arrows(snapshot)
    edges -= _returns(edges, {stage: place for place, stage in enumerate(stages)})
    columns = dict.fromkeys(stages, 0)
    for stage in _sorted(edges):
        columns[stage] = max((columns[a] + 1 for a, b in edges if b == stage), default=0)
    return columns


def _returns(edges: Iterable[Arrow], place: Mapping[str, int]) -> set[Arrow]:
    """Arrows that lead back: to an earlier stage from which the way leads here again."""
    children = _children(edges)

    def leads(start: str, end: str) -> bool:
        seen, waiting = {start}, [start]
        while waiting:
            fresh = children.get(waiting.pop(), set()) - seen
            seen |= fresh
            waiting += fresh
        return end in seen

    return {(a, b) for a, b in edges if place[b] < place[a] and leads(b, a)}


def without_shortcuts(edges: Iterable[Arrow]) -> set[Arrow]:
    """The transitive reduction of an acyclic graph: no arrow where another way leads there."""
    children = _children(edges)
    order = _sorted(edges)
    place = {name: number for number, name in enumerate(order)}
    below: dict[str, set[str]] = {}
    kept: set[Arrow] = set()
    for name in reversed(order):
        reached: set[str] = set()
        # The nearest first: a child that a nearer one leads to needs no arrow of its own.
        for child in sorted(children.get(name, ()), key=place.__getitem__):
            if child not in reached:
                kept.add((name, child))
                reached |= {child} | below[child]
        below[name] = reached
    return kept


def _children(edges: Iterable[Arrow]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for a, b in edges:
        found.setdefault(a, set()).add(b)
    return found


def _sorted(edges: Iterable[Arrow]) -> list[str]:
    """A topological order of an acyclic graph."""
    parents: dict[str, set[str]] = {}
    for a, b in sorted(edges):
        parents.setdefault(b, set()).add(a)
    return list(TopologicalSorter(parents).static_order())
