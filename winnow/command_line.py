"""What the programs of scripts/ share: flags with their help, logging, and errors without tracebacks."""

from __future__ import annotations

import argparse
import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from winnow import ending
from winnow.errors import UserError


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keep the docstring's layout, and print each flag's default unless there is none to tell."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or action.required:
            return action.help
        return super()._get_help_string(action)


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help opens with the program's own docstring."""
    return argparse.ArgumentParser(
        description=inspect.cleandoc(doc or ""), formatter_class=_HelpFormatter, allow_abbrev=False
    )


def positive_int(text: str) -> int:
    """A flag's value of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is given, at least 1 is expected")
    return value


def fraction(text: str) -> float:
    """A flag's value in [0, 1]."""
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is given, a number in [0, 1] is expected")
    return value


def add_deadline(group: argparse._ActionsContainer) -> None:
    """The flag of programs that stop cleanly before their time is over."""
    group.add_argument(
        "--deadline",
        default=os.getenv("WINNOW_DEADLINE", "auto"),
        help="stop cleanly then: auto (shortly before a SLURM job's time limit), none, seconds from now, "
        "or a moment such as 2026-11-21T06:00; the environment variable WINNOW_DEADLINE sets the default",
    )


def add_attempts(group: argparse._ActionsContainer) -> None:
    """The flag of programs that account for their own time, GPUs and tokens."""
    group.add_argument(
        "--attempts", type=Path, help="add a line to this file: what this attempt has taken, killed or not"
    )


def check_output(output: str | Path, inputs: Iterable[str | None]) -> None:
    """Refuse an output that would destroy an input, or that is a folder.

    Raises:
        UserError: see above.
    """
    path = Path(output)
    if path.is_dir():
        raise UserError(path, "a folder", "the name of a file", "name a file in it")
    for given in inputs:
        if given is not None and Path(given).resolve() == path.resolve():
            raise UserError(path, "the output is also an input", "two files", "give the output another name")


def run(main: Callable[[argparse.Namespace], Any], flags: argparse.ArgumentParser) -> None:
    """Parse the flags, run the program, and exit.

    0 is done, 2 a user's mistake, 75 stopped because the job was told of its end, 130 interrupted.
    """
    arguments = flags.parse_args()
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    # Libraries log each request and cache look-up at this level; they bury our own lines.
    for noisy in ("httpx", "httpx2", "openai", "fsspec", "matplotlib", "filelock"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        main(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except ending.Stopped as reason:
        print(f"stopped ({reason}); what is finished is kept, run again to go on", file=sys.stderr)
        sys.exit(ending.EXIT_CODE)
    except BrokenPipeError:
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept, run again to go on", file=sys.stderr)
        sys.exit(130)
