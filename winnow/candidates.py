"""Completions of one model, prompt by prompt, to be resampled; see `resampling`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from winnow import jsonl
from winnow.errors import UserError
from winnow.records import NOT_GENERATED, Completion, Prompt
from winnow.serving.failed import Failed

DRAWN_BY = ("policy", "teacher")


@dataclass(frozen=True)
class Candidates:
    """Of one prompt.

    Attributes:
        prompt: what was asked.
        drawn: completions with their token ids.
        lost: those that nobody drew, by their ids.
    """

    prompt: Prompt
    drawn: list[Completion]
    lost: dict[str, Failed]


def read_candidates(path: str | Path, prompts: Iterator[Prompt]) -> list[Candidates]:
    """The candidates of each prompt, in the order of the prompts.

    Raises:
        UserError: completions without token ids, of several arms, of neither policy nor teacher, or of
            prompts that are not there.
    """
    found = [_group(path, *group) for group in _groups(path, prompts)]
    arms = {(each.step, each.alpha, each.model) for group in found for each in group.drawn}
    if len(arms) > 1 or any(alpha not in DRAWN_BY for _, alpha, _ in arms):
        told = "; ".join(f"step {step}, alpha {alpha}, model {model}" for step, alpha, model in sorted(arms))
        raise UserError(
            path,
            f"completions of {told}",
            "one arm of alpha policy or teacher",
            "pass what generate.py --alpha_method teacher (or policy) has drawn",
        )
    return found


Numbered = list[tuple[int, Completion]]


def _groups(path: str | Path, prompts: Iterator[Prompt]) -> Iterator[tuple[Prompt, Numbered]]:
    rows = (
        (number, Completion.from_row(row, f"{path}, line {number}")) for number, row in jsonl.numbered(path)
    )
    for prompt_id, group in groupby(rows, key=lambda each: each[1].prompt_id):
        members = list(group)
        prompt = next((prompt for prompt in prompts if prompt.id == prompt_id), None)
        if prompt is None:
            raise UserError(
                f"{path}, line {members[0][0]}",
                f"prompt {prompt_id!r} is not in the prompt files, or comes in another order there",
                "completions in the order of their prompts",
                "pass the prompt shard that these completions were generated from",
            )
        yield prompt, members


def _group(path: str | Path, prompt: Prompt, members: Numbered) -> Candidates:
    lost = {
        each.id: Failed(each.finish_reason, each.detail or each.finish_reason)
        for _, each in members
        if each.finish_reason in NOT_GENERATED
    }
    for number, each in members:
        if each.id not in lost and not each.token_ids:
            raise UserError(
                f"{path}, line {number}",
                f"completion {each.id} without token_ids",
                "token ids: a text can be cut into tokens in several ways",
                "draw with generate.py --save_token_ids",
            )
    return Candidates(prompt, [each for _, each in members if each.id not in lost], lost)
