"""From the body of an answer to choices that can be trusted, or to what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

FINISHED = ("stop", "length")


class Unusable(Exception):
    """An answer that is none; the message says why. Asking again may help."""


@dataclass(frozen=True)
class Choice:
    """One completion of an answer.

    Attributes:
        index: which sample of the request it is.
        text: what the model said, without reasoning that the server has split off.
        reasoning: what the server has split off; None where it splits nothing.
        finish_reason: `stop` or `length`.
        token_ids: of the completion; None where the server does not tell them.
        tokens: how many.
        prompt_tokens: of the prompt.
        logprobs: of each token, where they were asked for.
    """

    index: int
    text: str
    reasoning: str | None
    finish_reason: str
    token_ids: list[int] | None
    tokens: int
    prompt_tokens: int
    logprobs: list[float] | None = None


def read(content: bytes, count: int) -> list[Choice]:
    """The choices of an answer: whole ones, each index once; fewer than `count` where the server gave fewer.

    Args:
        content: the body.
        count: how many were asked for.

    Raises:
        Unusable: it is no JSON, has no choices, or one that is not finished, not asked for, or there twice.
    """
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Unusable(f"no JSON ({error}): {content[:80]!r}") from None
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or not choices:
        raise Unusable(f"no choices: {content[:200]!r}")
    usage = answer.get("usage") if isinstance(answer.get("usage"), dict) else {}
    found = [_choice(choice, usage, len(choices)) for choice in choices]
    indices = [choice.index for choice in found]
    if len(set(indices)) < len(indices) or not set(indices) <= set(range(count)):
        raise Unusable(f"choices {sorted(indices)} where 0 to {count - 1} were asked for")
    return found


def _choice(choice: Any, usage: dict[str, Any], count: int) -> Choice:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise Unusable(f"a choice without a message: {str(choice)[:200]}")
    text, reason, index = message.get("content"), choice.get("finish_reason"), choice.get("index", 0)
    # With a reasoning parser the content is null when the completion was cut within its reasoning.
    reasoning = message.get("reasoning") or message.get("reasoning_content")
    if text is None and reasoning is not None:
        text = ""
    if not isinstance(text, str) or not isinstance(reasoning, str | None):
        raise Unusable(f"a choice whose content is {type(text).__name__}")
    if reason not in FINISHED:
        raise Unusable(f"a choice that ended by {reason!r}, not by one of {', '.join(FINISHED)}")
    if not isinstance(index, int):
        raise Unusable(f"a choice whose index is {index!r}")
    ids = choice.get("token_ids")
    if ids is not None and not (isinstance(ids, list) and all(isinstance(token, int) for token in ids)):
        raise Unusable("a choice whose token_ids are no integers")
    if ids is None and count > 1:
        raise Unusable("several choices without token_ids: how long each is cannot be told")
    tokens = len(ids) if ids is not None else _count(usage, "completion_tokens")
    return Choice(
        index,
        text,
        reasoning,
        reason,
        ids,
        tokens,
        _count(usage, "prompt_tokens"),
        _logprobs(choice.get("logprobs"), tokens),
    )


def _logprobs(told: Any, tokens: int) -> list[float] | None:
    content = told.get("content") if isinstance(told, dict) else None
    if content is None:
        return None
    try:
        values = [float(each["logprob"]) for each in content]
    except (TypeError, KeyError, ValueError):
        raise Unusable(f"a choice whose log-probabilities are {str(content)[:80]}") from None
    if len(values) != tokens:
        raise Unusable(f"{len(values)} log-probabilities for {tokens} tokens")
    return values


def _count(usage: dict[str, Any], name: str) -> int:
    value = usage.get(name, 0)
    if not isinstance(value, int) or value < 0:
        raise Unusable(f"usage with {name} {value!r}")
    return value
