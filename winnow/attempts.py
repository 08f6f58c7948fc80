"""What each attempt at a job has taken so far, also when it is killed.

Snakemake's benchmark file has the one attempt that succeeded. A program that may hold a GPU therefore keeps
an account of its own beside its log, in a file that Snakemake does not know: one line for each attempt, of
a fixed length and rewritten in place every few seconds. An attempt that is killed, or whose node is lost,
counts up to its last sign of life.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from winnow.errors import UserError
from winnow.jsonl import disk_errors

log = logging.getLogger(__name__)

BEAT_SECONDS = 5.0
"""Between two signs of life."""

DIGITS = 20
"""Room that a line keeps for each number to grow into."""

RUNNING, DONE, FAILED, STOPPED = "running", "done", "failed", "stopped"
FIXED = ("started", "seconds", "outcome", "gpus", "cores", "host", "found")
COMPLETION_FIGURES = ("completions", "total", "prompt_tokens", "completion_tokens")


@dataclass(frozen=True, slots=True)
class Record:
    """One attempt as its line tells it.

    Attributes:
        started: when, in seconds since the epoch.
        seconds: wall time up to its end, or to its last sign of life.
        outcome: `running` (or killed: nobody has written its end), `done`, `failed`, or `stopped` (told of
            its end, interrupted).
        gpus: GPUs that it held, over all of its nodes.
        cores: CPU cores that it was given.
        host: where it ran.
        figures: what it counted, such as `completions`; what it found done by earlier attempts included.
        found: the part of the figures that earlier attempts had done.
    """

    started: float
    seconds: float
    outcome: str
    gpus: int
    cores: int
    host: str
    figures: dict[str, int]
    found: dict[str, int]


class Attempt:
    """An attempt at a job by this process: a context manager, entered when the job holds its GPUs.

    Args:
        path: the account, shared by all attempts at the job; None keeps none.
        figures: the numbers that `add` will count; they begin with 0.
    """

    def __init__(self, path: str | Path | None, *figures: str) -> None:
        self._path = None if path is None else Path(path)
        self._figures = dict.fromkeys(figures, 0)
        self._found = dict.fromkeys(figures, 0)
        self._gpus = 0
        self._ended = threading.Event()
        self._beat = threading.Thread(target=self._live, name="attempt", daemon=True)

    def add(self, **amounts: int) -> None:
        """Count something; the next sign of life tells it."""
        for name, amount in amounts.items():
            self._figures[name] += amount

    def find(self, **amounts: int) -> None:
        """Count what earlier attempts have done."""
        for name, amount in amounts.items():
            self._found[name] += amount
        self.add(**amounts)

    def holding(self, gpus: int) -> Self:
        """Say, before it is entered, how many GPUs the job holds, over all of its nodes."""
        self._gpus = gpus
        return self

    def __enter__(self) -> Self:
        if self._path is None:
            return self
        self._start = time.monotonic()
        self._fixed = {
            "started": round(time.time(), 3),
            "host": socket.gethostname(),
            "gpus": self._gpus,
            "cores": cores(),
        }
        self._width = len(self._content(RUNNING)) + DIGITS * (2 * len(self._figures) + 1)
        with disk_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._offset = self._begin(self._path)
            self._file = os.open(self._path, os.O_WRONLY)
        self._beat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._path is None:
            return
        self._ended.set()
        self._beat.join()
        outcome = DONE if error is None else FAILED if isinstance(error, Exception) else STOPPED
        self._write(outcome)
        os.close(self._file)

    def _begin(self, path: Path) -> int:
        """Append a line behind those of the attempts before; gives its place."""
        line = self._line(RUNNING)
        with path.open("a+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            if end and os.pread(file.fileno(), 1, end - 1) != b"\n":
                # An attempt before was killed in the middle of this.
                line = b"\n" + line
            file.write(line)
            return file.tell() - len(line.lstrip(b"\n"))

    def _content(self, outcome: str) -> bytes:
        seconds = round(time.monotonic() - self._start, 3)
        changing = {"seconds": seconds, "outcome": outcome, "found": self._found, **self._figures}
        return orjson.dumps(self._fixed | changing)

    def _line(self, outcome: str) -> bytes:
        return self._content(outcome).ljust(self._width) + b"\n"

    def _live(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            if not self._write(RUNNING, sync=True):
                return

    def _write(self, outcome: str, sync: bool = False) -> bool:
        """Tell how it stands; a full disk is no reason to end a job that may need no more room."""
        try:
            os.pwrite(self._file, self._line(outcome), self._offset)
            if sync:
                os.fsync(self._file)
        except OSError as problem:
            log.warning(
                "%s: cannot be written (%s); this attempt's time may not be counted", self._path, problem
            )
            return False
        return True


def counting(attempt: Attempt) -> Callable[[Mapping[str, Any], bool], None]:
    """A function that counts a journal's entries, those that it found and those that are new.

    A prompt's tokens count once: its samples share what is computed of it.
    """
    prompts: set[str] = set()

    def count(entry: Mapping[str, Any], new: bool) -> None:
        completion = entry["completion"]
        prompt = completion["prompt_id"]
        (attempt.add if new else attempt.find)(
            completions=1,
            prompt_tokens=0 if prompt in prompts else completion["prompt_tokens"],
            completion_tokens=completion["completion_tokens"],
        )
        prompts.add(prompt)

    return count


def read(path: str | Path) -> list[Record]:
    """The attempts at a job, in order; none where it kept no account.

    Raises:
        UserError: a line that no attempt has written.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return [record for line in lines if (record := _record(line, path)) is not None]


def _record(line: bytes, path: str | Path) -> Record | None:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        # Killed while it wrote its first line, when it had just begun; or being rewritten at this moment.
        return None
    if not isinstance(row, dict) or not row.keys() >= set(FIXED):
        raise UserError(
            path, f"not an attempt: {line[:60]!r}", "what a job has written itself", "delete this file"
        )
    known = {name: row.pop(name) for name in FIXED}
    return Record(**known, figures=row)


def cores() -> int:
    """The cores that Snakemake gave this job; all that this process may use, where nobody said."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() else os.cpu_count() or 1
