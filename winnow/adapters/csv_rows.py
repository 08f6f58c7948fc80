"""The rows of a CSV or TSV file, as text, each with the lines in which it stands."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from winnow.errors import UserError

LARGEST_CELL = 64 << 20
"""Characters."""


def placed(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, row) of a file with a header, the place as ``line 2``; an empty cell is None.

    Lines are counted as an editor does, from 1, the header's too: a cell that holds line breaks makes a row
    of several, ``lines 2 to 4``. Cells stay text: who guesses their types takes the answer 007 for 7, and 3
    for 3.0 where one is missing.

    Raises:
        UserError: a name twice in the header, a row of more or fewer cells, or no CSV; the line is named.
    """
    csv.field_size_limit(LARGEST_CELL)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
        names: list[str] = []
        first = 1
        try:
            for cells in reader:
                place, first = _place(first, reader.line_num), reader.line_num + 1
                if not cells:
                    continue
                if names:
                    yield place, _row(names, cells, f"{path}, {place}")
                    continue
                names = cells
                if len(set(names)) < len(names):
                    twice = next(name for name in names if names.count(name) > 1)
                    raise UserError(
                        f"{path}, {place}",
                        f"the column {twice!r} twice",
                        "a name for each column",
                        "rename one",
                    )
        except csv.Error as error:
            _refuse(path, _place(first, reader.line_num), str(error))
        except UnicodeDecodeError as error:
            # Raised for a whole piece of the file, ahead of the row at hand.
            _refuse(path, f"line {_undecodable(path)}", f"not UTF-8: {error.reason}")


def _row(names: list[str], cells: list[str], where: str) -> dict[str, Any]:
    if len(cells) != len(names):
        lacking = names[len(cells) :]
        raise UserError(
            where,
            f"{len(cells)} cells",
            f"{len(names)}, as in the header ({', '.join(names)})",
            f"add the cells of {', '.join(lacking)}, empty where there is nothing"
            if lacking
            else "put cells that hold the separator in quotes",
        )
    return {name: cell or None for name, cell in zip(names, cells, strict=True)}


def _place(first: int, last: int) -> str:
    return f"line {first}" if first >= last else f"lines {first} to {last}"


def _undecodable(path: Path) -> int:
    """The first line that is no UTF-8, from 1."""
    with path.open("rb") as file:
        return next((number for number, line in enumerate(file, start=1) if not _is_utf8(line)), 1)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _refuse(path: Path, place: str, why: str) -> NoReturn:
    raise UserError(
        f"{path}, {place}", f"cannot be read ({why})", "CSV in UTF-8", "repair the file"
    ) from None
