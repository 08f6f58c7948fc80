#!/usr/bin/env python
"""Draw the rule graph and the job graph of a run as SVG.

Takes what snakemake takes, and does nothing but look:

    scripts/dag.py --rulegraph rules.svg --jobgraph jobs.svg --configfile mine.yaml

The rule graph has a box for each stage. The job graph has a box for each stage of an arm, with the number
of its jobs that are done, missing, or stale (there, but to be made again). Needs Graphviz.
"""

import os
import sys

# Import from the checkout, not from this folder: select.py here would stand in for Python's own.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
from pathlib import Path

from winnow.command_line import run
from winnow.errors import UserError
from winnow.workflow.arguments import passing_parser


def flags() -> argparse.ArgumentParser:
    p = passing_parser(__doc__)
    p.add_argument("--rulegraph", type=Path, metavar="FILE", help="write the rule graph here")
    p.add_argument("--jobgraph", type=Path, metavar="FILE", help="write the job graph here")
    return p


def main(arguments: argparse.Namespace) -> None:
    if not (arguments.rulegraph or arguments.jobgraph):
        raise UserError(
            "--rulegraph, --jobgraph",
            "neither is given",
            "one of them, or both",
            "name a file for the picture",
        )
    # Snakemake takes a second to load; --help should not.
    from winnow.workflow.drawing import draw, job_graph_dot, rule_graph_dot
    from winnow.workflow.dry_run import take_snapshot
    from winnow.workflow.graphs import job_graph, rule_graph

    snapshot = take_snapshot(arguments.snakemake)
    if arguments.rulegraph:
        draw(rule_graph_dot(rule_graph(snapshot)), arguments.rulegraph)
        print(arguments.rulegraph)
    if arguments.jobgraph:
        draw(job_graph_dot(job_graph(snapshot)), arguments.jobgraph)
        print(arguments.jobgraph)


if __name__ == "__main__":
    run(main, flags())
