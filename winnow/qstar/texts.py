"""Texts in, texts out: the sampler as a Python library's users call it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from winnow.errors import UserError
from winnow.qstar.diagnostics import METRICS, Values
from winnow.qstar.engine import Drawn
from winnow.records import Message, Prompt, completion_seed

Text = str | Sequence[Message]
"""A user's message, or a whole conversation."""


@dataclass(frozen=True)
class Generated:
    """Completions, n in a row for each prompt, in the order of the prompts.

    Attributes:
        texts: of the completions.
        ids: their token ids, the end-of-sequence token included where it was drawn.
        finish_reasons: `stop`, `length`, `failed`, or `prompt_too_long`.
        alpha_values: α of each token, [completions, tokens]; NaN beyond a completion's own tokens.
            None where one model runs.
        ess_ratios: ess_θ / ess_t of each token, likewise.
        diagnostics: every metric by its name, likewise; empty unless asked for.
    """

    texts: list[str]
    ids: list[list[int]]
    finish_reasons: list[str]
    alpha_values: Tensor | None
    ess_ratios: Tensor | None
    diagnostics: dict[str, Tensor]


def prompts_of(
    prompts: Sequence[Text],
    theta_prompts: Sequence[Text] | None,
    teacher_system_prompt: str | None,
    theta_system_prompt: str | None,
) -> list[Prompt]:
    """What each model sees; without `theta_prompts`, both see the same.

    Raises:
        UserError: the two lists are of unequal lengths.
    """
    if theta_prompts is not None and len(theta_prompts) != len(prompts):
        raise UserError(
            "theta_prompts",
            f"{len(theta_prompts)} prompts for the student, {len(prompts)} for the teacher",
            "one of each for every completion",
            "give lists of one length, in one order",
        )
    students = prompts if theta_prompts is None else theta_prompts
    return [
        Prompt(
            id=str(index),
            messages=_conversation(student, theta_system_prompt),
            teacher_messages=_conversation(teacher, teacher_system_prompt),
        )
        for index, (student, teacher) in enumerate(zip(students, prompts, strict=True))
    ]


def _conversation(text: Text, system: str | None) -> list[Message]:
    turns: list[Message] = [{"role": "user", "content": text}] if isinstance(text, str) else list(text)
    return turns if system is None else [{"role": "system", "content": system}, *turns]


def seeds_of(prompt: Prompt, count: int, seed: int) -> list[tuple[str, int]]:
    """(id, seed) of each sample of a prompt."""
    return [(f"{prompt.id}/{sample}", completion_seed(seed, prompt.id, sample)) for sample in range(count)]


def collect(
    ids: Sequence[str], drawn: dict[str, Drawn], texts: dict[str, str], all_metrics: bool
) -> Generated:
    """Put completions in order; those that are not in `drawn` had prompts without room."""
    found = [drawn.get(key) for key in ids]
    tables = [None if each is None else each.metrics for each in found]
    columns = _padded(tables) if any(table is not None for table in tables) else {}
    return Generated(
        texts=[texts.get(key, "") for key in ids],
        ids=[[] if each is None else each.token_ids for each in found],
        finish_reasons=["prompt_too_long" if each is None else each.finish_reason for each in found],
        alpha_values=columns.get("alpha"),
        ess_ratios=columns.get("ess_ratio"),
        diagnostics=columns if all_metrics else {},
    )


def _padded(tables: list[Values | None]) -> dict[str, Tensor]:
    longest = max(len(table) for table in tables if table is not None)
    whole = torch.full((len(tables), longest, len(METRICS)), torch.nan, dtype=torch.float64)
    for index, table in enumerate(tables):
        if table is not None:
            whole[index, : len(table)] = torch.from_numpy(table)
    return {name: whole[:, :, place] for place, name in enumerate(METRICS)}
