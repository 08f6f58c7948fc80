"""The rows of a test set's file, by the readers of data sets.

A fingerprint does not follow this module: those readers stand beside the adapters, and a selection is not to
be made again, and what it decides trained on again, because of a change in one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from winnow.adapters.sources import read_dataset

LINES, ROWS = (".jsonl",), (".json", ".parquet")
"""Files of objects: counted by lines from 1, and by rows from 0, as `data.train.path` counts them."""


def rows_of(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, row) of such a file.

    Raises:
        UserError: it is not there, or is not what its name says.
    """
    return read_dataset(str(path))
