"""Say now and then how far a run is, when something has changed."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from winnow.errors import UserError
from winnow.watching.line import progress_line
from winnow.watching.plan import Plan
from winnow.watching.watch import Watch


def interval(text: str) -> float:
    """Seconds between two lines, 0 for none, as WINNOW_PROGRESS_SECONDS gives them.

    Raises:
        UserError: not such a number.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < threading.TIMEOUT_MAX:
        raise UserError(
            "WINNOW_PROGRESS_SECONDS",
            repr(text),
            "seconds between two lines, 0 for none",
            "correct the variable",
        )
    return seconds


def lines(watch: Watch, wait: Callable[[], bool | None]) -> Iterator[str]:
    """Yield a line after each wait that brought something new, until `wait` says that it is over."""
    last = ""
    while not wait():
        watch.look()
        news, line = progress_line(watch)
        if news != last:
            last = news
            yield line


def follow_in_background(run_dir: Path, plan: Callable[[], Plan], seconds: float) -> None:
    """Write the plan of a run; print its progress to stderr every so many seconds, 0 for never.

    By a thread, so that it ends with Snakemake however that ends. What goes wrong is told once, ends it,
    and leaves the run alone.
    """

    def follow(plan: Plan) -> None:
        try:
            for line in lines(Watch(run_dir, plan), lambda: time.sleep(seconds)):
                _tell(line)
        except Exception as error:
            _tell_the_end(error)

    try:
        made = plan()
    except Exception as error:
        _tell_the_end(error)
        return
    if seconds:
        threading.Thread(target=follow, args=(made,), name="progress", daemon=True).start()


def _tell_the_end(error: Exception) -> None:
    _tell(f"no progress lines from here on ({type(error).__name__}: {error}); the run goes on")


def _tell(line: str) -> None:
    # In one piece, for others write here too.
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
