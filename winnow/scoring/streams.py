"""Pair each completion with its prompt's reference, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from winnow import jsonl
from winnow.errors import UserError
from winnow.records import NOT_GENERATED
from winnow.scoring.registry import Scorer


def scored(
    completions: str | Path, prompts: Iterable[str | Path], scorers: Iterable[Scorer]
) -> Iterator[dict[str, Any]]:
    """Yield each completion's row with its `scores` added.

    Args:
        completions: a completions file, its rows in the order of the prompts.
        prompts: the prompt shards, in the order in which the completions follow them.
        scorers: what to score with.

    Raises:
        UserError: a row that is not a completion, or one whose prompt is not there or out of order.
    """
    scorers = list(scorers)
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
        row["scores"] = _scores(scorers, row, text, reference)
        yield row


def _scores(scorers: list[Scorer], row: dict[str, Any], text: str, reference: str | None) -> dict[str, Any]:
    if row.get("finish_reason") in NOT_GENERATED:
        detail = f"not generated: {row.get('detail') or row['finish_reason']}"
        return {
            s.name: {"value": None, "passed": False, "detail": detail, "version": s.version} for s in scorers
        }
    scores = {}
    for scorer in scorers:
        score = scorer.score(text, reference)
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
