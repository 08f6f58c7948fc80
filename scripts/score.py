#!/usr/bin/env python
"""Score completions: is the answer right, how far is it off?

Reads completions and the prompts that they belong to, writes every completion again with

    "scores": {"exact_answer": {"value": 1.0, "passed": true, "detail": "168", "version": 1}}

Nothing is dropped here: a wrong answer, an unreadable one and a completion that was never
generated each get their row. Streams: memory does not grow with the number of rows.

    scripts/score.py --input completions.jsonl --prompts prompts.jsonl --output scored.jsonl
    scripts/score.py ... --scorers exact_answer 'numeric_error={"tolerance": 0.5}'
"""

import os
import sys

# Import from the checkout, not from this folder: select.py here would stand in for Python's own.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
from itertools import islice

from winnow import jsonl, scoring
from winnow.attempts import Attempt
from winnow.command_line import add_attempts, check_output, parser, positive_int, run
from winnow.scoring.streams import scored
from winnow.shards import shard_files


def flags() -> argparse.ArgumentParser:
    p = parser(__doc__)
    p.add_argument("--input", required=True, help="completions, as generate.py writes them")
    p.add_argument(
        "--prompts", required=True, nargs="+", help="their prompt shards in order, or their folder"
    )
    p.add_argument("--num_shards", type=positive_int, default=1, help="shards in the folder")
    p.add_argument(
        "--scorers",
        nargs="+",
        default=["exact_answer"],
        help=f"{', '.join(scoring.names())} or package.module:Name, each with its options as JSON after '='",
    )
    p.add_argument("--output", required=True, help="the scored completions")
    add_attempts(p)
    return p


def main(arguments: argparse.Namespace) -> None:
    check_output(arguments.output, [arguments.input, *arguments.prompts])
    scorers = scoring.parse(arguments.scorers).values()
    passed = {scorer.name: f"passed_{scorer.name}" for scorer in scorers}
    with (
        Attempt(arguments.attempts, "completions", *passed.values()) as attempt,
        jsonl.writer(arguments.output) as write,
    ):
        rows = scored(arguments.input, shard_files(arguments.prompts, arguments.num_shards), scorers)
        # Counted by the thousand: a call for each row would cost half as much as scoring it.
        while batch := list(islice(rows, 1000)):
            for row in batch:
                write(row)
            attempt.add(
                completions=len(batch),
                **{key: sum(row["scores"][name]["passed"] for row in batch) for name, key in passed.items()},
            )


if __name__ == "__main__":
    run(main, flags())
