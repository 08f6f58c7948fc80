#!/usr/bin/env python
"""Put the arms of a run side by side: summary.json, summary.md, summary.html and summary.png.

    scripts/summarize.py --run_dir results/arithmetic --arms step-460/policy/n-8 step-460/teacher/n-8 \\
        --trained step-460/policy/n-8 --num_shards 2

Reads what the other stages wrote below --run_dir: statistics.json of the selection,
diagnostics.json, evaluation.json before and after training, and the ledger of GPU-hours, CPU-hours and
tokens out of the jobs' benchmarks and of their own accounts in logs/ (killed attempts too).
"""

import os
import sys

# Import from the checkout, not from this folder: select.py here would stand in for Python's own.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
import json
import logging
from pathlib import Path

from winnow import jsonl
from winnow.command_line import parser, positive_int, run
from winnow.layout import Layout
from winnow.ledger.rows import arm_cost, ledger
from winnow.pages import markdown_page
from winnow.summary.collect import parse_arm, summarize_arm, summarize_steps
from winnow.summary.figure import draw
from winnow.summary.table import as_markdown

log = logging.getLogger("summarize")


def flags() -> argparse.ArgumentParser:
    p = parser(__doc__)
    p.add_argument("--run_dir", required=True, help="results/<run>")
    p.add_argument("--arms", required=True, nargs="+", help="step-<step>/<alpha>/n-<n>, each")
    p.add_argument("--trained", nargs="*", default=[], help="those of them that were trained")
    p.add_argument("--rounds", nargs="*", default=[], help="the arm of each round, in order")
    p.add_argument("--no_heldout", action="store_true", help="no checkpoint was measured")
    p.add_argument("--num_shards", type=positive_int, default=1, help="shards of the training prompts")
    p.add_argument("--block_size", type=positive_int, default=8, help="samples in a block")
    p.add_argument(
        "--resources",
        type=json.loads,
        default={},
        help='what jobs asked for, where they do not tell: \'{"select": {"threads": 2}}\'',
    )
    return p


def main(arguments: argparse.Namespace) -> None:
    folder = Path(arguments.run_dir)
    layout = Layout(str(folder), tuple(parse_arm(text) for text in arguments.rounds))
    arms = [parse_arm(text) for text in arguments.arms]
    measured = not arguments.no_heldout
    sizes = (arguments.num_shards, arguments.block_size)
    entries = [summarize_arm(layout, arm, arm.path in arguments.trained, *sizes, measured) for arm in arms]
    rows, stages, totals = ledger(folder, arguments.resources)
    for arm, entry in zip(arms, entries, strict=True):
        entry["gpu_hours"], entry["cpu_hours"] = arm_cost(rows, arm, arguments.block_size)
    summary = {
        "run": folder.name,
        "arms": entries,
        "steps": summarize_steps(layout, arms) if measured else [],
        "warnings": unequal(entries),
        "ledger": rows,
        "ledger_stages": stages,
        "ledger_totals": totals,
    }
    jsonl.write_json(folder / "summary.json", summary)
    text = as_markdown(summary)
    jsonl.write_text(folder / "summary.md", text)
    draw(summary, folder / "summary.png")
    jsonl.write_text(folder / "summary.html", markdown_page(folder.name, text, folder))
    for warning in summary["warnings"]:
        log.warning("unequal training sets: %s", warning)


def unequal(entries: list[dict]) -> list[str]:
    """Arms that trained on fewer examples than the largest of their round."""
    found = []
    for number in sorted({entry["round"] for entry in entries}):
        trained = [e for e in entries if e["round"] == number and e["train_examples"] is not None]
        most = max((e["train_examples"] for e in trained), default=0)
        found += [
            f"step {e['step']}, {e['alpha']}, n = {e['n']} trained on {e['train_examples']} examples, "
            f"others on {most}"
            for e in trained
            if e["train_examples"] < most
        ]
    return found


if __name__ == "__main__":
    run(main, flags())
