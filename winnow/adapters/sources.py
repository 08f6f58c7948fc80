"""Rows of a data set, streamed: a local JSONL file by ourselves, all else through `datasets`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from winnow import jsonl
from winnow.errors import UserError

LOADERS = {".json": "json", ".csv": "csv", ".parquet": "parquet", ".tsv": "csv"}


def is_local_dataset(dataset: str) -> bool:
    """Whether a data set is a local file, there or not, and no name on the hub."""
    return Path(dataset).suffix in (".jsonl", *LOADERS) or Path(dataset).is_file()


def read_dataset(
    dataset: str, split: str = "train", start: int = 0, count: int | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, row), `where` naming file and line, in constant memory.

    Args:
        dataset: a local .jsonl, .json, .csv, .tsv or .parquet file, or a hub name.
        split: the split of a hub data set.
        start: rows to skip.
        count: rows to read; None reads all.

    Raises:
        UserError: no such file or data set, or a line that is not JSON.
    """
    stop = None if count is None else start + count
    path = Path(dataset)
    if path.suffix == ".jsonl":
        for number, row in islice(jsonl.numbered(path), start, stop):
            yield f"{path}, line {number}", row
        return
    for index, row in enumerate(islice(_through_datasets(dataset, split), start, stop), start=start):
        yield f"{dataset}, row {index}", dict(row)


def _through_datasets(dataset: str, split: str) -> Iterator[dict[str, Any]]:
    # Slow to import, and not needed for JSONL.
    from datasets import load_dataset

    path = Path(dataset)
    try:
        if path.is_file() and path.suffix in LOADERS:
            options = {"sep": "\t"} if path.suffix == ".tsv" else {}
            yield from load_dataset(
                LOADERS[path.suffix], data_files=str(path), split="train", streaming=True, **options
            )
        else:
            yield from load_dataset(dataset, split=split, streaming=True)
    except UserError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            dataset,
            f"cannot be read as a data set ({type(error).__name__}: {str(error)[:200]})",
            "a local .jsonl, .json, .csv, .tsv or .parquet file, or a data set of the hub",
            "check the path, the name and the split; set HF_TOKEN or HF_ENDPOINT where they are needed",
        ) from error
