"""What a check found, how bad it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

OK, HINT, WARN, FAIL = "ok", "hint", "warn", "FAIL"
LEVELS = (OK, HINT, WARN, FAIL)
"""As it should be; something optional is missing; may go wrong; will go wrong."""

INDENT = " " * 6


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        level: one of `LEVELS`.
        check: what was looked at, in a word or two.
        found: what was found.
        mend: what the reader can do about it; empty where nothing is to be done.
    """

    level: str
    check: str
    found: str
    mend: str = ""


def lines(findings: Iterable[Finding]) -> list[str]:
    """The findings for a terminal: a line each, and one more for the mend."""
    findings = list(findings)
    width = max((len(finding.check) for finding in findings), default=0)
    text = []
    for finding in findings:
        text.append(f"{finding.level:<6}{finding.check:<{width}}  {finding.found}")
        if finding.mend:
            text.append(f"{INDENT}{'':<{width}}  to mend: {finding.mend}")
    return text


def verdict(findings: Iterable[Finding]) -> str:
    """The last line of the report: how many findings of each kind are not ``ok``."""
    levels = [finding.level for finding in findings]
    fails, warnings = levels.count(FAIL), levels.count(WARN)
    told = [f"{fails} to mend"] if fails else []
    told += [f"{warnings} warning{'s' if warnings > 1 else ''}"] if warnings else []
    return ", ".join(told) or "all is well"


def listing(names: Iterable[str], most: int = 4) -> str:
    """Names in a sentence, no more than ``most`` of them: ``a, b, c and 9 more``."""
    names = list(names)
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
