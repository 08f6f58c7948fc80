#!/usr/bin/env python
"""Select the completions that become training data, and account for every other one.

Writes into --output_dir
    accepted.jsonl     the completions that are kept, with their scores; both members of a pair; and
                       references that are, with --include_reference_completion_for_rejection_sampling
    ledger.jsonl       every prompt × sample, and every such reference, with its one outcome and reason
    statistics.json    the totals, which add up or the program fails
    statistics.txt     the same for a person
    selection.html     the same for a browser

    scripts/select.py --prompts prompts.jsonl --input block-0.jsonl block-1.jsonl --block_size 8 \\
        --n 16 --strategy correct --max_per_prompt 4 --output_dir selected/

With --num_examples, a seeded random subset of that size is kept, so that arms of different yield
train on equally many examples. docs/selection.md has every strategy, filter and reason.
"""

import os
import sys

# Import from the checkout, not from this folder: select.py here would stand in for Python's own.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from winnow import jsonl
from winnow.command_line import parser, positive_int, run
from winnow.pages import text_page
from winnow.selection import flags as rule_flags
from winnow.selection.decision import ACCEPTED, REJECTED, Decision
from winnow.selection.examples import budgeted
from winnow.selection.groups import Group, read_groups
from winnow.selection.ledger import Ledger, as_text
from winnow.selection.nothing_kept import anything_kept, taken
from winnow.selection.references import References, with_references
from winnow.selection.selector import Selector
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
    p.add_argument("--title", default="Selection", help="over the page: run, step, alpha and n")
    p.add_argument("--output_dir", required=True, type=Path, help="where the files go")
    rule_flags.add_rules(p)
    rule_flags.add_filters(p)
    rule_flags.add_leak_gate(p)
    return p


def main(arguments: argparse.Namespace) -> None:
    selector = rule_flags.selector(arguments)
    prompts = shard_files(arguments.prompts, arguments.num_shards)

    def drawn(given: list[str], n: int) -> Iterator[Group]:
        files = block_files(given, arguments.num_shards, n, arguments.block_size)
        return read_groups(prompts, files, n, arguments.block_size)

    def candidates() -> Iterator[Group]:
        found = drawn(arguments.input, arguments.n)
        return with_references(found) if arguments.include_reference else found

    unhinted = None
    if arguments.unhinted:
        unhinted = drawn(arguments.unhinted, arguments.unhinted_n or arguments.n)
    decided = selector.decided(candidates(), unhinted)
    ledger, references = Ledger(arguments.n), References()
    deciding = (arguments.scorer, *arguments.voters)
    out: Path = arguments.output_dir
    with (
        budgeted(decided, candidates(), arguments.num_examples, arguments.seed, out) as kept,
        jsonl.writer(out / "accepted.jsonl") as accept,
        jsonl.writer(out / "ledger.jsonl") as enter,
    ):
        for group, decisions in kept:
            for decision, row in zip(decisions, group.candidates, strict=True):
                enter(_entry(row, decision))
            for row in _accepted(group, decisions):
                accept(row)
            *own, reference = decisions if group.reference else (*decisions, None)
            ledger.enter(group.completions, own, arguments.scorer, reference)
            references.enter(group, reference, deciding)
        statistics = ledger.statistics()
        if arguments.include_reference:
            statistics["references"] = references.statistics(deciding)
    statistics["num_examples_asked"] = arguments.num_examples
    leaks = selector.leaks.statistics(bool(arguments.unhinted))
    if leaks is not None:
        statistics["leaks"] = leaks
    jsonl.write_json(out / "statistics.json", statistics)
    text = as_text(statistics)
    jsonl.write_text(out / "statistics.txt", text)
    jsonl.write_text(out / "selection.html", text_page(arguments.title, text))
    _tell(statistics, arguments, selector)


def _entry(row: dict[str, Any], decision: Decision) -> dict[str, Any]:
    """A completion's line of the ledger."""
    stage = "select" if decision.outcome in (ACCEPTED, REJECTED) else "generate"
    entry = {"id": row["id"], "stage": stage, "outcome": decision.outcome, "reason": decision.reason}
    # The reasons are counted, so what was wrong with one prompt stands beside them.
    detail = decision.detail if stage == "select" else row.get("detail")
    more = {
        "detail": detail,
        "pair": decision.pair,
        "role": decision.role,
        "is_reference": row.get("is_reference"),
    }
    return entry | {key: value for key, value in more.items() if value is not None}


def _accepted(group: Group, decisions: list[Decision]) -> Iterator[dict[str, Any]]:
    """The rows that are kept: by sample, and of a pair the chosen one before the rejected."""
    kept = [(d, row) for d, row in zip(decisions, group.candidates, strict=True) if d.outcome == ACCEPTED]
    kept.sort(key=lambda each: (each[0].pair or 0, each[0].role or ""))
    for decision, row in kept:
        yield row if decision.role is None else row | {"pair": decision.pair, "role": decision.role}


def _tell(statistics: dict[str, Any], arguments: argparse.Namespace, selector: Selector) -> None:
    log.info("accepted %d of %d completions", statistics["accepted"], statistics["completions"])
    if selector.wants_unhinted and not arguments.unhinted:
        log.warning("no drift is known, and nothing gated by it: no unhinted completions of these prompts")
    drift = (statistics.get("leaks") or {}).get("drift") or {}
    if arguments.max_logprob_drift is not None and not drift.get("logprob_prompts"):
        log.warning(
            "no completion is gated by max_logprob_drift: none of them has log-probabilities (generate.py "
            "--save_logprobs)"
        )
    if not anything_kept(statistics):
        log.warning(
            "nothing is kept: no training data can be made of it. What took how many:\n%s", taken(statistics)
        )
    elif arguments.num_examples and statistics["examples"] < arguments.num_examples:
        log.warning(
            "only %d of the %d examples asked for: this arm trains on fewer than others",
            statistics["examples"],
            arguments.num_examples,
        )


if __name__ == "__main__":
    run(main, flags())
