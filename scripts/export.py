#!/usr/bin/env python
"""Write accepted completions as training data, each row read back and verified again.

    scripts/export.py --accepted selected/accepted.jsonl --prompts prompts.jsonl \\
        --formats messages prompt_completion sharegpt --scorers exact_answer --output_dir training_data/

Writes messages.jsonl (OpenAI), prompt_completion.jsonl (TRL; loss on the completion only) and
sharegpt.json (LLaMA-Factory, LightRFT, LLaVA). A file gets its final name only when every row, read
back as a trainer would, holds the same prompt and completion and passes its verifier as before.
"""

import os
import sys

# Import from the checkout, not from this folder: select.py here would stand in for Python's own.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

from winnow import formats, scoring
from winnow.command_line import parser, positive_int, run
from winnow.formats import files
from winnow.selection.nothing_kept import require_accepted
from winnow.shards import read_prompts, shard_files

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
    p.add_argument("--output_dir", required=True, type=Path, help="one file for each format")
    return p


def main(arguments: argparse.Namespace) -> None:
    scorers = scoring.parse(arguments.scorers)
    require_accepted(arguments.accepted)
    for fmt in formats.find_all(arguments.formats):
        final = arguments.output_dir / fmt.filename
        # Verified under another name: a file with its final name has passed.
        unverified = final.with_name(f"unverified-{final.name}")
        try:
            files.write(unverified, fmt, (c for _, _, c in joined(arguments)))
            count = files.verify(unverified, fmt, joined(arguments), scorers)
            unverified.replace(final)
        finally:
            unverified.unlink(missing_ok=True)
        log.info("%s: %d rows, each read back and verified", final, count)


def joined(arguments: argparse.Namespace) -> Iterator[files.Source]:
    """The accepted completions with their prompts."""
    shards = shard_files(arguments.prompts, arguments.num_shards)
    return files.conversations(arguments.accepted, read_prompts(shards))


if __name__ == "__main__":
    run(main, flags())
