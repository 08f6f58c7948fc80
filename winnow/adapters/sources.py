"""Rows of a data set, streamed: local JSON and CSV by ourselves, Parquet and the hub through `datasets`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from winnow.adapters import csv_rows, json_rows
from winnow.errors import UserError

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")


def is_local_dataset(dataset: str) -> bool:
    """Whether a data set is a local file, there or not, and no name on the hub."""
    return Path(dataset).suffix in SUFFIXES or Path(dataset).is_file()


def read_dataset(
    dataset: str, split: str = "train", start: int = 0, count: int | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, row), `where` naming file and line, or row from 0 where lines tell little.

    Args:
        dataset: a local .jsonl, .json, .csv, .tsv or .parquet file, or a hub name.
        split: the split of a hub data set.
        start: rows to skip.
        count: rows to read; None reads all.

    Raises:
        UserError: no such file or data set, or a line or row that cannot be read.
    """
    stop = None if count is None else start + count
    path = Path(dataset)
    if path.suffix == ".jsonl":
        for place, row in islice(json_rows.of_lines(path), start, stop):
            yield f"{path}, {place}", row
        return
    for place, row in islice(_rows(dataset, split), start, stop):
        yield f"{dataset}, {place}", dict(row)


def _rows(dataset: str, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    path = Path(dataset)
    try:
        if path.suffix not in (".json", ".csv", ".tsv"):
            yield from _numbered(_through_datasets(dataset, split))
        elif path.is_file():
            yield from _numbered(json_rows.objects(path)) if path.suffix == ".json" else csv_rows.placed(path)
        else:
            raise UserError(dataset, "no such file", "a data set", "check the path")
    except OSError as error:
        raise _unreadable(dataset, error) from error


def _numbered(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for index, row in enumerate(rows):
        yield f"row {index}", row


def _through_datasets(dataset: str, split: str) -> Iterator[dict[str, Any]]:
    # Slow to import, and not needed for other files. It reads HF_ENDPOINT and HF_TOKEN at its import.
    from datasets import load_dataset

    try:
        if Path(dataset).suffix == ".parquet":
            rows = load_dataset("parquet", data_files=dataset, split="train", streaming=True)
        else:
            rows = load_dataset(dataset, split=split, streaming=True)
        yield from _undecoded(rows)
    except UserError:
        raise
    # Whatever its dozen libraries raise: of the network, of the hub, of Arrow, of the data.
    except Exception as error:
        raise _unreadable(dataset, error) from error


def _undecoded(rows: Any) -> Any:
    """The rows with images as ``{"bytes", "path"}``: decoded ones would have to be encoded again."""
    from datasets import Image, List

    for name, feature in (rows.features or {}).items():
        if isinstance(feature, Image):
            rows = rows.cast_column(name, Image(decode=False))
        elif isinstance(feature, List) and isinstance(feature.feature, Image):
            rows = rows.cast_column(name, List(Image(decode=False)))
    return rows


def _unreadable(dataset: str, error: Exception) -> UserError:
    return UserError(
        dataset,
        f"cannot be read as a data set ({type(error).__name__}: {str(error)[:200]})",
        f"a local file ({', '.join(SUFFIXES)}), or a data set of the hub",
        "check the path, the name and the split; set HF_TOKEN or HF_ENDPOINT where they are needed",
    )
