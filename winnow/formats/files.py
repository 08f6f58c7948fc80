"""Write a file of training data, and read it back as a trainer would; both in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from winnow import jsonl
from winnow.errors import UserError
from winnow.formats.format import Format, Unit

TABLE = ".parquet"
ROW_GROUP = 1024
"""Rows of a table that are in memory at a time."""


def write(path: Path, fmt: Format, units: Iterable[Unit]) -> None:
    """Write rows as JSONL, as one JSON list where the format's file is .json, or as a table; streamed."""
    if path.suffix == TABLE:
        _write_table(path, fmt, units)
        return
    listed = path.suffix == ".json"
    with jsonl.replacing(path) as file:
        number = 0
        for number, unit in enumerate(units, start=1):
            line = _line(fmt, unit, f"{path}, row {number}")
            if listed:
                file.write(b"[\n" if number == 1 else b",\n")
                file.write(line)
            else:
                file.write(line + b"\n")
        if listed:
            file.write(b"\n]\n" if number else b"[]\n")


def row_of(fmt: Format, unit: Unit, where: str) -> dict[str, Any]:
    """A row as it reads back: what JSON makes of it."""
    if Path(fmt.filename).suffix == TABLE:
        return fmt.to_row(unit)
    row: dict[str, Any] = orjson.loads(_line(fmt, unit, where))
    return row


def _line(fmt: Format, unit: Unit, where: str) -> bytes:
    """A row as JSON; `where` goes into the error."""
    try:
        return orjson.dumps(fmt.to_row(unit))
    except orjson.JSONEncodeError as error:
        raise UserError(
            where,
            f"cannot be written as JSON ({error})",
            "text, numbers, lists and objects",
            "correct the format",
        ) from None
    except UserError as error:
        raise error.at(where) from error


def _write_table(path: Path, fmt: Format, units: Iterable[Unit]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schema = fmt.schema()  # type: ignore[attr-defined]
    rows = (fmt.to_row(unit) for unit in units)
    with jsonl.replacing(path) as file, parquet.ParquetWriter(file, schema) as writer:
        while batch := list(islice(rows, ROW_GROUP)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, row) of a file, a row at a time."""
    if path.suffix == TABLE:
        yield from _rows_of_table(path)
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            body = line.strip().rstrip(b",")
            if body in (b"[", b"]", b"[]"):
                continue
            where = f"{path}, line {number}"
            yield where, jsonl.parse_line(body + b"\n", where)


def _rows_of_table(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    from pyarrow import parquet

    number = 0
    with parquet.ParquetFile(path) as table:
        for batch in table.iter_batches(batch_size=ROW_GROUP):
            for row in batch.to_pylist():
                number += 1
                yield f"{path}, row {number}", row


def unit_of(fmt: Format, row: dict[str, Any], where: str) -> Unit:
    """What a trainer would see of a row; `where` goes into the error."""
    try:
        return fmt.from_row(row)
    except UserError as error:
        raise error.at(where) from error


def read(path: Path, fmt: Format) -> Iterator[Unit]:
    """Read the file back, a row at a time."""
    for where, row in rows(path):
        yield unit_of(fmt, row, where)
