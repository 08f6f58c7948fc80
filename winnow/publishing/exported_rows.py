"""The rows of training data beside the accepted completions that they were made of."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from winnow.errors import UserError
from winnow.formats import files
from winnow.formats.format import Format
from winnow.publishing.accepted import Accepted, texts

MEND = "run the pipeline to its end, so that export.py writes and verifies this file again; then publish"
PARQUET = ".parquet"


@dataclass(frozen=True, slots=True)
class Rows:
    """What a file has.

    Attributes:
        count: rows.
        showing: rows that name images.
        images: the images that they name → the first row that does, as messages tell it.
    """

    count: int
    showing: int
    images: Mapping[str, str]


def verify(path: Path, fmt: Format, accepted: Path, found: Accepted, completions: int) -> Rows:
    """Count the rows of a file, and compare those that hold completions with what was selected.

    Args:
        path: the file.
        fmt: its format. `takes` says what a row is made of (a chosen completion, where it says nothing),
            `holds` what of it reads back.
        accepted: accepted.jsonl.
        found: what that has.
        completions: prompts × n, for formats of every completion.

    Raises:
        UserError: a file that was cut, more or fewer rows, or one that holds another completion.
    """
    takes = getattr(fmt, "takes", "chosen")
    expected = {"pairs": found.pairs, "prompts": found.prompts, "all": completions}.get(takes, found.chosen)
    if path.suffix != PARQUET:
        _check_end(path)
    compared = takes != "all" and path.suffix != PARQUET and holds_completions(fmt)
    selected = texts(accepted, takes) if compared else iter(())
    rows = showing = 0
    images: dict[str, str] = {}
    for unit in _units(path, fmt):
        rows += 1
        named = _images_of(unit)
        showing += bool(named)
        for each in named:
            images.setdefault(each, f"{path}, row {rows}")
        wanted = next(selected, None)
        if wanted is not None and _texts_of(unit) != wanted[1]:
            raise UserError(
                f"{path}, row {rows}",
                "its completion is not the one that was selected",
                f"the text of {wanted[0]!r} in {accepted}",
                MEND,
            )
    if rows != expected:
        raise UserError(path, f"{rows} rows", f"{expected}, as many as {accepted} makes", MEND)
    return Rows(rows, showing, images)


def holds_completions(fmt: Format) -> bool:
    """Whether a format's rows give back completions as they are, not only an answer or a number."""
    held = getattr(fmt, "holds", ("completion",))
    return any(name.rpartition(".")[2] in ("completion", "completions", "chosen") for name in held)


def _texts_of(unit: Any) -> list[str]:
    """The completions of a row: of a pair both, of a prompt all."""
    if hasattr(unit, "rejected"):
        return [unit.chosen.completion, unit.rejected.completion]
    return list(unit.completions) if hasattr(unit, "completions") else [unit.completion]


def _images_of(unit: Any) -> list[str]:
    return list(getattr(getattr(unit, "chosen", unit), "images", None) or ())


def _check_end(path: Path) -> None:
    """A file that was cut between two rows reads well row by row."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 2, 0))
        end = file.read()
    if not end.endswith(b"]\n" if path.suffix == ".json" else b"\n"):
        raise UserError(path, "its end is missing", "a whole file", MEND)


def _units(path: Path, fmt: Format) -> Iterator[Any]:
    """The rows as a trainer sees them; of a table their image columns alone.

    Raises:
        UserError: a row that the format cannot read.
    """
    if path.suffix == PARQUET:
        yield from _table(path)
        return
    try:
        yield from files.read(path, fmt)
    except (KeyError, TypeError, ValueError) as error:
        found = f"a row that is none of its format ({type(error).__name__}: {error})"
        raise UserError(path, found, "whole rows", MEND) from None


@dataclass(frozen=True, slots=True)
class _TableRow:
    images: list[str]


def _table(path: Path) -> Iterator[_TableRow]:
    # Only this format needs it.
    parquet = importlib.import_module("pyarrow.parquet")
    try:
        table = parquet.ParquetFile(path)
    except importlib.import_module("pyarrow").ArrowInvalid as error:
        raise UserError(path, f"no table ({error})", "a whole file", MEND) from None
    # The column is always there.
    for batch in table.iter_batches(columns=["images"]):
        for images in batch.column(0).to_pylist():
            # {"image": path} as verl has them, or the paths alone in a user's own table.
            yield _TableRow([each["image"] if isinstance(each, dict) else each for each in images or ()])
