"""Log-probabilities of given tokens: read from answers that tell them, and from no others."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest

from winnow.records import Prompt
from winnow.serving.answers import Unusable
from winnow.serving.ask import Ask
from winnow.serving.endpoint import Endpoint
from winnow.serving.likelihoods import likelihoods, read_likelihood

SHOWN, SAID = [5, 6, 7], [8, 9]


def answer(places: list[Any]) -> bytes:
    return orjson.dumps({"choices": [{"prompt_logprobs": places}]})


def place(token: int, value: float) -> dict[str, Any]:
    return {str(token): {"logprob": value, "rank": 3, "decoded_token": "x"}}


GOOD = [None, place(6, -1.0), place(7, -2.0), place(8, -0.25), place(9, -9999.0)]


def test_only_the_completion_counts_and_what_is_never_said_is_minus_infinity() -> None:
    assert read_likelihood(answer(GOOD), SHOWN, SAID) == [-0.25, -math.inf]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"choices": []}',
        answer(GOOD[:-1]),
        answer([*GOOD, place(1, -1.0)]),
        answer([*GOOD[:3], place(8, -1.0), place(10, -1.0)]),
        answer([*GOOD[:3], None, place(9, -1.0)]),
        answer([*GOOD[:3], place(8, -1.0), {"9": {"logprob": None}}]),
        orjson.dumps({"choices": [{"prompt_logprobs": None}]}),
    ],
)
def test_other_answers_are_none(content: bytes) -> None:
    with pytest.raises(Unusable):
        read_likelihood(content, SHOWN, SAID)


def test_prompt_and_completion_are_sent_as_they_are() -> None:
    service = likelihoods(lambda ask: (SHOWN, SAID))
    ask = Ask(Prompt("p", []), [], 0, 0, ("student p/0",))
    body = service.body(ask, Endpoint("http://127.0.0.1:1/v1", "k", "m"))
    assert body["prompt"] == SHOWN + SAID
    # With a seed vLLM on CPU fails where it reads a prompt in parts.
    assert "seed" not in body
    (found,) = service.read(answer(GOOD), ask)
    assert (found.index, found.logprobs[0]) == (0, -0.25)
