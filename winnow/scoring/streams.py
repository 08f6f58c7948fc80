"""Pair each completion with its prompt's reference, in constant memory."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from winnow import jsonl
from winnow.errors import UserError
from winnow.journal import Journal
from winnow.records import NOT_GENERATED
from winnow.scoring.plugin import Raised
from winnow.scoring.registry import is_text_scorer
from winnow.scoring.score import AnyScorer, Score, Unreferenced

log = logging.getLogger(__name__)

MOST_RAISED = 0.1
"""A scorer that raises on a larger share of a file's completions is at fault, not the completions."""


def scored(
    completions: str | Path,
    prompts: Iterable[str | Path],
    scorers: Iterable[AnyScorer],
    journal: Journal | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield each completion's row with its `scores` added.

    Args:
        completions: a completions file, its rows in the order of the prompts.
        prompts: the prompt shards, in the order in which the completions follow them.
        scorers: what to score with.
        journal: keeps what the costly ones say; what it has already is not asked again.

    Raises:
        UserError: a row that is not a completion, or one whose prompt is not there or out of order; a
            plug-in that returns no score, or raises on too many of the completions; references of which a
            scorer can use none.
    """
    tallies = [Tally(scorer) for scorer in scorers]
    rows = paired(completions, prompts)
    if all(is_text_scorer(tally.scorer) for tally in tallies):
        for where, row, prompt in rows:
            row["scores"] = _scores(tallies, row, where, prompt.get("reference"))
            yield row
    else:
        # Only now: most runs have cheap scorers alone.
        from winnow.scoring.windows import scored_in_windows

        yield from scored_in_windows(rows, tallies, journal)
    for tally in tallies:
        tally.judge(completions)


Paired = tuple[str, dict[str, Any], dict[str, Any]]
"""Where a completion stands (file and line), its row, and its prompt's row."""


def paired(completions: str | Path, prompts: Iterable[str | Path]) -> Iterator[Paired]:
    """Yield each completion with its prompt, in constant memory.

    Raises:
        UserError: a row that is not a completion, one whose prompt is not there or out of order, or one
            that stands there twice.
    """
    known = _prompts(prompts)
    current: str = ""
    prompt: dict[str, Any] = {}
    seen: dict[str, int] = {}
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
            for current, prompt in known:  # noqa: B007 (the loop advances both)
                if current == prompt_id:
                    break
            else:
                raise UserError(
                    where,
                    f"prompt {prompt_id!r} is not in the prompt files, or comes in another order there",
                    "completions in the order of their prompts",
                    "pass the prompt shards that these completions were generated from, in order",
                )
            seen = {}
        before = seen.setdefault(row["id"], number) if "id" in row else number
        if before != number:
            raise UserError(
                where,
                f"completion {row['id']!r} stands already in line {before}",
                "one line for each completion",
                "remove one of the two lines, or make the file again: generate.py writes each once",
            )
        yield where, row, prompt


@dataclass
class Tally:
    """A scorer, how often it raised, and how often it found no reference to compare with."""

    scorer: AnyScorer
    scored: int = 0
    raised: int = 0
    first: str = ""
    unreferenced: int = 0
    first_unreferenced: str = ""
    without_value: int = 0
    first_without: str = ""

    def count(self, completion: str, score: Score) -> None:
        """One more score."""
        self.scored += 1
        if score.value is None:
            self.without_value += 1
            self.first_without = self.first_without or f"{completion}: {score.detail}"
        if type(score) is Score:
            return
        if isinstance(score, Raised):
            self.raised += 1
            self.first = self.first or f"{completion}: {score.detail}"
        elif isinstance(score, Unreferenced):
            self.unreferenced += 1
            self.first_unreferenced = self.first_unreferenced or f"{completion}: {score.detail}"

    def judge(self, completions: str | Path) -> None:
        """Tell of the completions on which the scorer raised, and of those whose reference it cannot use.

        Raises:
            UserError: it raised on too many, or can use no reference at all.
        """
        if self.unreferenced:
            self._judge_references(completions)
        elif self.scored and self.without_value == self.scored:
            log.warning(
                "%s: scorer %r has no value for any of %s completions, first for %s",
                completions,
                self.scorer.name,
                f"{self.scored:,}",
                self.first_without,
            )
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

    def _judge_references(self, completions: str | Path) -> None:
        found = (
            f"scorer {self.scorer.name!r} can use no reference for {self.unreferenced:,} of {self.scored:,} "
            f"completions, first for {self.first_unreferenced}"
        )
        if self.unreferenced == self.scored:
            raise UserError(
                completions,
                found,
                "prompts with a reference that the scorer can compare with",
                "check data.response_field, or score with something that needs no reference",
            )
        log.warning("%s: %s; they have no value and did not pass", completions, found)


def as_row(score: Score, version: int) -> dict[str, Any]:
    """A score as it stands in the records."""
    row = {"value": score.value, "passed": score.passed, "detail": score.detail, "version": version}
    return row if score.answer_class is None else {**row, "answer_class": score.answer_class}


def not_generated(row: dict[str, Any]) -> Score | None:
    """The score of a completion that no model produced; None for the others."""
    if row.get("finish_reason") not in NOT_GENERATED:
        return None
    return Score(None, False, f"not generated: {row.get('detail') or row['finish_reason']}")


def _scores(tallies: list[Tally], row: dict[str, Any], where: str, reference: str | None) -> dict[str, Any]:
    if missing := not_generated(row):
        return {t.scorer.name: as_row(missing, t.scorer.version) for t in tallies}
    scores = {}
    for tally in tallies:
        score = text_score(tally, row, where, reference)
        scores[tally.scorer.name] = as_row(score, tally.scorer.version)
    return scores


def text_score(tally: Tally, row: dict[str, Any], where: str, reference: str | None) -> Score:
    """What a scorer of texts says of a completion, counted.

    Raises:
        UserError: a plug-in that returns no score, or cannot reach what it needs.
    """
    scorer = tally.scorer
    assert is_text_scorer(scorer)
    try:
        score = scorer.score(row["text"], reference)
    except UserError as error:
        raise error.at(f"{where}, completion {row.get('id')}") from error
    tally.count(str(row.get("id")), score)
    return score


def _prompts(prompts: Iterable[str | Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in prompts:
        for number, row in jsonl.numbered(path):
            if not isinstance(row.get("id"), str):
                raise UserError(
                    f"{path}, line {number}",
                    "not a prompt: 'id' is missing",
                    "a line that prompts.py wrote",
                    "pass a prompts file",
                )
            yield row["id"], row
