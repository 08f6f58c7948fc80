"""Which completions a row of training data was made of, and which rows a completion is in.

A format says it: it reads its row back, and what it holds of a completion has to be what the records have.
Rows that are alike are told apart by their place. Of a file in no known format, the texts have to be there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from winnow.errors import UserError
from winnow.formats import files
from winnow.formats.format import Format, Unit, differing
from winnow.formats.sources import REJECTED, Source, grouped
from winnow.tracing.rows import Row


def completions_of(row: Row, fmt: Format | None, sources: Iterable[Source]) -> list[str]:
    """The ids of the completions behind a row, of a pair the chosen one first; none where it is of others.

    Args:
        row: of a file of training data.
        fmt: its format; None where no format is known by the file's name.
        sources: the completions that the file was made of, in its order.
    """
    if fmt is None:
        return _by_texts(row, sources)
    read = _unit(fmt, row)
    alike: list[list[Source]] = []
    for index, (wanted, members) in enumerate(grouped(fmt.takes, sources)):
        if differing(fmt, read, wanted) is None:
            if index == row.number - 1:
                return _ids([members])
            alike.append(members)
    return _ids(alike)


def rows_with(
    completion: str, rows: Iterable[Row], fmt: Format | None, sources: Iterable[Source]
) -> Iterator[Row]:
    """Yield the rows that a completion is in.

    Args:
        completion: its id.
        rows: of a file of training data.
        fmt: its format; None where no format is known by the file's name.
        sources: the completions that the file was made of, in its order.
    """
    if fmt is None:
        own = [each for each in sources if each.row["id"] == completion]
        wanted = set(chain.from_iterable(map(_texts, own[:1])))
        yield from (row for row in rows if wanted and wanted.issubset(texts_of(row.content)))
        return
    units = {
        index: unit
        for index, (unit, members) in enumerate(grouped(fmt.takes, sources))
        if completion in _ids([members])
    }
    if not units:
        return
    moved: list[Row] = []
    missing = len(units)
    for row in rows:
        read = _unit(fmt, row)
        at_its_place = units.get(row.number - 1)
        if at_its_place is not None and differing(fmt, read, at_its_place) is None:
            missing -= 1
            yield row
        elif any(differing(fmt, read, unit) is None for unit in units.values()):
            moved.append(row)
    # Of a file in another order. Else these are of other completions that read alike.
    if missing:
        yield from moved


def texts_of(value: Any) -> Iterator[str]:
    """Every text in a row."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_of(inner)


def _by_texts(row: Row, sources: Iterable[Source]) -> list[str]:
    texts = set(texts_of(row.content))
    found = [each for each in sources if texts.issuperset(_texts(each))]
    return _ids([sorted(found, key=lambda each: each.row.get("role") == REJECTED)])


def _texts(source: Source) -> set[str]:
    """What a format that is not known has to have as it stands: completion, prompt and images."""
    prompt = source.prompt
    return {source.row["text"], *(str(m["content"]) for m in prompt.messages), *(prompt.images or ())}


def _ids(units: Sequence[Sequence[Source]]) -> list[str]:
    return list(dict.fromkeys(str(each.row["id"]) for members in units for each in members))


def _unit(fmt: Format, row: Row) -> Unit:
    try:
        return files.unit_of(fmt, row.content, row.place)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            row.place,
            f"no row of this format ({type(error).__name__}: {error})",
            f"a row as {fmt.filename} has it",
            "name the file's own format by --format, or export the file again",
        ) from None
