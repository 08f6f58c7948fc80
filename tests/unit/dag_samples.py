"""Small DAGs for tests of the plan and of the pictures, with the benchmark files that a run leaves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from winnow.workflow.snapshot import DONE, MISSING, STALE, Cause, Job, Limits, Rule, Run, Snapshot

ROOT = "results/tiny"
BLOCK = r"(?P<shard>\d+)\.block-(?P<block>\d+)"
ARM = r"step-(?P<step>[^/]+)/(?P<alpha>[^/]+)"
RULES = {
    name: Rule(name, stage, chapter, f"{ROOT}/benchmarks/{path}\\.jsonl$", f"python scripts/{stage}.py")
    for name, stage, chapter, path in (
        ("prompts_train", "prompts_train", "prompts", "prompts/train"),
        ("generate", "generate", "generate", f"completions/{ARM}/{BLOCK}"),
        ("generate_qstar", "generate", "generate", f"qstar/{ARM}/{BLOCK}"),
        ("score", "score", "score", f"scored/{ARM}/{BLOCK}"),
        ("select", "select", "select", f"selected/{ARM}/n-(?P<n>\\d+)"),
        ("train", "train", "train", f"checkpoints/{ARM}/n-(?P<n>\\d+)"),
        ("generate_heldout", "generate_heldout", "evaluate", f"evaluation/(?P<checkpoint>.+)/{BLOCK}"),
        ("evaluate", "evaluate", "evaluate", "evaluation/(?P<checkpoint>.+)/evaluation"),
        ("summarize", "summarize", "summarize", "summary"),
    )
}
FORCED = Cause(forced="--forceall")


def snapshot(directory: Path, jobs: Sequence[Job], **limits: Any) -> Snapshot:
    """A snapshot of jobs numbered in order, on two cores unless told otherwise.

    `nodes` is how many jobs a cluster may run at once.
    """
    allowed = {"cores": 2, "jobs": limits.pop("nodes", None), "resources": {}, "executor": "local", **limits}
    assert [job.number for job in jobs] == list(range(len(jobs)))
    return Snapshot(tuple(jobs), RULES, Limits(**allowed), directory)


def job(number: int, rule: str, path: str, parents: Sequence[int] = (), **more: Any) -> Job:
    """A job that writes ``results/tiny/<path>``; done unless it has a cause."""
    cause = more.pop("cause", None)
    state = more.pop("state", DONE if cause is None else MISSING if cause.missing else STALE)
    return Job(
        number=number,
        rule=rule,
        wildcards=more.pop("wildcards", {}),
        inputs=more.pop("inputs", ()),
        outputs=more.pop("outputs", (f"{ROOT}/{path}",)),
        state=state,
        cause=cause,
        parents=tuple(parents),
        benchmark=f"{ROOT}/benchmarks/{Path(path).with_suffix('')}.jsonl",
        resources=more.pop("resources", {"threads": 1}),
        parameters=more.pop("parameters", {}),
        **more,
    )


def prompts_job(number: int = 0, num_samples: int | None = None, **more: Any) -> Job:
    """The job that makes one shard of prompts."""
    asked = f" --num_samples={num_samples}" if num_samples else ""
    flags = f"--dataset=data/train.jsonl{asked}"
    return job(number, "prompts_train", "prompts/train.jsonl", parameters={"flags": flags}, **more)


def drawing_job(number: int, alpha: str, block: int = 0, parents: Sequence[int] = (0,), **more: Any) -> Job:
    """A job that draws 8 completions of each prompt, on one GPU."""
    rule, folder = (
        ("generate", "completions") if alpha in ("policy", "teacher") else ("generate_qstar", "qstar")
    )
    return job(
        number,
        rule,
        f"{folder}/step-1/{alpha}/0.block-{block}.jsonl",
        parents,
        wildcards={"step": "1", "alpha": alpha, "shard": "0", "block": str(block)},
        parameters={"num_rollout": 8},
        resources={"threads": 1, "gpu": 1},
        **more,
    )


def leave(directory: Path, one: Job, seconds: float, completions: int = 0, tokens: int = 10) -> None:
    """Leave a job's benchmark, and as many completions in its output."""
    benchmark = directory / str(one.benchmark)
    benchmark.parent.mkdir(parents=True, exist_ok=True)
    benchmark.write_text(json.dumps({"s": seconds}) + "\n")
    output = directory / one.outputs[0]
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text((json.dumps({"completion_tokens": tokens}) + "\n") * completions)


def changed(
    command_then: str, command_now: str, named: Mapping[str, object], then: Sequence[str], **more: Any
) -> Cause:
    """A cause by parameters: the two commands, today's parameters, the recorded values."""
    return Cause(
        parameters=True,
        then=Run(command_then, tuple(then), ()),
        now=Run(command_now, tuple(sorted(map(repr, named.values()))), ()),
        named=named,
        **more,
    )
