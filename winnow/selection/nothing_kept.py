"""A selection that kept nothing ends well; what builds on it says which filter took how many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from winnow import jsonl
from winnow.errors import UserError
from winnow.selection.decision import ACCEPTED, REJECTED


def require_accepted(accepted: str | Path) -> None:
    """Check that a selection kept something.

    Args:
        accepted: its accepted.jsonl; statistics.json beside it tells what became of all.

    Raises:
        UserError: it kept nothing, or there is no such file.
    """
    if next(jsonl.numbered(accepted), None) is not None:
        return
    beside = Path(accepted).with_name("statistics.json")
    told = f". What took how many:\n{taken(jsonl.read_json(beside))}" if beside.is_file() else ""
    raise UserError(
        accepted,
        f"no completions: the selection kept nothing{told}",
        "at least one accepted completion",
        "loosen the filter that took most, or draw more completions; docs/selection.md explains each reason",
    )


def anything_kept(statistics: dict[str, Any]) -> bool:
    """Whether a selection kept a completion, or a reference in place of one."""
    return bool(statistics["accepted"] or statistics.get("references", {}).get("accepted"))


def _lost(outcomes: dict[str, int]) -> dict[str, int]:
    return {
        key.removeprefix(f"{REJECTED}: "): count
        for key, count in outcomes.items()
        if not key.startswith(f"{ACCEPTED}: ")
    }


def taken(statistics: dict[str, Any]) -> str:
    """Which reason took how many, the most first: for a selection that kept nothing."""
    lost = _lost(statistics["outcomes"])
    references = statistics.get("references", {}).get("outcomes", {})
    lost |= {f"{reason} (references)": count for reason, count in _lost(references).items()}
    width = max(map(len, lost), default=0)
    ranked = sorted(lost.items(), key=lambda entry: -entry[1])
    return "\n".join(f"  {reason:<{width}} {count:>10,}" for reason, count in ranked)
