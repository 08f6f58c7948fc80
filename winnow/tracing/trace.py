"""The way of one completion through a run: each record with its file and line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from winnow import formats, jsonl
from winnow.arms import Arm
from winnow.errors import UserError
from winnow.records import completion_id, is_reference
from winnow.selection.decision import REFUSED
from winnow.tracing.find import Found, by_id, near
from winnow.tracing.made_of import rows_with
from winnow.tracing.rows import Row, rows_of
from winnow.tracing.run import Narrowed, Run
from winnow.tracing.sources import sources_of, there


@dataclass(frozen=True)
class Trace:
    """All that is known of a completion; None where a record is not there any more.

    Attributes:
        arm: in whose selection it was looked for.
        ledger: its line of the ledger: the rule that let it through, or why not.
        prompt, completion, scored, accepted: its records.
        models: role, hash and the manifest with that hash, or None.
        partner: the other member of its pair.
        examples: the rows of training data that hold it.
        reference: of a prompt's reference, which nobody drew: the scored completion beside which its scores
            stand.
    """

    arm: Arm
    ledger: Found
    prompt: Found | None
    completion: Found | None
    scored: Found | None
    accepted: Found | None
    models: list[tuple[str, str, Path | None]]
    partner: str | None
    examples: list[Row]
    reference: Found | None = None


def trace(run: Run, wanted: Narrowed, completion: str) -> list[Trace]:
    """Its way through each of the arms in which it was selected or rejected.

    Raises:
        UserError: no ledger of these arms has it; the message names ids that are like it.
    """
    arms = run.arms(wanted)
    found = [(arm, by_id([run.selected(arm, "ledger.jsonl")], completion)) for arm in arms]
    known = [(arm, entry) for arm, entry in found if entry is not None]
    if not known:
        like = near([run.selected(arms[-1], "ledger.jsonl")], completion)
        told = f" (near it: {', '.join(like)})" if like else ""
        raise UserError(
            f"completion {completion!r}",
            f"no ledger has it{told}; looked at {', '.join(arm.path for arm in arms)}",
            "the id of a completion: <prompt>/<sample>, or <prompt>/reference where these were candidates",
            "correct the id, or name another arm",
        )
    return [_along(run, arm, completion, entry) for arm, entry in known]


def _along(run: Run, arm: Arm, completion: str, entry: Found) -> Trace:
    of_reference = is_reference(entry[1])
    drawn = by_id(run.blocks("completions", arm), completion)
    scored = by_id(run.blocks("scored", arm), completion)
    accepted = by_id([run.selected(arm, "accepted.jsonl")], completion)
    row = (scored or drawn or accepted or (None, {}))[1]
    prompt_id = str(row.get("prompt_id", completion.rpartition("/")[0]))
    prompt = by_id(run.prompts(), prompt_id)
    return Trace(
        arm=arm,
        ledger=entry,
        prompt=prompt,
        completion=drawn,
        scored=scored,
        accepted=accepted,
        models=_models(run, row),
        partner=_partner(run, arm, accepted) if accepted and "pair" in accepted[1] else None,
        examples=list(_examples(run, arm, completion)),
        reference=_scored_beside(run, arm, prompt_id) if of_reference else None,
    )


def _scored_beside(run: Run, arm: Arm, prompt_id: str) -> Found | None:
    """The first completion of a prompt with the scores of its reference."""
    for sample in range(arm.n):
        found = by_id(run.blocks("scored", arm), completion_id(prompt_id, sample))
        if found is not None and found[1].get("reference_scores"):
            return found
    return None


def _models(run: Run, row: dict[str, Any]) -> list[tuple[str, str, Path | None]]:
    """Who drew it, by hash. With α = teacher it is the teacher alone, which stands as the model."""
    hashes = {role: str(row[role]) for role in ("model", "teacher") if row.get(role)}
    known = {str(jsonl.read_json(path).get("model")): path for path in run.manifests()} if hashes else {}
    return [(role, found, known.get(found)) for role, found in hashes.items()]


def _partner(run: Run, arm: Arm, accepted: Found) -> str | None:
    """The other member of its pair, which stands beside it."""
    (path, line), row = accepted
    at = line - 1 if row["role"] == REFUSED else line + 1
    return next((str(other["id"]) for number, other in jsonl.numbered(path) if number == at), None)


def _examples(run: Run, arm: Arm, completion: str) -> Iterator[Row]:
    """The rows of training data that it is in, as far as the records behind a file are still there."""
    for path in run.training_data(arm):
        fmt = formats.of_file(path.name)
        if there(run, arm, fmt):
            yield from rows_with(completion, rows_of(path), fmt, sources_of(run, arm, fmt))
