"""What cannot be had of a server, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Failed:
    """A completion that cannot be drawn, or judged.

    Attributes:
        reason: a finish reason of `records.NOT_GENERATED`.
        detail: in words.
    """

    reason: str
    detail: str
