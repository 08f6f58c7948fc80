"""What failed, and where its log is: the message that a run ends with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

LINES = 12
"""Of a log that are shown, at most."""

WIDTH = 400
"""Of a line that is shown, at most."""

BYTES = 64_000
"""Of a log that are read, from its end."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that failed.

    Attributes:
        rule: its name.
        wildcards: by name.
        log: the path of its log, "" for none.
    """

    rule: str
    wildcards: Mapping[str, str]
    log: str


def report(failures: Iterable[Failure], with_logs: bool, since: float = 0.0) -> str:
    """The failed jobs, each with its log.

    Args:
        failures: in any order.
        with_logs: whether to show the end of each log; not, where it was shown already.
        since: when the run began, in seconds since the epoch; an older log is of an earlier run.
    """
    found = sorted(failures, key=lambda failure: failure.log)
    head = f"{len(found)} job{'s' if len(found) != 1 else ''} failed:"
    return "\n".join([head, *(line for failure in found for line in _told(failure, with_logs, since))])


def _told(failure: Failure, with_logs: bool, since: float) -> list[str]:
    wildcards = "".join(f" {name}={value}" for name, value in failure.wildcards.items())
    head = f"  {failure.rule}{wildcards}"
    if not failure.log:
        return [head, "    its rule keeps no log"]
    shown = end_of(Path(failure.log), since) if with_logs else []
    return [head, f"    log: {failure.log}", *(f"      {line[:WIDTH]}" for line in shown)]


def end_of(log: Path, since: float = 0.0) -> list[str]:
    """What a log says of a failure: the program's own error message, else its last lines."""
    if not log.exists() or log.stat().st_mtime < since:
        return ["(not written: the program never began; on a cluster, its own log of the job may say why)"]
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - BYTES, 0))
        lines = file.read().decode("utf-8", "replace").rstrip().splitlines()
    if not lines:
        return ["(empty: the program was ended before it said anything)"]
    errors = [index for index, line in enumerate(lines) if line.startswith("error: ")]
    if not errors:
        return lines[-LINES:]
    message = [lines[errors[-1]]]
    for line in lines[errors[-1] + 1 :]:
        if not line.startswith("  "):
            break
        message.append(line)
    return message[:LINES]
