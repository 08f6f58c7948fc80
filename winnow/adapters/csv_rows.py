"""The rows of a CSV or TSV file, as text."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from winnow.errors import UserError

LARGEST_CELL = 64 << 20
"""Characters."""


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file with a header; an empty cell is None.

    Cells stay text: who guesses their types takes the answer 007 for 7, and 3 for 3.0 where one is missing.

    Raises:
        UserError: a name twice in the header, a row of more or fewer cells, or no CSV; the row is named.
    """
    csv.field_size_limit(LARGEST_CELL)
    row = -1
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
        try:
            names = list(reader.fieldnames or [])
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise UserError(path, f"the column {twice!r} twice", "a name for each column", "rename one")
            for row, cells in enumerate(reader):
                if None in cells:
                    raise UserError(
                        f"{path}, row {row}",
                        f"{len(names) + len(cells[None])} cells",
                        f"{len(names)}, as in the header ({', '.join(names)})",
                        "put cells that hold the separator in quotes",
                    )
                if None in cells.values():
                    lacking = [name for name in names if cells[name] is None]
                    raise UserError(
                        f"{path}, row {row}",
                        f"{len(names) - len(lacking)} cells",
                        f"{len(names)}, as in the header ({', '.join(names)})",
                        f"add the cells of {', '.join(lacking)}, empty where there is nothing",
                    )
                yield {name: cell or None for name, cell in cells.items()}
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(
                f"{path}, row {row + 1}", f"cannot be read ({error})", "CSV in UTF-8", "repair the file"
            ) from None
