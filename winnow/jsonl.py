"""JSON lines in and out: errors that name the line, and outputs that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson

from winnow.errors import UserError

Write = Callable[[Any], None]


def numbered(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, object) for each line of a JSONL file, in constant memory.

    Raises:
        UserError: no such file, or a line that is torn, empty, not JSON or not an object.
    """
    for number, line in numbered_lines(path):
        yield number, parse_line(line, f"{path}, line {number}")


def numbered_lines(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, line) of a JSONL file, unparsed.

    Raises:
        UserError: no such file.
    """
    path = Path(path)
    try:
        file = path.open("rb")
    except OSError as error:
        found = (
            "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        )
        raise UserError(
            path, found, "a JSONL file", "check the path, or run the stage that writes it"
        ) from None
    with file:
        yield from enumerate(file, start=1)


def parse_line(line: bytes, where: str) -> dict[str, Any]:
    """One JSON object from one line; `where` goes into the error."""
    mend = "repair or remove this line; the lines before it are fine"
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        torn = "a torn line" if not line.endswith(b"\n") else "not JSON"
        shown = line[:60].decode("utf-8", "replace").strip()
        raise UserError(
            where, f"{torn} ({error}): {shown!r}", "one JSON object a line, in UTF-8", mend
        ) from None
    if not isinstance(row, dict):
        raise UserError(where, f"a JSON {type(row).__name__}", "a JSON object", mend)
    return row


def rows(path: str | Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file, in order, in constant memory."""
    for _, row in numbered(path):
        yield row


def dumps(value: Any) -> bytes:
    """One line of JSON with its newline, UTF-8."""
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


@contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """Open ``<path>.partial`` for writing; rename it to `path` when the block ends well.

    A block that raises leaves neither file: what exists under its final name is whole.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextmanager
def writer(path: str | Path) -> Iterator[Write]:
    """A function that appends one object to the JSONL file `path`, which appears when all is written."""
    with replacing(path) as file:

        def write(value: Any) -> None:
            file.write(dumps(value))

        yield write


def write_json(path: str | Path, value: Any) -> None:
    """Write one indented JSON document, whole or not at all."""
    with replacing(path) as file:
        file.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


def read_json(path: str | Path) -> Any:
    """Read one JSON document.

    Raises:
        UserError: no such file, or not JSON.
    """
    try:
        return orjson.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise UserError(
            path, "no such file", "a JSON file", "check the path, or run the stage that writes it"
        ) from None
    except orjson.JSONDecodeError as error:
        raise UserError(path, f"not JSON ({error})", "one JSON document", "make it again") from None


@contextmanager
def disk_errors(path: str | Path) -> Iterator[None]:
    """Turn a full disk or a forbidden path into an error that names the file."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                path,
                "the disk is full",
                "room for this file",
                "free space and run again: finished work is kept and resumed",
            ) from None
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
            raise UserError(
                path, f"cannot be written ({error.strerror})", "a writable path", "change the output path"
            ) from None
        raise
