"""Progress of a long stage: a bar on a terminal, a line a minute in a log."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

log = logging.getLogger("progress")

LINE_SECONDS = 60.0


class Progress:
    """Counts items and tokens, tells the rates and what is left.

    Args:
        total: items that the job consists of.
        done: items that an earlier attempt finished.
        unit: what they are.
        samples: of each prompt, for the rate of prompts; 0 tells none.
        verdicts: whose text is told beside the rates: how the items fare.
    """

    def __init__(
        self, total: int, done: int, unit: str = "completions", samples: int = 0, verdicts: object = ""
    ) -> None:
        self._total, self._resumed, self._done, self._tokens = total, done, done, 0
        self._unit, self._samples, self._verdicts = unit, samples, verdicts
        self._start = self._told = time.monotonic()
        self._bar = tqdm(total=total, initial=done, unit=unit, disable=not sys.stderr.isatty())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if error is None and self._done > self._resumed:
            log.info("%s", self._line(f"{time.monotonic() - self._start:.1f} s"))

    def add(self, tokens: int) -> None:
        """One more item, of so many tokens."""
        self._done += 1
        self._tokens += tokens
        self._bar.update()
        now = time.monotonic()
        if now - self._told < (LINE_SECONDS if self._bar.disable else 1.0):
            return
        self._told = now
        if self._bar.disable:
            each = (now - self._start) / (self._done - self._resumed)
            log.info("%s", self._line(f"{each * (self._total - self._done):.0f} s left"))
        else:
            self._bar.set_postfix_str(self._rates())

    def _line(self, time_note: str) -> str:
        return f"{self._done:,} of {self._total:,} {self._unit}, {self._rates()}, {time_note}"

    def _rates(self) -> str:
        seconds = max(time.monotonic() - self._start, 1e-9)
        rates = [f"{self._tokens / seconds:,.0f} tok/s"]
        if self._samples:
            rates.append(f"{(self._done - self._resumed) / self._samples / seconds:,.1f} prompts/s")
        return ", ".join(filter(None, [str(self._verdicts), *rates]))
