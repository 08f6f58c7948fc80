"""Texts in, texts out: the sampler as a Python library's users call it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
        details: why a completion failed, or has none; None where there is nothing to say.
    """

    texts: list[str]
    ids: list[list[int]]
    finish_reasons: list[str]
    alpha_values: Tensor | None
    ess_ratios: Tensor | None
    diagnostics: dict[str, Tensor]
    details: list[str | None]


def prompts_of(
    prompts: Sequence[Text],
    theta_prompts: Sequence[Text] | None,
    teacher_system_prompt: str | None,
    theta_system_prompt: str | None,
) -> list[Prompt]:
    """What each model sees; without `theta_prompts`, both see the same.

    Raises:
        UserError: the two lists are of unequal lengths, or one holds what is no prompt.
    """
    _check("prompts", prompts)
    if theta_prompts is not None:
        _check("theta_prompts", theta_prompts)
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


def _check(name: str, prompts: Sequence[Text]) -> None:
    if isinstance(prompts, str):
        raise UserError(name, "one string", "a list of prompts", f"put it into a list: {name}=[...]")
    for index, prompt in enumerate(prompts):
        found = _fault(prompt)
        if found is not None:
            raise UserError(
                f"{name}[{index}]",
                found,
                "a text that is not empty, or a list of messages with role and content",
                "correct it, or leave it out",
            )


def _fault(prompt: Any) -> str | None:
    """What is wrong with a prompt, which may be anything."""
    if isinstance(prompt, str):
        return None if prompt.strip() else "an empty prompt"
    if not isinstance(prompt, Sequence) or not all(isinstance(turn, dict) for turn in prompt):
        return f"{type(prompt).__name__}: {str(prompt)[:40]!r}"
    # A turn that calls a tool need not say anything.
    wanted = [("role", "content") if "tool_calls" not in turn else ("role",) for turn in prompt]
    lacks = [key for turn, keys in zip(prompt, wanted, strict=True) for key in keys if turn.get(key) is None]
    return "an empty conversation" if not prompt else f"a message without {lacks[0]!r}" if lacks else None


def _conversation(text: Text, system: str | None) -> list[Message]:
    turns: list[Message] = [{"role": "user", "content": text}] if isinstance(text, str) else list(text)
    return turns if system is None else [{"role": "system", "content": system}, *turns]


def seeds_of(prompt: Prompt, count: int, seed: int) -> list[tuple[str, int]]:
    """(id, seed) of each sample of a prompt."""
    return [(f"{prompt.id}/{sample}", completion_seed(seed, prompt.id, sample)) for sample in range(count)]


def collect(
    ids: Sequence[str],
    drawn: dict[str, Drawn],
    texts: dict[str, str],
    too_long: dict[str, str],
    mixed: bool,
    all_metrics: bool,
) -> Generated:
    """Put completions in order; those of prompts without room have their reason in `too_long`."""
    found = [drawn.get(key) for key in ids]
    # Where every completion failed, a mixture's tables have no column, and are tables still.
    columns = _padded([None if each is None else each.metrics for each in found]) if mixed else {}
    return Generated(
        texts=[texts.get(key, "") for key in ids],
        ids=[[] if each is None else each.token_ids for each in found],
        finish_reasons=["prompt_too_long" if each is None else each.finish_reason for each in found],
        alpha_values=columns.get("alpha"),
        ess_ratios=columns.get("ess_ratio"),
        diagnostics=columns if all_metrics else {},
        details=[
            too_long.get(key) if each is None else each.detail for key, each in zip(ids, found, strict=True)
        ],
    )


def _padded(tables: list[Values | None]) -> dict[str, Tensor]:
    longest = max((len(table) for table in tables if table is not None), default=0)
    whole = torch.full((len(tables), longest, len(METRICS)), torch.nan, dtype=torch.float64)
    for index, table in enumerate(tables):
        if table is not None:
            whole[index, : len(table)] = torch.from_numpy(table)
    return {name: whole[:, :, place] for place, name in enumerate(METRICS)}
