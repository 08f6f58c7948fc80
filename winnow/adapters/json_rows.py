"""The objects of a JSON file, one at a time: a list of them, one after the other, or one a line.

Integers beyond 64 bits, which no record can hold, are read as text: every digit of an answer counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from winnow import jsonl
from winnow.errors import UserError

CHUNK = 1 << 20
"""Characters read at a time."""
LARGEST_ROW = 64 << 20
"""Characters of an object, at most: what is never closed is not read to the file's end."""

LEAST, MOST = -(1 << 63), (1 << 64) - 1
"""The integers that a record can hold."""
_LONG = re.compile(rb"[0-9]{19}")
_SPACE = re.compile(r"[ \t\n\r]*")
_MEND = "repair the file: `python -m json.tool` names the place"


def objects(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file, in memory that does not grow with it.

    `datasets` reads a list into memory whole, and makes the keys of all rows alike.

    Raises:
        UserError: not JSON, or something other than an object among them; the row is named.
    """
    for _, _, found in placed(path):
        yield found


def placed(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield (first line, last line, object) likewise, the lines from 1.

    Raises:
        UserError: as `objects`.
    """
    with path.open(encoding="utf-8-sig") as file:
        text = _Window(file, path)
        listed = text.peek() == "["
        text.skip(listed)
        while mark := text.peek():
            if listed and mark == "]":
                text.skip(1)
                if text.peek():
                    text.fail("something behind the list", "nothing")
                return
            if listed and text.row:
                if mark != ",":
                    text.fail(f"{mark!r} behind the row before", "',' or ']'")
                text.skip(1)
            text.peek()
            first = text.line()
            found = text.next_object()
            yield first, text.line(), found
        if listed:
            text.fail("the file ends", "']': the file is cut off")


def of_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, object) of a JSONL file, the place as ``line 1``.

    Raises:
        UserError: no such file, or a line that is torn, empty, not JSON or not an object.
    """
    for number, line in jsonl.numbered_lines(path):
        place = f"line {number}"
        yield place, _of_line(line, f"{path}, {place}")


def _of_line(line: bytes, where: str) -> dict[str, Any]:
    row = jsonl.parse_line(line, where)
    if not _LONG.search(line):
        return row
    # orjson, which has found that the line is JSON, makes a float of a long integer.
    try:
        return json.loads(line, parse_int=_whole_number)  # type: ignore[no-any-return]
    except RecursionError:
        raise UserError(where, "objects in objects, too deep", "a row that can be read", _MEND) from None


def _whole_number(digits: str) -> int | str:
    """An integer as JSON has it: as text where no record can hold it."""
    if len(digits) > len(str(LEAST)):
        return digits
    number = int(digits)
    return number if LEAST <= number <= MOST else digits


class _Window:
    """The part of a file that is being read."""

    def __init__(self, file: Any, path: Path) -> None:
        self._file, self._path = file, path
        self._text, self._at = "", 0
        self._line, self._counted = 1, 0
        self._decoder = json.JSONDecoder(parse_constant=_no_constant, parse_int=_whole_number)
        self.row = 0

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def skip(self, count: int) -> None:
        """Go on behind so many characters."""
        self._at += count

    def line(self) -> int:
        """The line in which the next character stands, from 1."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def next_object(self) -> dict[str, Any]:
        """The object that begins here."""
        if self.peek() != "{":
            self.fail(repr(self._text[self._at : self._at + 60]), "a JSON object")
        while True:
            try:
                value, self._at = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # An object that is cut off here fails at the end of what was read, or in an open string.
                cut_off = error.pos > len(self._text) - 16 or error.msg.startswith("Unterminated string")
                if not (cut_off and len(self._text) - self._at < LARGEST_ROW and self._more()):
                    self.fail(f"not JSON ({error.msg})", "a JSON object")
            except (ValueError, RecursionError) as error:
                self.fail(f"not JSON ({error})", "a JSON object")
            else:
                self.row += 1
                return value  # type: ignore[no-any-return]

    def fail(self, found: str, expected: str) -> NoReturn:
        """Raise, naming the row."""
        raise UserError(f"{self._path}, row {self.row}", found, expected, _MEND)

    def _more(self) -> bool:
        """Read on; as much again where a large object is at hand, so that it is not begun too often."""
        self.line()
        rest = self._text[self._at :]
        try:
            read = self._file.read(max(CHUNK, len(rest)))
        except UnicodeDecodeError as error:
            self.fail(f"not UTF-8 ({error.reason})", "UTF-8")
        self._text, self._at, self._counted = rest + read, 0, 0
        return bool(read)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
