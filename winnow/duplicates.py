"""Rows of a data set that stood before in it: an error, or left out and counted."""

from __future__ import annotations

import logging
import sqlite3

from winnow.adapters.example import Example
from winnow.errors import UserError
from winnow.records import content_id

log = logging.getLogger("prompts")

SEEN_KIB = 2048
"""Memory for the ids that stood before; beyond it they go to the disk."""


class Duplicates:
    """The ids that stood before, each with its place and a digest of its row.

    Args:
        drop: leave out rows that are equal to one before them.
    """

    def __init__(self, drop: bool) -> None:
        self._drop = drop
        self._count, self._first = 0, ""
        self._otherwise, self._first_otherwise = 0, ""
        # A nameless database lies in a temporary file; without a journal, for nothing is ever rolled back.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size = -{SEEN_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute(
            "CREATE TABLE seen (id TEXT PRIMARY KEY, place TEXT, asked TEXT, reference TEXT) WITHOUT ROWID"
        )
        self._database.execute("BEGIN")

    def dropped(self, prompt_id: str, example: Example, asked: str, where: str) -> bool:
        """Whether a row is left out; else its id stands at `where` from now on.

        Rows are equal that have the same id, ask the same and have the same reference. A row without an id
        of its own is left out for asking the same alone, and counted apart where its reference is another.

        Args:
            prompt_id: the row's, or a hash of `asked`.
            example: the row as its adapter has read it.
            asked: its messages and images, as JSON.
            where: the row's place.

        Raises:
            UserError: an id that stood before, of a row that is not to be left out.
        """
        reference = content_id("" if example.reference is None else f"={example.reference}")
        new = (prompt_id, where, content_id(asked), reference)
        if self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?, ?)", new).rowcount:
            return False
        before, *known = self._database.execute(
            "SELECT place, asked, reference FROM seen WHERE id = ?", (prompt_id,)
        ).fetchone()
        differing = [
            what
            for what, was, now in zip(("question", "reference"), known, new[2:], strict=True)
            if was != now
        ]
        if not self._drop or (example.id and differing):
            raise _twice(prompt_id, bool(example.id), differing, before, where)
        if not self._count:
            self._first = f"{where} (stands already in {before})"
        self._count += 1
        if differing and not self._otherwise:
            self._first_otherwise = f"{where} (first in {before})"
        self._otherwise += bool(differing)
        return True

    def tell(self) -> None:
        """Log how many rows were left out."""
        if self._count:
            log.warning("%d duplicate rows are dropped, the first in %s", self._count, self._first)
        if self._otherwise:
            log.warning(
                "%d of them have another reference than the row that is kept, the first in %s: one of the "
                "two is wrong, or they are told apart by a field that the prompt does not show",
                self._otherwise,
                self._first_otherwise,
            )

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


def _twice(prompt_id: str, own: bool, differing: list[str], before: str, where: str) -> UserError:
    """The error of an id that stood before."""
    found = f"id {prompt_id!r} stands already in {before}"
    wanted = "one row for each id (without an 'id' field, one row for each prompt)"
    if own and differing:
        found += f", with another {differing[0]}"
        return UserError(where, found, wanted, "correct one of the two ids: the rows are not equal")
    return UserError(
        where,
        found,
        wanted,
        "set data.duplicates to drop (--duplicates drop), which keeps the first of equal rows and counts the "
        "others; or remove one of the two rows, or give them ids of their own",
    )
