"""The totals of a selection, checked against themselves and against the ledger that they count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import isclose
from pathlib import Path
from typing import Any

from winnow import jsonl
from winnow.errors import UserError
from winnow.records import is_reference
from winnow.selection.rules import ACCEPTED, NOT_DRAWN

COUNTS = (
    "prompts", "n", "completions", "generated", "passed", "eligible", "accepted",
    "prompts_with_accepted", "completion_tokens",
)  # fmt: skip
OF_REFERENCES = ("candidates", "without_reference", "not_scored", "eligible", "accepted")
MEND = "run the pipeline again, so that select.py writes these files anew; then publish"


def read_totals(path: Path) -> dict[str, Any]:
    """The statistics of a selection, which have to add up.

    Raises:
        UserError: a count is missing or is none, or two of them contradict each other.
    """
    totals = jsonl.read_json(path)
    if not isinstance(totals, dict) or not isinstance(totals.get("outcomes"), dict):
        raise UserError(path, "no statistics of a selection", "statistics.json, as select.py writes it", MEND)
    counts = {key: totals.get(key) for key in COUNTS} | {
        f"outcomes: {reason}": count for reason, count in totals["outcomes"].items()
    }
    _check_counts(path, counts)
    _check_references(path, totals.get("references"))
    for found, expected in contradictions(totals):
        raise UserError(path, f"the statistics do not add up: {found}", expected, MEND)
    return totals


def _check_counts(path: Path, counts: Mapping[str, Any]) -> None:
    for key, value in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise UserError(path, f"{key!r} is {value!r}", "a whole number of at least 0", MEND)


def contradictions(totals: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(what is found, what should be) for all that does not fit together."""
    completions, outcomes = totals["completions"], totals["outcomes"]
    entered, accepted = sum(outcomes.values()), outcome_total(outcomes, ACCEPTED)
    not_drawn = outcome_total(outcomes, NOT_DRAWN)
    asked = totals["prompts"] * totals["n"]
    share = totals["eligible"] / completions if completions else None
    given = totals.get("yield")
    same_share = given is share or (
        share is not None and isinstance(given, (int, float)) and isclose(given, share, rel_tol=1e-9)
    )
    references = totals.get("references", {})
    checks = (
        (completions == asked, f"{completions} completions", f"prompts × n = {asked}"),
        (entered == completions, f"the outcomes sum to {entered}", f"{completions} completions"),
        (
            totals["generated"] == completions - not_drawn,
            f"{totals['generated']} generated",
            f"{completions - not_drawn}: all that are not '{NOT_DRAWN}'",
        ),
        (
            totals["accepted"] == accepted,
            f"{totals['accepted']} accepted",
            f"{accepted}, the sum of the outcomes '{ACCEPTED}'",
        ),
        (
            totals["accepted"] <= totals["eligible"] <= completions,
            f"{totals['eligible']} eligible",
            f"at least {totals['accepted']} and at most {completions}",
        ),
        (totals["passed"] <= totals["generated"], f"{totals['passed']} passed", "at most what was generated"),
        (
            totals["prompts_with_accepted"]
            <= min(totals["prompts"], totals["accepted"] + references.get("accepted", 0)),
            f"{totals['prompts_with_accepted']} prompts with accepted completions",
            "at most the prompts, and at most the accepted completions",
        ),
        *_of_references(references, totals["prompts"]),
        (same_share, f"a yield of {given}", f"eligible / completions = {share}"),
    )
    return [(found, expected) for holds, found, expected in checks if not holds]


def _of_references(references: Mapping[str, Any], prompts: int) -> list[tuple[bool, str, str]]:
    """The checks of the references that were candidates; none where there were none."""
    if not references:
        return []
    entered, candidates = sum(references["outcomes"].values()), references["candidates"]
    accepted = outcome_total(references["outcomes"], ACCEPTED)
    told = candidates + references["without_reference"] + references["not_scored"]
    return [
        (entered == candidates, f"outcomes of {entered} references", f"{candidates} candidates"),
        (told == prompts, f"{told} prompts with and without a reference", f"{prompts} prompts"),
        (
            references["accepted"] == accepted,
            f"{references['accepted']} accepted references",
            f"{accepted}, the sum of their outcomes '{ACCEPTED}'",
        ),
        (
            accepted <= references["eligible"] <= candidates,
            f"{references['eligible']} eligible references",
            f"at least {accepted} and at most {candidates}",
        ),
    ]


def _check_references(path: Path, references: Any) -> None:
    """Check that what is told of references are counts; None where they were no candidates.

    Raises:
        UserError: a count is missing or is none.
    """
    if references is None:
        return
    if not isinstance(references, dict) or not isinstance(references.get("outcomes"), dict):
        raise UserError(
            path, "'references' without outcomes", "statistics.json, as select.py writes it", MEND
        )
    _check_counts(
        path,
        {f"references: {key}": references.get(key) for key in OF_REFERENCES}
        | {f"references: {reason}": count for reason, count in references["outcomes"].items()},
    )


def outcome_total(outcomes: Mapping[str, int], outcome: str) -> int:
    """The completions of an outcome, over its reasons."""
    return sum(count for reason, count in outcomes.items() if reason.partition(": ")[0] == outcome)


def check_ledger(path: Path, totals: Mapping[str, Any]) -> None:
    """Count the ledger again, in constant memory.

    Raises:
        UserError: it does not have what the statistics say.
    """
    found = Counter(
        (f"{row.get('outcome')}: {row.get('reason')}", is_reference(row)) for row in jsonl.rows(path)
    )
    told = {(reason, False): count for reason, count in totals["outcomes"].items()}
    references = totals.get("references", {}).get("outcomes", {})
    told |= {(reason, True): count for reason, count in references.items()}
    for key in sorted(found.keys() | told.keys()):
        if found[key] != told.get(key, 0):
            raise UserError(
                path,
                f"{found[key]} rows of {key[0]!r}{' of references' if key[1] else ''}",
                f"{told.get(key, 0)}, as statistics.json says",
                MEND,
            )
