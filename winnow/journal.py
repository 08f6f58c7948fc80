"""The journal: how a stage that costs GPU time survives being killed.

``<output>.partial`` holds a header with the job's parameters and then one flushed line for each
finished completion. Snakemake does not know the file, so it survives a failed job; the next start
reads what is whole, drops a torn last line, and goes on. Only when every id is there are the lines
put in order and written under their final names.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import orjson

from winnow.ending import undisturbed
from winnow.errors import UserError
from winnow.jsonl import disk_errors, dumps, parse_line
from winnow.locks import locked

log = logging.getLogger(__name__)

SYNC_SECONDS = 5.0
"""A crash of the machine, unlike one of the process, may lose this much work."""


class FinishedElsewhere(Exception):
    """Another process held this journal and has finished the very same job meanwhile."""


class Journal:
    """An append-only file of finished items, by id; a context manager that holds its lock.

    Args:
        output: the final file; the journal lies beside it as ``<output>.partial``.
        parameters: everything that determines the results, JSON-able. A journal written under
            other parameters is refused, for mixing the two would go unnoticed.
        seen: called with each entry, and whether it is new: not of an earlier attempt.

    Raises:
        UserError: the journal is of other parameters, or damaged before its last line.
        FinishedElsewhere: see the class.
    """

    def __init__(
        self,
        output: str | Path,
        parameters: Mapping[str, Any],
        seen: Callable[[Mapping[str, Any], bool], None] = lambda entry, new: None,
    ) -> None:
        self.output = Path(output)
        self.path = self.output.with_name(self.output.name + ".partial")
        self.parameters = orjson.loads(orjson.dumps(dict(parameters)))
        self._seen = seen
        self._offsets: dict[str, int] = {}
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._locked_file()
            try:
                self._load()
            except BaseException:
                self._file.close()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A full disk shows itself again when the buffer is closed; the error in flight says it better.
        try:
            self._file.close()
        except OSError:
            if error is None:
                raise

    def __contains__(self, item: str) -> bool:
        return item in self._offsets

    def __len__(self) -> int:
        return len(self._offsets)

    def append(self, item: str, entry: Mapping[str, Any]) -> None:
        """Add one finished item; it survives the death of this process from here on."""
        with disk_errors(self.path), undisturbed():
            offset = self._file.seek(0, os.SEEK_END)
            self._file.write(dumps({"id": item, **entry}))
            self._file.flush()
            if time.monotonic() - self._synced > SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        self._offsets[item] = offset
        self._seen(entry, True)

    def read(self, item: str) -> dict[str, Any]:
        """The entry of one finished item."""
        self._file.seek(self._offsets[item])
        return parse_line(self._file.readline(), f"{self.path}, {item}")

    def remove(self) -> None:
        """Delete the journal, when its content stands under the final names."""
        self.path.unlink(missing_ok=True)

    def _locked_file(self) -> IO[bytes]:
        """Open and lock the file; wait when another process (an orphan, say) writes it."""
        waited = False
        while True:
            file = self.path.open("a+b")
            waited |= locked(file, f"{self.path}: another process is writing it", log)
            if self.path.exists() and self.path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file
            # The file that we waited for was finished and removed; ours may now be done.
            if waited and self.output.exists() and self._header(file) == self.parameters:
                file.close()
                raise FinishedElsewhere(str(self.output))
            file.close()

    @staticmethod
    def _header(file: IO[bytes]) -> Any:
        file.seek(0)
        try:
            return orjson.loads(file.readline())["journal"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return None

    def _load(self) -> None:
        whole = 0
        header: Any = None
        for number, offset, line in self._lines():
            if not line.endswith(b"\n"):
                break
            row = parse_line(line, f"{self.path}, line {number}")
            if number == 1:
                header = row.get("journal")
            elif "id" in row:
                first = self._offsets.setdefault(str(row["id"]), offset) == offset
                if first and header == self.parameters:
                    self._seen(row, False)
            else:
                raise UserError(
                    f"{self.path}, line {number}",
                    f"an entry without 'id' (it has {', '.join(row) or 'no keys'})",
                    "what this job has written",
                    "remove this line, or delete the file to start anew",
                )
            whole = offset + len(line)
        if self._offsets or (whole and not isinstance(header, dict)):
            self._check_header(header)
        elif header != self.parameters:
            # Nothing was finished under the other parameters: nothing is lost by starting anew.
            whole = 0
            self._file.truncate(0)
        dropped = self._file.seek(0, os.SEEK_END) - whole
        if dropped:
            log.info("%s: dropped a torn last line of %d bytes", self.path, dropped)
            self._file.truncate(whole)
        if not whole:
            self._file.seek(0, os.SEEK_END)
            self._file.write(dumps({"journal": self.parameters}))
            self._file.flush()

    def _lines(self) -> Iterator[tuple[int, int, bytes]]:
        self._file.seek(0)
        offset = 0
        for number, line in enumerate(self._file, start=1):
            yield number, offset, line
            offset += len(line)

    def _check_header(self, found: Any) -> None:
        if found == self.parameters:
            return
        if not isinstance(found, dict):
            found = {}
        keys = sorted(found.keys() | self.parameters.keys())
        absent = "absent"
        differing = [
            f"{key} was {found.get(key, absent)!r}, now {self.parameters.get(key, absent)!r}"
            for key in keys
            if found.get(key, absent) != self.parameters.get(key, absent)
        ]
        raise UserError(
            self.path,
            "unfinished work of other parameters: " + "; ".join(differing),
            "a journal of this job's own parameters",
            "run with the former parameters to finish it, or delete this file to start anew",
        )
