"""The rows of a file of training data, each with its place: its number, and the lines in which it stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from winnow import jsonl
from winnow.adapters import json_rows
from winnow.errors import UserError
from winnow.formats import files

LINES, LIST = ".jsonl", ".json"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file.

    Attributes:
        path: the file.
        number: the row's, from 1.
        lines: the first and the last line that it stands in, from 1; None in a table, which has none.
        content: the row itself.
    """

    path: Path
    number: int
    lines: tuple[int, int] | None
    content: dict[str, Any]

    @property
    def place(self) -> str:
        """Where it stands, for a person."""
        if self.lines is None:
            return f"{self.path}, row {self.number}"
        first, last = self.lines
        return f"{self.path}, line {first}" if first == last else f"{self.path}, lines {first} to {last}"


def rows_of(path: Path) -> Iterator[Row]:
    """Yield the rows of a file: of JSONL, of a JSON list however it is laid out, or of a table.

    Raises:
        UserError: no such file, another kind of file, or something in it that is no row.
    """
    with _readable(path):
        if path.suffix == LINES:
            for number, row in jsonl.numbered(path):
                yield Row(path, number, (number, number), row)
        elif path.suffix == LIST:
            for number, (first, last, row) in enumerate(json_rows.placed(path), start=1):
                yield Row(path, number, (first, last), row)
        elif path.suffix == files.TABLE:
            for number, (_, row) in enumerate(files.rows(path), start=1):
                yield Row(path, number, None, row)
        else:
            raise UserError(
                path,
                f"a {path.suffix} file",
                "a .jsonl, .json or .parquet file of training data",
                "name another format's file",
            )


def row_numbered(path: Path, number: int) -> Row:
    """The row of that number, from 1.

    Raises:
        UserError: there is no such file or row, or something before it is no row.
    """
    found = next(islice(rows_of(path), number - 1, None), None)
    if found is None:
        raise UserError(
            f"{path}, row {number}",
            f"no such row: it has {sum(1 for _ in rows_of(path)):,}",
            "the number of a row of it, from 1",
            "correct --row",
        )
    return found


def row_at(path: Path, line: int) -> Row:
    """The row that stands in a line, from 1: of a row of several lines, any of them will do.

    In a table, which has no lines, it is the row of that number.

    Raises:
        UserError: there is no such file or line, no row in the line, or several.
    """
    if path.suffix == files.TABLE:
        return row_numbered(path, line)
    if path.suffix == LINES:
        # The lines before it need not be rows.
        return Row(path, line, (line, line), jsonl.parse_line(_line(path, line), f"{path}, line {line}"))
    before = takewhile(lambda row: row.lines is not None and row.lines[0] <= line, rows_of(path))
    found = [row for row in before if row.lines is not None and row.lines[1] >= line]
    where = f"{path}, line {line}"
    if len(found) > 1:
        rows = f"rows {found[0].number} to {found[-1].number}"
        raise UserError(
            where,
            f"{rows} share this line",
            "a line of one row",
            "name one of them by --row",
        )
    if not found:
        shown = _line(path, line).strip()
        raise UserError(
            where,
            "a bracket of the list" if shown in (b"[", b"]", b"[]") else f"no row: {shown[:40]!r}",
            "a line of it that holds a row",
            "correct --line, or count rows by --row",
        )
    return found[0]


def _line(path: Path, line: int) -> bytes:
    with _readable(path), path.open("rb") as file:
        text = next(islice(file, line - 1, None), None)
    if text is None:
        raise UserError(
            f"{path}, line {line}", "no such line", "a line of it that holds a row", "correct --line"
        )
    return text


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            path, f"cannot be read ({error.strerror})", "a file of training data", "check --file"
        ) from None
    except ValueError as error:
        # pyarrow's own are of this type.
        raise UserError(
            path, f"no table ({error})", "a whole file of training data", "export it again"
        ) from None
