#!/usr/bin/env python
"""Accuracy of a checkpoint on the held-out prompts, with a 95 % confidence interval.

    scripts/evaluate.py --prompts heldout.jsonl --input scored-block-0.jsonl --n 4 --block_size 4 \\
        --scorer exact_answer --output evaluation.json

Every prompt counts alike: the accuracy is the mean over prompts of the share of its n completions
that passed; one that could not be generated did not pass. The interval is clustered by prompt.
evaluation.json keeps each prompt's own share, so that two checkpoints can be compared prompt by
prompt.
"""

import os
import sys

# Import from the checkout, not from this folder: select.py here would stand in for Python's own.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
import logging
from dataclasses import asdict
from pathlib import Path

from winnow import jsonl
from winnow.command_line import parser, positive_int, run
from winnow.errors import UserError
from winnow.intervals import accuracy
from winnow.records import NOT_GENERATED
from winnow.selection.groups import read_groups
from winnow.shards import block_files, shard_files

log = logging.getLogger("evaluate")


def flags() -> argparse.ArgumentParser:
    p = parser(__doc__)
    p.add_argument("--prompts", required=True, nargs="+", help="prompt shards in order, or their folder")
    p.add_argument("--input", required=True, nargs="+", help="scored blocks in order, or their folder")
    p.add_argument("--num_shards", type=positive_int, default=1, help="shards in the folders")
    p.add_argument("--block_size", type=positive_int, default=8, help="samples in a block")
    p.add_argument("--n", type=positive_int, required=True, help="completions of each prompt to look at")
    p.add_argument("--scorer", default="exact_answer", help="whose verdict counts")
    p.add_argument("--output", required=True, type=Path, help="evaluation.json")
    return p


def main(arguments: argparse.Namespace) -> None:
    prompts = shard_files(arguments.prompts, arguments.num_shards)
    scored = block_files(arguments.input, arguments.num_shards, arguments.n, arguments.block_size)
    per_prompt: dict[str, float] = {}
    tokens = not_generated = 0
    for group in read_groups(prompts, scored, arguments.n, arguments.block_size):
        verdicts = [row["scores"].get(arguments.scorer) for row in group.completions]
        if None in verdicts:
            raise UserError(
                f"prompt {group.prompt.id}",
                f"no score of {arguments.scorer!r}",
                "one of " + ", ".join(group.completions[0]["scores"]),
                "score with it, or evaluate by another",
            )
        per_prompt[group.prompt.id] = sum(v["passed"] for v in verdicts) / arguments.n
        tokens += sum(row["completion_tokens"] for row in group.completions)
        not_generated += sum(row["finish_reason"] in NOT_GENERATED for row in group.completions)
    if not per_prompt:
        raise UserError(arguments.prompts[0], "no prompts", "at least one held-out prompt", "check the split")
    estimate = accuracy(list(per_prompt.values()))
    jsonl.write_json(
        arguments.output,
        {
            "scorer": arguments.scorer,
            "prompts": len(per_prompt),
            "n": arguments.n,
            "accuracy": estimate.mean,
            "accuracy_ci": [estimate.low, estimate.high],
            "mean_completion_tokens": tokens / (len(per_prompt) * arguments.n),
            "not_generated": not_generated,
            "per_prompt": per_prompt,
        },
    )
    log.info("accuracy %.1f %% [%.1f, %.1f]", *(100 * value for value in asdict(estimate).values()))


if __name__ == "__main__":
    run(main, flags())
