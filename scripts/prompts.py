#!/usr/bin/env python
"""Turn a data set into prompt shards: what the student sees, what the teacher sees, the reference.

Reads a local .jsonl, .json, .csv, .tsv or .parquet file or a data set of the hub, finds the prompt and the
reference in each row (the adapter), renders the templates, and deals the prompts over the shards.

    scripts/prompts.py --dataset train.jsonl --num_shards 4 --output_dir prompts/ \\
        --prompt_template 'What is {{ prompt }}?' \\
        --teacher_template 'What is {{ prompt }}? The answer is {{ reference }}.'

Templates are Jinja and see `prompt`, `reference` and every field of the row. Without a teacher
template, the teacher sees what the student sees. Ids are the row's own `id`, else a hash of its
prompt; two rows with one id are an error that names both, or with --duplicates drop, where they are
equal, the first of them counts.
"""

import os
import sys

# Import from the checkout, not from this folder: select.py here would stand in for Python's own.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from winnow.command_line import parser, positive_int, run
from winnow.dataset_flags import add_dataset_flags, prompts_from_flags
from winnow.dealing import dealing

if TYPE_CHECKING:
    # Behind dataset_flags, which the fingerprint does not follow: generate.py shares the flags, but
    # what it draws does not depend on how the prompts were read.
    # Nor does it follow the adapters: each has a hash of its own, and those not named rerun nothing.
    import winnow.adapters.registry
    import winnow.adapters.sources
    import winnow.prompting  # noqa: F401

log = logging.getLogger("prompts")


def flags() -> argparse.ArgumentParser:
    p = parser(__doc__)
    add_dataset_flags(p, required=True)
    p.add_argument("--seed", type=int, default=0, help="the run's seed, for adapters that draw something")
    p.add_argument(
        "--image_root", help="the folder of the prompts' images; given, each of them has to be there"
    )
    p.add_argument("--num_shards", type=positive_int, default=1, help="files to deal the prompts over")
    p.add_argument("--output_dir", required=True, type=Path, help="gets 00000-of-00004.jsonl and so on")
    return p


def main(arguments: argparse.Namespace) -> None:
    count = 0
    with dealing(arguments.output_dir, arguments.num_shards) as deal:
        for prompt in prompts_from_flags(arguments):
            deal(prompt.to_row())
            count += 1
    log.info("%d prompts in %d shards", count, arguments.num_shards)
    if count < arguments.num_shards:
        log.warning("some shards are empty: there are more shards than prompts")


if __name__ == "__main__":
    run(main, flags())
