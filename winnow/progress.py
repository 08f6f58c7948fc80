"""Progress of a long stage: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

log = logging.getLogger("progress")

LINE_SECONDS = 15.0


class Progress:
    """Counts completions and tokens, tells the rate and what is left.

    Args:
        total: completions that the job consists of.
        done: completions that an earlier attempt finished.
    """

    def __init__(self, total: int, done: int) -> None:
        self._total, self._resumed, self._done, self._tokens = total, done, done, 0
        self._start = self._told = time.monotonic()
        self._bar = tqdm(total=total, initial=done, unit="completion", disable=not sys.stderr.isatty())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if error is None and self._done > self._resumed:
            log.info("%s", self._line(f"{time.monotonic() - self._start:.1f} s"))

    def add(self, tokens: int) -> None:
        """One more completion, of so many tokens."""
        self._done += 1
        self._tokens += tokens
        self._bar.update()
        now = time.monotonic()
        if self._bar.disable and now - self._told > LINE_SECONDS:
            self._told = now
            each = (now - self._start) / (self._done - self._resumed)
            log.info("%s", self._line(f"{each * (self._total - self._done):.0f} s left"))

    def _line(self, time_note: str) -> str:
        rate = self._tokens / max(time.monotonic() - self._start, 1e-9)
        return f"{self._done:,} of {self._total:,} completions, {rate:,.0f} tok/s, {time_note}"
