"""Pair each completion with its prompt's reference, in constant memory."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from winnow import jsonl
from winnow.errors import UserError
from winnow.records import NOT_GENERATED
from winnow.scoring.plugin import Raised
from winnow.scoring.score import Scorer

log = logging.getLogger(__name__)

MOST_RAISED = 0.1
"""A scorer that raises on a larger share of a file's completions is at fault, not the completions."""


def scored(
    completions: str | Path, prompts: Iterable[str | Path], scorers: Iterable[Scorer]
) -> Iterator[dict[str, Any]]:
    """Yield each completion's row with its `scores` added.

    Args:
        completions: a completions file, its rows in the order of the prompts.
        prompts: the prompt shards, in the order in which the completions follow them.
        scorers: what to score with.

    Raises:
        UserError: a row that is not a completion, or one whose prompt is not there or out of order; a
            plug-in that returns no score, or raises on too many of the completions.
    """
    tallies = [_Tally(scorer) for scorer in scorers]
    references = _references(prompts)
    current, reference = "", None
    for number, row in jsonl.numbered(completions):
        where = f"{completions}, line {number}"
        prompt_id, text = row.get("prompt_id"), row.get("text")
        if not isinstance(prompt_id, str) or not isinstance(text, str):
            raise UserError(
                where,
                "not a completion: 'prompt_id' or 'text' is missing",
                "a line that generate.py wrote",
                "pass a completions file",
            )
        if prompt_id != current:
            for current, reference in references:  # noqa: B007 (the loop advances both)
                if current == prompt_id:
                    break
            else:
                raise UserError(
                    where,
                    f"prompt {prompt_id!r} is not in the prompt files, or comes in another order there",
                    "completions in the order of their prompts",
                    "pass the prompt shards that these completions were generated from, in order",
                )
        row["scores"] = _scores(tallies, row, where, reference)
        yield row
    for tally in tallies:
        tally.judge(completions)


@dataclass
class _Tally:
    """A scorer, and how often it raised."""

    scorer: Scorer
    scored: int = 0
    raised: int = 0
    first: str = ""

    def judge(self, completions: str | Path) -> None:
        """Tell of the completions on which the scorer raised.

        Raises:
            UserError: they are too many.
        """
        if not self.raised:
            return
        found = (
            f"scorer {self.scorer.name!r} raised on {self.raised:,} of {self.scored:,} completions, "
            f"first on {self.first}"
        )
        if self.raised > MOST_RAISED * self.scored:
            raise UserError(
                completions,
                found,
                f"a scorer that raises on no more than {MOST_RAISED:.0%} of them",
                "mend the scorer and run again: the completions are kept, only scoring is repeated",
            )
        log.warning("%s: %s; they have no value and did not pass", completions, found)


def _scores(tallies: list[_Tally], row: dict[str, Any], where: str, reference: str | None) -> dict[str, Any]:
    if row.get("finish_reason") in NOT_GENERATED:
        detail = f"not generated: {row.get('detail') or row['finish_reason']}"
        return {
            t.scorer.name: {"value": None, "passed": False, "detail": detail, "version": t.scorer.version}
            for t in tallies
        }
    scores = {}
    for tally in tallies:
        scorer = tally.scorer
        try:
            score = scorer.score(row["text"], reference)
        except UserError as error:
            raise error.at(f"{where}, completion {row.get('id')}") from error
        tally.scored += 1
        if isinstance(score, Raised):
            tally.raised += 1
            tally.first = tally.first or f"{row.get('id')}: {score.detail}"
        scores[scorer.name] = {
            "value": score.value,
            "passed": score.passed,
            "detail": score.detail,
            "version": scorer.version,
        }
    return scores


def _references(prompts: Iterable[str | Path]) -> Iterator[tuple[str, str | None]]:
    for path in prompts:
        for number, row in jsonl.numbered(path):
            if not isinstance(row.get("id"), str):
                raise UserError(
                    f"{path}, line {number}",
                    "not a prompt: 'id' is missing",
                    "a line that prompts.py wrote",
                    "pass a prompts file",
                )
            yield row["id"], row.get("reference")
