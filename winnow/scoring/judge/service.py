"""The judge's server: what is sent for a comparison, and what comes back."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from winnow.errors import UserError
from winnow.records import Message
from winnow.scoring.judge.comparisons import Order
from winnow.scoring.judge.options import Access
from winnow.scoring.judge.question import with_images
from winnow.scoring.judge.verdict import RESPONSE_FORMAT, parse
from winnow.serving import answers
from winnow.serving.ask import Ask
from winnow.serving.client import Client, Limits, Service
from winnow.serving.discovery import endpoint_at
from winnow.serving.endpoint import Endpoint
from winnow.serving.failed import Failed

log = logging.getLogger("judge")

NO_SCHEMA = re.compile(r"response.?format|json.?schema|structured.?output|guided|grammar", re.IGNORECASE)
"""In the words of a server that refuses structured output."""
SHOWN = 80
"""Characters of an answer that cannot be read, in messages."""


@dataclass(frozen=True)
class Answer:
    """A judge's answer.

    Attributes:
        verdict: None where it cannot be read.
        detail: then, why.
        said: then, how it begins.
        prompt_tokens, tokens: what it cost.
        index: among those of a request, which is about one.
    """

    verdict: str | None
    detail: str
    said: str
    prompt_tokens: int
    tokens: int
    index: int = 0


@dataclass(frozen=True)
class Form:
    """What requests have in common.

    Attributes:
        model: the served model's name.
        temperature, max_tokens: of the judge.
        own: further keys of a request; None takes one away.
        image_root: the folder of the prompts' images; None where there are none.
    """

    model: str
    temperature: float
    max_tokens: int
    own: dict[str, Any]
    image_root: Path | None


class Judge:
    """Puts orders of comparisons to servers; as structured output until one of them refuses that.

    Args:
        form: of the requests.
        access: to the servers.
    """

    def __init__(self, form: Form, access: Access) -> None:
        self._form, self._access = form, access
        self._structured = True
        self._client: Client[Answer] | None = None

    def ask(
        self, orders: Sequence[Order], shown: Callable[[Order], list[Message]]
    ) -> Iterator[tuple[Order, Answer | Failed]]:
        """What became of each order, as it is known.

        Raises:
            UserError: the judge cannot be asked at all.
        """
        if not orders:
            return
        if self._client is None:
            self._client = self._connect()
        refused: list[Order] = []
        known = {order.key: order for order in orders}
        tried = self._structured
        for key, _, found in self._client.draw(_asks(orders, shown)):
            if tried and isinstance(found, Failed) and NO_SCHEMA.search(found.detail):
                if self._structured:
                    self._structured = False
                    log.info("the judge's server has no structured output (%s)", found.detail)
                refused.append(known[key])
            else:
                yield known[key], found
        yield from self.ask(refused, shown)

    def _connect(self) -> Client[Answer]:
        access = self._access
        found, key = [], access.key()
        urls = access.urls()
        for url in urls:
            try:
                found.append(replace(endpoint_at(url, key, self._form.model), key_name=access.key_name))
            except UserError as error:
                problem = UserError(
                    error.where,
                    error.found,
                    error.expected,
                    f"start the judge's server, or correct base_url, model or {access.key_name}",
                )
                if url == urls[-1] and not found:
                    raise problem from None
                log.warning("left out: %s", problem)
        return Client(
            [functools.partial(_as_found, endpoint) for endpoint in found],
            Service("/chat/completions", self._body, lambda content, ask: [read(content)]),
            Limits(access.concurrency, access.max_retries, access.timeout),
        )

    def _body(self, ask: Ask, endpoint: Endpoint) -> dict[str, Any]:
        form, shown = self._form, list(ask.messages)
        if form.image_root is not None:
            shown = with_images(shown, ask.prompt, form.image_root)
        body = {
            "model": endpoint.model,
            "messages": shown,
            "temperature": form.temperature,
            "max_tokens": min(form.max_tokens, endpoint.context or form.max_tokens),
            "seed": ask.seed,
            **({"response_format": RESPONSE_FORMAT} if self._structured else {}),
            **form.own,
        }
        return {name: value for name, value in body.items() if value is not None}


def read(content: bytes) -> Answer:
    """The answer in a response's body.

    Raises:
        Unusable: it has none.
    """
    [choice] = answers.read(content, 1)
    cut = choice.finish_reason == "length"
    verdict = None if cut else parse(choice.text)
    detail = "" if verdict else "an answer that is cut off" if cut else "an answer without a verdict"
    said = "" if verdict else repr(choice.text.strip()[:SHOWN])
    return Answer(verdict, detail, said, choice.prompt_tokens, choice.tokens)


def _asks(orders: Sequence[Order], shown: Callable[[Order], list[Message]]) -> Iterator[Ask]:
    """One request an order; made when a request is free."""
    for order in orders:
        yield Ask(order.comparison.prompt, shown(order), 0, order.seed, (order.key,))


def _as_found(endpoint: Endpoint) -> Endpoint:
    return endpoint
