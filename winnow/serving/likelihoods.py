"""How likely a served model finds token ids that are given: the log-probabilities of a prompt."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from winnow.serving.answers import Unusable
from winnow.serving.ask import Ask
from winnow.serving.client import Service
from winnow.serving.endpoint import Endpoint

NEVER = -9000.0
"""vLLM says -9999 for minus infinity, which JSON has not."""

Tokens = Callable[[Ask], tuple[Sequence[int], Sequence[int]]]
"""From an ask to the token ids of what the model is shown, and of the completion."""


@dataclass(frozen=True)
class Likelihood:
    """Of one completion.

    Attributes:
        logprobs: of each of its tokens, given those before, in nats, at temperature 1 and without top-k or
            top-p; minus infinity for a token that the model never draws.
        index: among those of a request, which is about one.
    """

    logprobs: list[float]
    index: int = 0


def likelihoods(tokens: Tokens) -> Service[Likelihood]:
    """Asks vLLM how likely completions are: `prompt_logprobs` of prompt and completion together."""

    def body(ask: Ask, endpoint: Endpoint) -> dict[str, Any]:
        shown, completion = tokens(ask)
        return {
            "model": endpoint.model,
            "prompt": [*shown, *completion],
            # One token is the least that is drawn; nobody reads it.
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": 0,
        }

    def read(content: bytes, ask: Ask) -> list[Likelihood]:
        return [Likelihood(read_likelihood(content, *tokens(ask)))]

    return Service("/completions", body, read)


def read_likelihood(content: bytes, shown: Sequence[int], completion: Sequence[int]) -> list[float]:
    """The log-probability of each token of the completion.

    Args:
        content: the body of an answer.
        shown, completion: the token ids that were sent.

    Raises:
        Unusable: it does not tell them, or tells those of other tokens.
    """
    try:
        told = orjson.loads(content)["choices"][0]["prompt_logprobs"]
        places = told[len(shown) :]
        if len(told) != len(shown) + len(completion):
            raise Unusable(
                f"log-probabilities of {len(told)} tokens, {len(shown) + len(completion)} were sent"
            )
        values = [
            float(place[str(token)]["logprob"]) for place, token in zip(places, completion, strict=True)
        ]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise Unusable(f"no log-probabilities of the prompt ({error!r}): {content[:80]!r}") from None
    return [value if value > NEVER else -math.inf for value in values]
