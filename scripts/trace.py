#!/usr/bin/env python
"""Walk a training example, or any completion, back to all that it was made of.

    scripts/trace.py train-0012/3 --results results/arithmetic
    scripts/trace.py train-0012/3 --results results/arithmetic --step 460 --alpha policy --n 8
    scripts/trace.py --results results/arithmetic --line 12 \\
        --file results/arithmetic/training_data/step-460/policy/n-8/messages.jsonl

Prints the ledger's line (the rule that let it through, or why it was rejected), its scores, sample, seed,
finish reason and the hashes of the models that drew it, its prompt as student and teacher were shown it,
and the training data that holds it: each with its file and line. A completion that several arms have
looked at (n is a view) is shown for each; --step, --alpha and --n name one. A row of training data is
matched by its texts; a pair's members are both shown.
"""

import os
import sys

# Import from the checkout, not from this folder: select.py here would stand in for Python's own.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
from pathlib import Path

from winnow import jsonl
from winnow.command_line import parser, positive_int, run
from winnow.errors import UserError
from winnow.tracing.examples import arm_of_file, completions_of
from winnow.tracing.run import Narrowed, Run
from winnow.tracing.text import as_json, as_text
from winnow.tracing.trace import Trace, trace


def flags() -> argparse.ArgumentParser:
    p = parser(__doc__)
    p.add_argument("completion", nargs="?", help="the id of a completion: <prompt>/<sample>")
    p.add_argument("--results", required=True, type=Path, help="the run's folder, as results/arithmetic")
    p.add_argument("--file", type=Path, help="in place of an id: a file of training data")
    p.add_argument("--line", type=positive_int, help="and a line of it")
    p.add_argument("--step", help="the arm's step, if there are several")
    p.add_argument("--alpha", help="the arm's alpha")
    p.add_argument("--n", type=positive_int, help="the arm's n")
    p.add_argument("--json", action="store_true", help="print a line of JSON for each arm")
    return p


def main(arguments: argparse.Namespace) -> None:
    for found in traces(arguments):
        if arguments.json:
            sys.stdout.write(jsonl.dumps(as_json(found)).decode())
        else:
            print(as_text(found))


def traces(arguments: argparse.Namespace) -> list[Trace]:
    """What is asked for: by id, or by a row of training data."""
    given = (arguments.completion is not None, arguments.file is not None, arguments.line is not None)
    if given not in ((True, False, False), (False, True, True)):
        raise UserError(
            "command line",
            "neither one id, nor a file and a line",
            "the id of a completion, or --file and --line",
            "give one of the two",
        )
    results, wanted = Run(arguments.results), Narrowed(arguments.step, arguments.alpha, arguments.n)
    if arguments.file is None:
        return trace(results, wanted, arguments.completion)
    beside = arm_of_file(arguments.file)
    narrowed = Narrowed(wanted.step or beside.step, wanted.alpha or beside.alpha, wanted.n or beside.n)
    return [
        found
        for arm, completion in completions_of(results, narrowed, arguments.file, arguments.line)
        for found in trace(results, Narrowed(arm.step, arm.alpha, arm.n), completion)
    ]


if __name__ == "__main__":
    run(main, flags())
