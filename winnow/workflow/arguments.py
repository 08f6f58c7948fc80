"""Flags of a program that hands all others to Snakemake."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from winnow.command_line import parser


class PassingParser(argparse.ArgumentParser):
    """Keeps what it does not know as `snakemake`, in order: targets and options of Snakemake."""

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """The known flags, and the rest under `snakemake`."""
        found, rest = self.parse_known_args(args, namespace)
        found.snakemake = rest
        return found


def passing_parser(doc: str | None) -> PassingParser:
    """A parser whose help opens with the program's docstring."""
    plain = parser(doc)
    return PassingParser(
        usage="%(prog)s [flags below] [targets and options of snakemake]",
        description=plain.description,
        formatter_class=plain.formatter_class,
        allow_abbrev=False,
    )
