#!/usr/bin/env python
"""Select the completions that become training data, and account for every other one.

Writes into --output_dir
    accepted.jsonl     the completions that are kept, with their scores
    ledger.jsonl       every prompt × sample with its one outcome and reason
    statistics.json    the totals, which add up or the program fails
    statistics.txt     the same for a person
    selection.html     the same for a browser

    scripts/select.py --prompts prompts.jsonl --input block-0.jsonl block-1.jsonl --block_size 8 \\
        --n 16 --strategy correct --max_per_prompt 4 --output_dir selected/

With --num_examples, a seeded random subset of that size is kept, so that arms of different yield
train on equally many examples.
"""

import os
import sys

# Import from the checkout, not from this folder: select.py here would stand in for Python's own.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
import heapq
import logging
from collections.abc import Iterator
from pathlib import Path

from winnow import jsonl
from winnow.command_line import fraction, parser, positive_int, run
from winnow.pages import text_page
from winnow.selection.groups import Group, read_groups
from winnow.selection.ledger import Ledger, as_text
from winnow.selection.rules import ACCEPTED, OVER_BUDGET, REJECTED, STRATEGIES, Decision, Rules, draw_key
from winnow.shards import block_files, shard_files

log = logging.getLogger("select")


def flags() -> argparse.ArgumentParser:
    p = parser(__doc__)
    p.add_argument("--prompts", required=True, nargs="+", help="prompt shards in order, or their folder")
    p.add_argument(
        "--input",
        required=True,
        nargs="+",
        help="scored blocks: shard by shard, block by block; or their folder",
    )
    p.add_argument("--num_shards", type=positive_int, default=1, help="shards in the folders")
    p.add_argument("--block_size", type=positive_int, default=8, help="samples in a block")
    p.add_argument("--n", type=positive_int, required=True, help="samples of each prompt to look at")
    p.add_argument("--strategy", default="correct", help=", ".join(STRATEGIES))
    p.add_argument("--scorer", default="exact_answer", help="whose score decides")
    p.add_argument("--max_error", type=float, help="for min_error: keep nothing above it")
    p.add_argument("--max_per_prompt", type=positive_int, help="keep at most so many of a prompt")
    p.add_argument("--keep_duplicates", action="store_true", help="keep equal texts of a prompt")
    p.add_argument("--min_pass_rate", type=fraction, default=0.0, help="leave out harder prompts")
    p.add_argument("--max_pass_rate", type=fraction, default=1.0, help="leave out easier prompts")
    p.add_argument("--num_examples", type=positive_int, help="keep a random subset of this size")
    p.add_argument("--seed", type=int, default=0, help="of that subset")
    p.add_argument("--title", default="Selection", help="over the page: run, step, alpha and n")
    p.add_argument("--output_dir", required=True, type=Path, help="where the files go")
    return p


def main(arguments: argparse.Namespace) -> None:
    rules = Rules(
        strategy=arguments.strategy,
        scorer=arguments.scorer,
        max_error=arguments.max_error,
        max_per_prompt=arguments.max_per_prompt,
        deduplicate=not arguments.keep_duplicates,
        pass_rate=(arguments.min_pass_rate, arguments.max_pass_rate),
    )
    prompts = shard_files(arguments.prompts, arguments.num_shards)
    scored = block_files(arguments.input, arguments.num_shards, arguments.n, arguments.block_size)

    def decided() -> Iterator[tuple[Group, list[Decision]]]:
        for group in read_groups(prompts, scored, arguments.n, arguments.block_size):
            yield group, rules.decide(group.completions)

    limit = _largest_key(decided(), arguments.num_examples, arguments.seed)
    ledger = Ledger(arguments.n)
    out: Path = arguments.output_dir
    with jsonl.writer(out / "accepted.jsonl") as accept, jsonl.writer(out / "ledger.jsonl") as enter:
        for group, decisions in decided():
            decisions = [
                _within(d, row["id"], limit, arguments)
                for d, row in zip(decisions, group.completions, strict=True)
            ]
            for decision, row in zip(decisions, group.completions, strict=True):
                stage = "select" if decision.outcome in (ACCEPTED, REJECTED) else "generate"
                entry = {
                    "id": row["id"],
                    "stage": stage,
                    "outcome": decision.outcome,
                    "reason": decision.reason,
                }
                # The reasons are counted, so what was wrong with one prompt stands beside them.
                told = row.get("detail") if stage == "generate" else None
                enter({**entry, "detail": told} if told else entry)
                if decision.outcome == ACCEPTED:
                    accept(row)
            ledger.enter(group.completions, decisions, arguments.scorer)
        statistics = ledger.statistics()
    statistics["num_examples_asked"] = arguments.num_examples
    jsonl.write_json(out / "statistics.json", statistics)
    text = as_text(statistics)
    jsonl.write_text(out / "statistics.txt", text)
    jsonl.write_text(out / "selection.html", text_page(arguments.title, text))
    log.info("accepted %d of %d completions", statistics["accepted"], statistics["completions"])
    if arguments.num_examples and statistics["accepted"] < arguments.num_examples:
        log.warning(
            "only %d of the %d examples asked for: this arm trains on fewer than others",
            statistics["accepted"],
            arguments.num_examples,
        )


def _largest_key(decided: Iterator[tuple[Group, list[Decision]]], count: int | None, seed: int) -> int | None:
    """The key up to which accepted completions make a random subset of `count`; None keeps all."""
    if count is None:
        return None
    accepted = (
        draw_key(seed, row["id"])
        for group, decisions in decided
        for decision, row in zip(decisions, group.completions, strict=True)
        if decision.outcome == ACCEPTED
    )
    smallest = heapq.nsmallest(count, accepted)
    return smallest[-1] if smallest else None


def _within(
    decision: Decision, completion: str, limit: int | None, arguments: argparse.Namespace
) -> Decision:
    if decision.outcome != ACCEPTED or limit is None or draw_key(arguments.seed, completion) <= limit:
        return decision
    return Decision(REJECTED, f"{OVER_BUDGET} = {arguments.num_examples}")


if __name__ == "__main__":
    run(main, flags())
