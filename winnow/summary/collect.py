"""Gather what a run's files say of each arm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from winnow import jsonl
from winnow.arms import Arm, blocks_for, shard_name
from winnow.errors import UserError
from winnow.intervals import paired_difference
from winnow.layout import Layout

UNMEASURED: dict[str, Any] = {"accuracy": None, "accuracy_ci": None}


def parse_arm(text: str) -> Arm:
    """Read ``step-460/kl_symmetry/n-8``.

    Raises:
        UserError: not of that form.
    """
    parts = text.split("/")
    if len(parts) == 3 and parts[0].startswith("step-") and parts[2].removeprefix("n-").isdigit():
        return Arm(parts[0].removeprefix("step-"), parts[1], int(parts[2].removeprefix("n-")))
    raise UserError("--arms", repr(text), "step-<step>/<alpha>/n-<n>", "correct the arm")


def summarize_arm(
    layout: Layout, arm: Arm, trained: bool, num_shards: int, block_size: int, measured: bool = True
) -> dict[str, Any]:
    """One entry of summary.json's `arms` (docs/results.md).

    `accuracy_ci` is the 95 % interval of `accuracy_after`, of `accuracy_before` where the arm was
    not trained. `accepted` is what the rules of selection keep, `train_examples` the subset of it that
    is trained on. `lift` is the difference paired by prompt, with its own interval. `seconds` is the
    wall time of the jobs that drew the arm's blocks, of their last attempt, a block that the arm uses
    in part counted in part; null where they left no benchmark. Without held-out prompts (`measured` is
    false) nothing is known of accuracy.
    """
    statistics = jsonl.read_json(layout.selected(arm, "statistics.json"))
    qstar = jsonl.read_json(layout.diagnostics(arm, "diagnostics.json")).get("qstar") or {}
    before = jsonl.read_json(layout.evaluation_before(arm.step)) if measured else UNMEASURED
    after = jsonl.read_json(layout.evaluation_after(arm)) if trained else None
    return {
        "step": arm.step,
        "alpha": arm.alpha,
        "n": arm.n,
        "round": round_of(arm.step),
        "completions": statistics["completions"],
        "pass_rate": statistics["pass_rate"],
        "accepted": statistics["eligible"],
        "yield": statistics["yield"],
        "train_examples": statistics["examples"] if trained else None,
        "accuracy_before": before["accuracy"],
        "accuracy_before_ci": before["accuracy_ci"],
        "accuracy_after": after["accuracy"] if after else None,
        "accuracy_ci": (after or before)["accuracy_ci"],
        **_lift(before, after),
        "alpha_mean": _constant(arm.alpha, qstar.get("alpha_mean")),
        "beta_mean": qstar.get("beta_mean"),
        "neg_log_z_mean": qstar.get("neg_log_z_mean"),
        "completion_tokens": statistics["completion_tokens"],
        "seconds": _seconds(layout, arm, num_shards, block_size),
    }


def round_of(step: str) -> int:
    """The round in which a step is sampled: 1 for a step of the config, r + 1 for ``round-r``."""
    return int(step.removeprefix("round-")) + 1 if step.startswith("round-") else 1


def summarize_steps(layout: Layout, arms: list[Arm]) -> list[dict[str, Any]]:
    """Accuracy of every checkpoint that is sampled or was trained in a round, in order."""
    steps = list(dict.fromkeys(arm.step for arm in arms))
    paths = {step: layout.evaluation_before(step) for step in steps}
    paths |= {f"round-{i}": layout.evaluation_after(arm) for i, arm in enumerate(layout.rounds, start=1)}
    found = []
    for step, path in paths.items():
        evaluation = jsonl.read_json(path)
        found.append(
            {
                "step": step,
                "accuracy": evaluation["accuracy"],
                "accuracy_ci": evaluation["accuracy_ci"],
                "prompts": evaluation["prompts"],
                "n": evaluation["n"],
            }
        )
    return found


def _lift(before: dict[str, Any], after: dict[str, Any] | None) -> dict[str, Any]:
    if after is None:
        return {"lift": None, "lift_ci": None}
    ids = list(before["per_prompt"])
    difference = paired_difference(
        [before["per_prompt"][i] for i in ids], [after["per_prompt"][i] for i in ids]
    )
    return {"lift": difference.mean, "lift_ci": [difference.low, difference.high]}


def _constant(alpha: str, measured: float | None) -> float | None:
    """α where one model ran and nothing was measured."""
    return {"policy": 0.0, "teacher": 1.0}.get(alpha, measured)


def _seconds(layout: Layout, arm: Arm, num_shards: int, block_size: int) -> float | None:
    total = 0.0
    for shard in range(num_shards):
        for block in blocks_for(arm.n, block_size):
            name = f"{layout.completions(arm)}/{shard_name(shard, num_shards)}.block-{block}"
            path = Path(layout.benchmark(name))
            if not path.exists():
                return None
            used = min(arm.n - block * block_size, block_size) / block_size
            total += used * float(orjson.loads(path.read_bytes().splitlines()[0])["s"])
    return round(total, 2)
