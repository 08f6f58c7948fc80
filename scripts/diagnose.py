#!/usr/bin/env python
"""Describe an arm's completions in numbers and figures: pass@k, pass rates, errors, lengths, q*.

Writes into --output_dir
    diagnostics.json           everything that the figures show, as numbers
    statistics.txt             the same for a person, with the distribution of errors
    diagnostics.html           the same for a browser
    pass_at_k.png              unbiased pass@k for k = 1, 2, 4 … n
    pass_rate.png              how many prompts pass 0, 1, … n times
    error_distribution.png     errors of all completions, and of each prompt's best
    reject_sampling_results.json   with --rollouts: the errors of each prompt, and its best completion
    lengths.png                completion tokens of those that passed and those that failed
    qstar.png                  with --diagnostics: α, ESS ratio, β, both KLs and −log Z
    alpha_along_completion.png with --diagnostics: α by token position

    scripts/diagnose.py --prompts prompts/ --scored scored/ --num_shards 4 --n 8 \\
        --diagnostics completions/ --title 'arithmetic, step 460, kl_symmetry, n = 8' \\
        --output_dir diagnostics/

n is a view: the first n samples of each prompt are described, however many there are.
"""

import os
import sys

# Import from the checkout, not from this folder: select.py here would stand in for Python's own.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

from winnow import jsonl, scoring
from winnow.command_line import parser, positive_int, run
from winnow.errors import UserError
from winnow.pages import text_page
from winnow.selection.groups import Group, read_groups
from winnow.shards import block_files, shard_files

log = logging.getLogger("diagnose")


def flags() -> argparse.ArgumentParser:
    p = parser(__doc__)
    p.add_argument("--prompts", required=True, nargs="+", help="prompt shards in order, or their folder")
    p.add_argument("--scored", required=True, nargs="+", help="scored blocks in order, or their folder")
    p.add_argument(
        "--diagnostics",
        nargs="+",
        help="of q*: the .diagnostics.jsonl of each block, or the folder of the completions",
    )
    p.add_argument("--num_shards", type=positive_int, default=1, help="shards in the folders")
    p.add_argument("--block_size", type=positive_int, default=8, help="samples in a block")
    p.add_argument("--n", type=positive_int, required=True, help="samples of each prompt to look at")
    p.add_argument("--scorer", default="exact_answer", help="whose verdict counts as passed")
    p.add_argument("--error_scorer", default="numeric_error", help="whose value is an error, if it is there")
    p.add_argument("--rollouts", action="store_true", help="write reject_sampling_results.json")
    p.add_argument("--title", help="over every figure: run, step, alpha and n")
    p.add_argument("--output_dir", required=True, type=Path, help="where the files go")
    return p


def _is_numeric(scorer: str) -> bool:
    return scoring.kind(scorer) == "numeric_error" or ":" in scorer


def main(arguments: argparse.Namespace) -> None:
    # Only now: matplotlib takes a second to import, and --help should not.
    from winnow.diagnostics import report as reports
    from winnow.diagnostics.completions import collect
    from winnow.diagnostics.figures import draw
    from winnow.diagnostics.qstar import diagnostics_files, qstar_report
    from winnow.diagnostics.rollouts import FILENAME, write_results

    if (kind := scoring.measure(arguments.error_scorer)) != "error" or not _is_numeric(
        arguments.error_scorer
    ):
        raise UserError(
            "--error_scorer",
            f"{arguments.error_scorer}, whose value is a {kind}",
            "numeric_error, or one of its labels: a number is compared with the reference's",
            "name such a scorer",
        )
    prompts = shard_files(arguments.prompts, arguments.num_shards)
    sizes = (arguments.num_shards, arguments.n, arguments.block_size)
    scored = block_files(arguments.scored, *sizes)
    qstar = None
    if arguments.diagnostics:
        qstar = qstar_report(diagnostics_files(arguments.diagnostics, *sizes), arguments.n)

    def groups() -> Iterator[Group]:
        return read_groups(prompts, scored, arguments.n, arguments.block_size)

    completions = collect(groups(), arguments.n, arguments.scorer, arguments.error_scorer)
    report = reports.build(
        completions, qstar, arguments.title or "", arguments.scorer, arguments.error_scorer
    )
    out: Path = arguments.output_dir
    draw(report, out)
    text = reports.as_text(report)
    jsonl.write_text(out / "statistics.txt", text)
    title: str = report["title"]
    body = text.removeprefix(title).lstrip("\n")
    jsonl.write_text(out / "diagnostics.html", text_page(title or "Diagnostics", body))
    jsonl.write_json(out / "diagnostics.json", report)
    if arguments.rollouts:
        write_results(out / FILENAME, groups(), arguments.error_scorer)
    first = report["pass_at_k"]["points"][0]["estimate"]
    last = report["pass_at_k"]["points"][-1]["estimate"]
    if first is None or last is None:
        log.warning("too few completions were generated to tell pass@k")
    else:
        log.info("pass@1 %.1f %%, pass@%d %.1f %%", 100 * first, arguments.n, 100 * last)


if __name__ == "__main__":
    run(main, flags())
