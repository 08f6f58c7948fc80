#!/usr/bin/env python
"""Is this machine ready to run Winnow? What is not comes with its mend.

Looks at Python, the packages against the lock, GPUs, the hub, SLURM's partitions and GPU types, the
profile as Snakemake resolves it, and the disk. Changes nothing, submits nothing.

    make doctor
    scripts/doctor.py --profile slurm -- --configfile examples/gsm8k/config.yaml

What follows -- goes to Snakemake as it is. Exit status: 0 fine, or warnings only; 1 something will
not work, marked FAIL.
"""

import os
import sys

# Before anything that an old Python cannot read.
if sys.version_info < (3, 9):  # noqa: UP036
    print(f"FAIL  Python  {sys.version.split()[0]} at {sys.executable}, 3.11 or newer is needed")
    print("              to mend: make setup PYTHON=/path/to/python3.11")
    sys.exit(1)

# Import from the checkout, not from this folder: select.py here would stand in for Python's own.
CHECKOUT = sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
import json
from pathlib import Path

from winnow.command_line import check_output, parser, run
from winnow.doctor.examination import Question, examine
from winnow.errors import UserError


def flags() -> argparse.ArgumentParser:
    p = parser(__doc__)
    p.add_argument(
        "--profile",
        default="",
        help="Snakemake's profile; without it, slurm where SLURM answers; none for none",
    )
    p.add_argument("--environment", choices=["cpu", "cuda"], help="the lock that the packages should be of")
    p.add_argument("--results", type=Path, help="where results will lie, if not where the config says")
    p.add_argument(
        "--need_gb", type=float, default=20.0, help="free room to ask for; a 7B checkpoint is 15 GB"
    )
    p.add_argument("--torch", action="store_true", help="import torch even where no GPU is found")
    p.add_argument("--json", metavar="FILE", help="write all that was found there, too")
    p.add_argument("snakemake", nargs="*", metavar="-- ARGUMENT", help="further arguments of Snakemake")
    return p


def main(arguments: argparse.Namespace) -> None:
    if arguments.json:
        check_output(arguments.json, [])
        if not Path(arguments.json).absolute().parent.is_dir():
            mend = "make the folder, or name another"
            raise UserError(arguments.json, "its folder is not there", "a file to write", mend)
    # A terminal without these characters is no reason to stop.
    sys.stdout.reconfigure(errors="replace")
    found = examine(
        Question(
            checkout=Path(CHECKOUT),
            arguments=tuple(arguments.snakemake),
            profile=arguments.profile,
            environment=arguments.environment,
            results=arguments.results,
            need_gb=arguments.need_gb,
            torch=arguments.torch,
        )
    )
    print(found.text())
    if arguments.json:
        try:
            Path(arguments.json).write_text(json.dumps(found.record(), indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            mend = "name a file in a folder that you can write to"
            raise UserError(
                arguments.json, error.strerror or "not written", "a file to write", mend
            ) from None
    sys.exit(found.failed)


if __name__ == "__main__":
    run(main, flags())
