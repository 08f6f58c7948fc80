#!/usr/bin/env python
"""Walk a training example, or any completion, back to all that it was made of.

    scripts/trace.py train-0012/3 --results results/arithmetic
    scripts/trace.py train-0012/3 --results results/arithmetic --step 460 --alpha policy --n 8
    scripts/trace.py --results results/arithmetic --line 12 \\
        --file results/arithmetic/training_data/step-460/policy/n-8/messages.jsonl
    scripts/trace.py --results results/arithmetic --row 12 \\
        --file results/arithmetic/training_data/step-460/policy/n-8/train.parquet

Prints the ledger's line (the rule that let it through, or why it was rejected), its scores, sample, seed,
finish reason and the hashes of the models that drew it, its prompt as student and teacher were shown it,
and the training data that holds it: each with its file and line. A completion that several arms have
looked at (n is a view) is shown for each; --step, --alpha and --n name one.

A row of training data is read by its format, which is known by the file's name or given by --format; one of
several completions (a pair, a prompt) shows them all. --row counts rows from 1. --line counts the lines of
the file: any line of a row will do; in Parquet, which has none, it is the row. A file that no format is
known for is matched by its texts.
"""

import os
import sys

# Import from the checkout, not from this folder: select.py here would stand in for Python's own.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
from pathlib import Path

from winnow import formats, jsonl
from winnow.command_line import parser, positive_int, run
from winnow.errors import UserError
from winnow.tracing.examples import arm_of_file, completions_of
from winnow.tracing.rows import row_at, row_numbered
from winnow.tracing.run import Narrowed, Run
from winnow.tracing.text import as_json, as_text
from winnow.tracing.trace import Trace, trace


def flags() -> argparse.ArgumentParser:
    p = parser(__doc__)
    p.add_argument(
        "completion", nargs="?", help="the id of a completion: <prompt>/<sample>, or <prompt>/reference"
    )
    p.add_argument("--results", required=True, type=Path, help="the run's folder, as results/arithmetic")
    p.add_argument("--file", type=Path, help="in place of an id: a file of training data")
    p.add_argument("--line", type=positive_int, help="and a line of it, from 1")
    p.add_argument("--row", type=positive_int, help="or a row of it, from 1")
    p.add_argument("--format", help="its format, where the name does not tell: a name or package.module:Name")
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
    row_given = arguments.line is not None or arguments.row is not None
    given = (arguments.completion is not None, arguments.file is not None, row_given)
    both = arguments.line is not None and arguments.row is not None
    if given not in ((True, False, False), (False, True, True)) or both:
        raise UserError(
            "command line",
            "both a line and a row" if both else "neither one id, nor a file and one of its rows",
            "the id of a completion, or --file and --line (or --row)",
            "give one of the two",
        )
    results, wanted = Run(arguments.results), Narrowed(arguments.step, arguments.alpha, arguments.n)
    if arguments.file is None:
        return trace(results, wanted, arguments.completion)
    beside = arm_of_file(arguments.file)
    narrowed = Narrowed(wanted.step or beside.step, wanted.alpha or beside.alpha, wanted.n or beside.n)
    fmt = formats.find(arguments.format) if arguments.format else formats.of_file(arguments.file.name)
    row = (
        row_at(arguments.file, arguments.line)
        if arguments.line
        else row_numbered(arguments.file, arguments.row)
    )
    arm, completions = completions_of(results, narrowed, row, fmt)
    own = Narrowed(arm.step, arm.alpha, arm.n)
    return [found for each in completions for found in trace(results, own, each)]


if __name__ == "__main__":
    run(main, flags())
