#!/usr/bin/env python
"""What the next run would do: jobs by stage, why they run, what they cost, when they end, what is reused.

Takes what snakemake takes, and does nothing but look:

    scripts/plan.py --cores 8
    scripts/plan.py --cores 8 --configfile mine.yaml --config seed=2 selected
    scripts/plan.py --profile slurm --forcerun train

Estimates come from the benchmark files of jobs that ran before: of the same arm, else of other arms, else
of other runs in the same results folder, in proportion to the number of completions. What has no past
is said to be unknown. See docs/plan.md.
"""

import os
import sys

# Import from the checkout, not from this folder: select.py here would stand in for Python's own.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
import time
from datetime import datetime
from pathlib import Path

from winnow import jsonl
from winnow.command_line import run
from winnow.workflow.arguments import passing_parser


def flags() -> argparse.ArgumentParser:
    p = passing_parser(__doc__)
    p.add_argument("--json", type=Path, metavar="FILE", help="write the plan here as well")
    return p


def main(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    # Snakemake takes a second to load; --help should not.
    from winnow.workflow.dry_run import take_snapshot
    from winnow.workflow.plan import make_plan
    from winnow.workflow.table import render

    snapshot = take_snapshot(arguments.snakemake)
    plan = make_plan(snapshot, startup_seconds=time.monotonic() - started)
    if arguments.json:
        jsonl.write_json(arguments.json, plan.to_json())
    print(render(plan, datetime.now()))


if __name__ == "__main__":
    run(main, flags())
