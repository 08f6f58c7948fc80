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
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path

from winnow import jsonl, scoring
from winnow.attempts import Attempt
from winnow.command_line import add_attempts, add_deadline, check_output, parser, positive_int, run
from winnow.devices import add_devices, devices_a_node, held
from winnow.ending import told_of_the_end
from winnow.journal import FinishedElsewhere, Journal
from winnow.manifest import file_hash
from winnow.scoring.streams import scored
from winnow.shards import shard_files

log = logging.getLogger("score")


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
    p.add_argument(
        "--scorer_access",
        nargs="+",
        default=[],
        help="further options in the same form: those that decide no score, as where a judge is served",
    )
    p.add_argument("--output", required=True, help="the scored completions")
    add_devices(p, "GPUs for scorers that run a model; leased where no cluster hands them out")
    add_deadline(p)
    add_attempts(p)
    return p


def main(arguments: argparse.Namespace) -> None:
    check_output(arguments.output, [arguments.input, *arguments.prompts])
    scorers = scoring.parse(arguments.scorers, arguments.scorer_access)
    prompts = shard_files(arguments.prompts, arguments.num_shards)
    try:
        _score(arguments, scorers, prompts)
    except FinishedElsewhere:
        log.info("%s: finished by another process meanwhile", arguments.output)


def _score(arguments: argparse.Namespace, scorers: dict[str, scoring.AnyScorer], prompts: list[Path]) -> None:
    passed = {name: f"passed_{name}" for name in scorers}
    with (
        told_of_the_end(arguments.deadline),
        _devices(arguments, list(scorers.values())) as devices,
        Attempt(arguments.attempts, "completions", *passed.values()).holding(len(devices)) as attempt,
        _kept(arguments, list(scorers.values()), prompts) as (output, journal),
        jsonl.writer(output) as write,
    ):
        rows = scored(arguments.input, prompts, scorers.values(), journal)
        # Counted by the thousand: a call for each row would cost half as much as scoring it.
        while batch := list(islice(rows, 1000)):
            for row in batch:
                write(row)
            attempt.add(
                completions=len(batch),
                **{key: sum(row["scores"][name]["passed"] for row in batch) for name, key in passed.items()},
            )


def _devices(
    arguments: argparse.Namespace, scorers: list[scoring.AnyScorer]
) -> AbstractContextManager[list[str]]:
    """The GPUs for the scorers that want one; scorers of texts leave them to others."""
    wanted = any(getattr(scorer, "device", "cpu") in ("auto", "cuda") for scorer in scorers)
    return held("auto" if wanted else "cpu", devices_a_node(arguments.devices, arguments.gres))


@contextmanager
def _kept(
    arguments: argparse.Namespace, scorers: list[scoring.AnyScorer], prompts: list[Path]
) -> Iterator[tuple[Path, Journal | None]]:
    """Where to write, and the journal of costly scores; none where all are cheap."""
    output = Path(arguments.output)
    # Those alone that it keeps: another limit of a cheap one is no reason to pay for these again.
    costly = [
        (scorer, given)
        for scorer, given in zip(scorers, arguments.scorers, strict=True)
        if getattr(scorer, "costly", False)
    ]
    if not costly:
        yield output, None
        return
    header = {
        "scorers": [f"{s.name}={getattr(s, 'identity', given.partition('=')[2])}" for s, given in costly],
        "versions": {scorer.name: scorer.version for scorer, _ in costly},
        "files": [file_hash(Path(path)) for path in (arguments.input, *prompts)],
    }
    # Not through <output>.partial, which is the journal itself.
    unfinished = output.with_name(f"{output.name}.unfinished")
    with Journal(output, header) as journal:
        if len(journal):
            log.info("resumed: %s scores, or parts of them, were made before", f"{len(journal):,}")
        yield unfinished, journal
        unfinished.replace(output)
        journal.remove()


if __name__ == "__main__":
    run(main, flags())
