#!/usr/bin/env python
"""How far is a run? In one line, from any shell, also when Snakemake runs on another machine.

    scripts/progress.py --run_dir results/arithmetic
    scripts/progress.py --run_dir results/arithmetic --follow

Counts the jobs that the last call of Snakemake set out to run. Reads only what the run leaves in its folder.
"""

import os
import sys

# Import from the checkout, not from this folder: select.py here would stand in for Python's own.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
import time
from pathlib import Path

from winnow.command_line import parser, positive_int, run
from winnow.watching.follow import lines
from winnow.watching.line import progress_line
from winnow.watching.plan import read_plan
from winnow.watching.watch import Watch

LOGS = 10


def flags() -> argparse.ArgumentParser:
    p = parser(__doc__)
    p.add_argument("--run_dir", required=True, type=Path, help="results/<run>")
    p.add_argument("--follow", action="store_true", help="a line whenever something changed, until it ends")
    p.add_argument("--seconds", type=positive_int, default=15, help="between two looks of --follow")
    return p


def main(arguments: argparse.Namespace) -> None:
    watch = Watch(arguments.run_dir, read_plan(arguments.run_dir))
    watch.look()
    watch.look()
    print(progress_line(watch)[1], flush=True)
    if arguments.follow:
        for line in lines(watch, lambda: over(watch) or time.sleep(arguments.seconds)):
            print(line, flush=True)
        watch.look()
        print(progress_line(watch)[1])
    if watch.plan.ended and not all_done(watch):
        print("Snakemake has ended; jobs that began and did not finish, by their logs:")
        for _, log in watch.unfinished()[:LOGS]:
            print(f"  {arguments.run_dir / log}")


def all_done(watch: Watch) -> bool:
    return all(stage.done == stage.total for stage in watch.stages.values())


def over(watch: Watch) -> bool:
    return watch.plan.ended or all_done(watch)


if __name__ == "__main__":
    run(main, flags())
