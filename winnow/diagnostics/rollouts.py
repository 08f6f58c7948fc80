"""Rollouts prompt by prompt, in the format of the rollout error distribution."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from winnow import jsonl
from winnow.records import NOT_GENERATED
from winnow.scoring.answers import extract_reference, parse_number
from winnow.selection.groups import Group

FILENAME = "reject_sampling_results.json"


def results(groups: Iterable[Group], scorer: str) -> Iterator[dict[str, Any]]:
    """One object a prompt, by the errors that a scorer gave.

    A rollout is valid if a number was read in it: a parse failure has no error. `min_error` and
    `best_response` are null for a prompt without a valid rollout; of equal errors the first counts. The id
    stands beside the problem, for texts are no keys.
    """
    for group in groups:
        valid, best = _valid(group, scorer)
        yield {
            "id": group.prompt.id,
            "problem": problem(group.prompt.metadata, group.prompt.messages),
            "ground_truth": _ground_truth(group.prompt.reference),
            "min_error": None if best is None else _error(best, scorer),
            "num_valid_rollouts": len(valid),
            "num_total_rollouts": len(group.completions),
            "best_response": None
            if best is None
            else {
                "response": best["text"],
                "pred_value": predicted(
                    best["scores"][scorer]["detail"], group.prompt.reference, _error(best, scorer)
                ),
                "error": _error(best, scorer),
            },
            "all_errors": [_error(row, scorer) for row in valid],
        }


def write_results(path: Path, groups: Iterable[Group], scorer: str) -> None:
    """Write them as one JSON list, a prompt a line, in constant memory."""
    with jsonl.replacing(path) as file:
        first = True
        for row in results(groups, scorer):
            file.write((b"[\n" if first else b",\n") + orjson.dumps(row))
            first = False
        file.write(b"[]\n" if first else b"\n]\n")


def made_of(row: dict[str, Any], group: Group) -> list[str]:
    """The completions that an object was made of, as far as they have an error, the best response first.

    All of the prompt's where none has an error; none at all where the object is of other completions.
    """
    for scorer in dict.fromkeys(name for each in group.completions for name in each["scores"]):
        if orjson.loads(orjson.dumps(next(results([group], scorer)))) == row:
            valid, best = _valid(group, scorer)
            ranked = sorted(valid, key=lambda each: each is not best)
            return [str(each["id"]) for each in ranked or group.completions]
    return []


def _valid(group: Group, scorer: str) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The rollouts that have an error, and the one with the smallest."""
    valid = [row for row in group.completions if _error(row, scorer) is not None]
    return valid, min(valid, key=lambda row: row["scores"][scorer]["value"], default=None)


def problem(metadata: dict[str, Any], messages: list[dict[str, Any]]) -> str:
    """The data set's own `problem`, or else what the user asked last."""
    found = metadata.get("problem")
    if isinstance(found, str):
        return found
    return next((str(each["content"]) for each in reversed(messages) if each["role"] == "user"), "")


def predicted(answer: str, reference: str | None, error: float | None) -> float | None:
    """The number in an answer, on the scale on which its error was measured: 50 % is 0.5 beside 0.45."""
    number, told = _read(answer), extract_reference(reference or "")
    expected = _read(told)
    if number is None or expected is None or error is None or ("%" in answer) == ("%" in told):
        return number
    # Of equally good ones the first: the number as it stands.
    return min((number, number / 100, number * 100), key=lambda each: abs(abs(each - expected) - error))


def _error(row: dict[str, Any], scorer: str) -> float | None:
    if row["finish_reason"] in NOT_GENERATED or scorer not in row["scores"]:
        return None
    value = row["scores"][scorer]["value"]
    return None if value is None else float(value)


def _ground_truth(reference: str | None) -> float | str | None:
    found = None if reference is None else _read(extract_reference(reference))
    return reference if found is None else found


def _read(text: str) -> float | None:
    found = parse_number(text)
    return found if found is not None and math.isfinite(found) else None
