"""Where a job belongs: its stage and arm, read off the path that its result, log and benchmark share."""

from __future__ import annotations

import re
from dataclasses import dataclass

STEP, ALPHA, N = r"step-(?P<step>[^/]+)", r"(?P<alpha>[^/]+)", r"n-(?P<n>\d+)"
BLOCK = r"[^/]+\.block-(?P<block>\d+)"
CHECKPOINT = f"{STEP}/(untrained|{ALPHA}/{N})"

STAGES = {
    "prompts_train": "prompts/train",
    "prompts_heldout": "prompts/heldout",
    "describe_model": r"models/(policy-(?P<step>[^/]+)|teacher)",
    "generate": f"completions/train/{STEP}/{ALPHA}/{BLOCK}",
    "score": f"scored/train/{STEP}/{ALPHA}/{BLOCK}",
    "select": f"selected/{STEP}/{ALPHA}/{N}",
    "diagnose": f"diagnostics/{STEP}/{ALPHA}/{N}",
    "export": f"training_data/{STEP}/{ALPHA}/{N}",
    "train": f"checkpoints/{STEP}/{ALPHA}/{N}",
    "generate_heldout": f"evaluation/{CHECKPOINT}/completions/{BLOCK}",
    "score_heldout": f"evaluation/{CHECKPOINT}/scored/{BLOCK}",
    "evaluate": f"evaluation/{CHECKPOINT}/evaluation",
    "summarize": "summary",
}
"""Stage (a rule's name) → the path of its jobs below benchmarks/ and logs/, without the suffix."""

CONFIGURED = {
    "prompts_train": "prompts",
    "prompts_heldout": "prompts",
    "describe_model": "models",
    "generate_heldout": "generate",
    "score_heldout": "score",
}
"""Stage → its key under `resources` in the config, where that is another."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the ledger; what does not apply to a stage is None.

    Attributes:
        stage: a key of `STAGES`, or the first folder of a path of another rule.
        step, alpha, n: of the arm. A block belongs to no n: several may look at it.
        block: its index, of stages that work on blocks of training samples.
    """

    stage: str
    step: str | None = None
    alpha: str | None = None
    n: int | None = None
    block: int | None = None


def place_of(path: str) -> Place:
    """The place of a job, from its path without suffix: ``selected/step-460/policy/n-8``."""
    for stage, pattern in STAGES.items():
        match = re.fullmatch(pattern, path)
        if match:
            found = match.groupdict()
            n, block = found.get("n"), found.get("block")
            # Held-out completions have one block only, which is no choice of the arm.
            block = None if stage.endswith("_heldout") else block
            return Place(
                stage,
                found.get("step"),
                found.get("alpha"),
                None if n is None else int(n),
                None if block is None else int(block),
            )
    return Place(path.partition("/")[0])
