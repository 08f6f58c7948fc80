"""The columns that the diagnostics need of scored completions: numbers only, no texts."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from winnow.diagnostics.majority import vote
from winnow.diagnostics.rollouts import predicted
from winnow.errors import UserError
from winnow.records import NOT_GENERATED, Prompt
from winnow.scoring.answers import extract_reference, parse_number
from winnow.selection.groups import Group

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
NAN = float("nan")


@dataclass(frozen=True)
class Completions:
    """One arm's completions as columns: one entry for each completion that a model produced.

    Attributes:
        n: samples of each prompt that were looked at.
        prompts: how many prompts there are, those without any completion included.
        prompt: the index of each completion's prompt.
        passed: whether the scorer passed it.
        tokens: its length.
        cut: whether it was cut off at the longest length (finish reason `length`).
        error: the error scorer's value, NaN where it has none; None if nothing was scored by it.
        within: whether the error scorer passed it: its error is within the tolerance.
        prediction: the number that the completion stated, on its reference's scale; NaN where unknown.
        reference: for each prompt, its reference as a number, NaN where it is none.
        majority: for each prompt, 1 if the answer that most of its completions state passed, else 0; NaN
            where nothing was generated.
        ties: prompts in which another answer is stated as often.
        without_value: for each scorer, completions of which it has no value: parse failures, where it reads
            an answer.
    """

    n: int
    prompts: int
    prompt: Integers
    passed: Booleans
    tokens: Integers
    cut: Booleans
    error: Floats | None
    within: Booleans
    prediction: Floats
    reference: Floats
    majority: Floats
    ties: int
    without_value: Mapping[str, int]

    @property
    def generated(self) -> int:
        """How many completions a model produced."""
        return len(self.prompt)

    def per_prompt(self, column: Booleans | None = None) -> Integers:
        """How many completions each prompt has; with a column, those for which it is true."""
        members = self.prompt if column is None else self.prompt[column]
        return np.bincount(members, minlength=self.prompts).astype(np.int64)


def collect(groups: Iterable[Group], n: int, scorer: str, error_scorer: str) -> Completions:
    """Read the groups once; memory grows by some fifty bytes a completion.

    Raises:
        UserError: no prompts, a completion without the scorer's verdict, or the error scorer's in
            some completions only.
    """
    prompt, tokens = array("q"), array("q")
    passed, cut, within = array("b"), array("b"), array("b")
    error, prediction, reference = array("d"), array("d"), array("d")
    majorities = array("d")
    with_error = ties = 0
    without_value: Counter[str] = Counter()
    for index, group in enumerate(groups):
        reference.append(_reference(group.prompt))
        voted, tied = vote(group.completions, scorer)
        majorities.append(voted)
        ties += tied
        for row in group.completions:
            if row["finish_reason"] in NOT_GENERATED:
                continue
            prompt.append(index)
            tokens.append(row["completion_tokens"])
            cut.append(row["finish_reason"] == "length")
            passed.append(_verdict(row, scorer)["passed"])
            for name, said in row["scores"].items():
                without_value[name] += said["value"] is None
            found = row["scores"].get(error_scorer)
            with_error += found is not None
            value = None if found is None else found["value"]
            error.append(NAN if value is None else value)
            within.append(found is not None and found["passed"])
            stated = None if value is None else predicted(found["detail"], group.prompt.reference, value)
            prediction.append(NAN if stated is None else stated)
    if not reference:
        raise UserError("--prompts", "no prompts", "at least one prompt", "check the shards")
    if with_error not in (0, len(prompt)):
        raise UserError(
            "--scored",
            f"{with_error:,} of {len(prompt):,} completions have a score of {error_scorer!r}",
            "all of them, or none",
            "score every block with the same scorers",
        )
    return Completions(
        n=n,
        prompts=len(reference),
        prompt=np.array(prompt, np.int64),
        passed=np.array(passed, np.bool_),
        tokens=np.array(tokens, np.int64),
        cut=np.array(cut, np.bool_),
        error=np.array(error, np.float64) if with_error else None,
        within=np.array(within, np.bool_),
        prediction=np.array(prediction, np.float64),
        reference=np.array(reference, np.float64),
        majority=np.array(majorities, np.float64),
        ties=ties,
        without_value=without_value,
    )


def _verdict(row: dict[str, Any], scorer: str) -> dict[str, Any]:
    found: dict[str, Any] | None = row["scores"].get(scorer)
    if found is None:
        raise UserError(
            f"completion {row['id']}",
            f"no score of {scorer!r} (it has {', '.join(row['scores']) or 'none'})",
            "the scorer whose verdict counts",
            "score with it, or name another by --scorer",
        )
    return found


def _reference(prompt: Prompt) -> float:
    return NAN if prompt.reference is None else _number(extract_reference(prompt.reference))


def _number(text: str | None) -> float:
    number = None if text is None else parse_number(text)
    return NAN if number is None else number
