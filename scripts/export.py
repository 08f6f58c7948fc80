#!/usr/bin/env python
"""Write accepted completions as training data, each row read back and verified again.

    scripts/export.py --accepted selected/accepted.jsonl --prompts prompts.jsonl \\
        --formats messages prompt_completion sharegpt --scorers exact_answer \\
        --chat_template models/policy --output_dir training_data/

docs/formats.md lists the formats and their files. A file gets its final name only when every row, read
back as a trainer would, holds what was selected, passes its verifier as before, loses nothing in the chat
template of the model to be trained, and finds its images in the order in which they were shown.

Formats that account for every completion (open_instruct_completions, open_instruct_scores,
lightrft_samples) need --scored, --n and --block_size; vespo_diagnostics needs --diagnostics, but for
completions that one model drew, which have none.
"""

import os
import sys

# Import from the checkout, not from this folder: select.py here would stand in for Python's own.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from winnow import formats, jsonl, scoring
from winnow.arms import blocks_for
from winnow.command_line import parser, positive_int, run
from winnow.diagnostics.qstar import diagnostics_files
from winnow.errors import UserError
from winnow.formats import dataset_info, files, lightrft_statistics, sources
from winnow.formats.diagnostics import Diagnostics
from winnow.formats.rendering import Rendering
from winnow.formats.rescoring import deciding_scorers
from winnow.formats.verification import Checks, Verified, verify
from winnow.scoring.windows import takes_items
from winnow.selection.groups import read_groups
from winnow.selection.nothing_kept import require_accepted
from winnow.shards import block_files, read_prompts, shard_files

log = logging.getLogger("export")


def flags() -> argparse.ArgumentParser:
    p = parser(__doc__)
    p.add_argument("--accepted", required=True, help="accepted.jsonl, as select.py writes it")
    p.add_argument("--prompts", required=True, nargs="+", help="its prompt shards in order, or their folder")
    p.add_argument("--num_shards", type=positive_int, default=1, help="shards in the folder")
    p.add_argument(
        "--formats",
        nargs="+",
        default=["messages"],
        help=f"{', '.join(formats.names())}, or package.module:Name",
    )
    p.add_argument("--scorers", nargs="+", default=["exact_answer"], help="the verifiers to run again")
    p.add_argument("--scorer", help="whose verdict the statistics of lightrft_samples count")
    p.add_argument("--chat_template", help="directory, manifest or hub name of the model to be trained")
    p.add_argument("--trust_remote_code", action="store_true", help="run code shipped with its tokenizer")
    p.add_argument("--image_root", type=Path, help="where the prompts' images lie")
    p.add_argument("--scored", nargs="+", default=[], help="all scored blocks in order, or their folder")
    p.add_argument("--diagnostics", nargs="+", default=[], help="of q*, block by block, or their folder")
    p.add_argument("--n", type=positive_int, default=1, help="samples of each prompt that were looked at")
    p.add_argument("--block_size", type=positive_int, default=8, help="samples in a block")
    p.add_argument("--output_dir", required=True, type=Path, help="one file for each format")
    return p


def main(arguments: argparse.Namespace) -> None:
    chosen = formats.find_all(arguments.formats)
    wanting = formats.needs_scored(arguments.formats)
    if wanting and not arguments.scored:
        raise UserError(
            "--scored",
            f"not given, and {wanting[0]} accounts for every completion",
            "the scored blocks that were selected from",
            "pass --scored, --n and --block_size as to select.py, or leave the format out",
        )
    if any(fmt.takes != "all" for fmt in chosen):
        require_accepted(arguments.accepted)
    sources.require_pairs(arguments.accepted, formats.needs_pairs(arguments.formats))
    checks = Checks(
        scorers=scoring.parse(arguments.scorers),
        rendering=Rendering(arguments.chat_template, arguments.trust_remote_code)
        if arguments.chat_template
        else None,
        image_root=arguments.image_root,
        deciding=arguments.scorer,
    )
    with ExitStack() as stack:
        for scorer in checks.scorers.values():
            if takes_items(scorer):
                stack.callback(scorer.close)
        write(arguments, chosen, checks)


def write(arguments: argparse.Namespace, chosen: list[formats.Format], checks: Checks) -> None:
    """Write the files of all formats, and what goes with them."""
    images: dict[str, bool] = {}
    for fmt in chosen:
        verified = export(arguments, fmt, checks)
        if dataset_info.lists(fmt):
            images[fmt.filename] = verified.images
        statistics = getattr(fmt, "statistics", None)
        if statistics:
            scorer = arguments.scorer or next(iter(checks.scorers))
            combined = deciding_scorers(scorer, checks.scorers) if scorer in checks.scorers else ()
            counts = lightrft_statistics.count(every(arguments), scorer, combined)
            jsonl.write_text(arguments.output_dir / statistics, counts.text(verified.rows))
    if images:
        dataset_info.write(arguments.output_dir, images)


def export(arguments: argparse.Namespace, fmt: formats.Format, checks: Checks) -> Verified:
    """Write a file of one format, and verify it under another name: one with its final name has passed."""
    final: Path = arguments.output_dir / fmt.filename
    unverified = final.with_name(f"unverified-{final.name}")
    taken = every if fmt.takes == "all" else kept
    try:
        files.write(unverified, fmt, (unit for unit, _ in sources.grouped(fmt.takes, taken(arguments))))
        verified = verify(unverified, fmt, taken(arguments), checks)
        unverified.replace(final)
    finally:
        unverified.unlink(missing_ok=True)
    if checks.rendering is not None:
        checks.rendering.summary(final)
    if verified.split_off:
        log.warning(
            "%s: %d rows without the reasoning that the server split off; serve without a reasoning parser",
            final,
            verified.split_off,
        )
    log.info("%s: %d rows, each read back and verified", final, verified.rows)
    if verified.images and checks.image_root is None:
        log.warning("%s: its images were not looked for: give --image_root", final)
    return verified


def kept(arguments: argparse.Namespace) -> Iterator[sources.Source]:
    """The accepted completions with their prompts."""
    shards = shard_files(arguments.prompts, arguments.num_shards)
    diagnostics = None
    if arguments.diagnostics:
        sizes = (arguments.num_shards, arguments.n, arguments.block_size)
        told = diagnostics_files(arguments.diagnostics, *sizes)
        diagnostics = Diagnostics(told, len(blocks_for(arguments.n, arguments.block_size)))
    return sources.accepted(arguments.accepted, read_prompts(shards), diagnostics)


def every(arguments: argparse.Namespace) -> Iterator[sources.Source]:
    """Every scored completion with its prompt, n for each prompt."""
    prompts = shard_files(arguments.prompts, arguments.num_shards)
    sizes = (arguments.n, arguments.block_size)
    blocks = block_files(arguments.scored, arguments.num_shards, *sizes)
    return sources.scored(read_groups(prompts, blocks, *sizes))


if __name__ == "__main__":
    run(main, flags())
