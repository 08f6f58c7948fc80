"""Draws completions from endpoints: many asks at a time, nothing waits for a slow one, nothing is lost."""

from __future__ import annotations

import asyncio
import logging
import queue
import random
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import httpx2
import openai

from winnow.errors import UserError
from winnow.prompt_images import ReplacedImage
from winnow.serving.answers import Choice, Unusable, read
from winnow.serving.ask import Ask
from winnow.serving.endpoint import Endpoint
from winnow.serving.failed import Failed

log = logging.getLogger("serving")

FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
"""Seconds before an answer that was none is asked for again; doubled each time, with jitter. The HTTP client
has the same for refusals, resets, timeouts, 408, 409, 429 and 5xx, and waits as long as Retry-After says."""
POLL_SECONDS = 0.25
NOTICE_SECONDS = 2.0
"""In which the death of a server is noticed by whoever watches it."""
TOO_LONG = re.compile(r"context length|maximum model length", re.IGNORECASE)


class Placed(Protocol):
    """What an answer says of one completion of an ask: of which, by its index."""

    @property
    def index(self) -> int: ...


Found = TypeVar("Found", bound=Placed)


@dataclass(frozen=True)
class Service(Generic[Found]):
    """What is asked of a server.

    Attributes:
        path: below the base URL.
        body: makes the request of an ask for an endpoint; called in a thread.
        read: from an answer's body to what it says of each completion of the ask.
    """

    path: str
    body: Callable[[Ask, Endpoint], dict[str, Any]]
    read: Callable[[bytes, Ask], list[Found]]


def chat(body: Callable[[Ask, Endpoint], dict[str, Any]]) -> Service[Choice]:
    """Completions of messages, by requests that `body` makes."""
    return Service("/chat/completions", body, lambda content, ask: read(content, len(ask)))


Tell = Callable[[tuple[str, int, Found | Failed]], None]


@dataclass(frozen=True)
class Limits:
    """What a client may do.

    Attributes:
        requests: asks in flight at a time.
        max_retries: of each request at an endpoint, by the HTTP client; and of answers that are none.
        timeout: seconds for one answer.
    """

    requests: int = 8
    max_retries: int = 10
    timeout: float = 1800.0


class Client(Generic[Found]):
    """Asks endpoints in turn; what fails at one of them is asked of the others.

    Args:
        endpoints: functions that give the endpoints as they are now, None while a server is starting.
        service: see `Service`.
        limits: see `Limits`.
        takes_n: whether the servers tell the tokens of each of several choices, as vLLM does.
    """

    def __init__(
        self,
        endpoints: Sequence[Callable[[], Endpoint | None]],
        service: Service[Found],
        limits: Limits,
        takes_n: bool = True,
    ) -> None:
        self._endpoints, self._service, self._limits, self.takes_n = endpoints, service, limits, takes_n
        self._clients: dict[Endpoint, openai.AsyncOpenAI] = {}
        self._turn = 0

    def draw(self, asks: Iterable[Ask]) -> Iterator[tuple[str, int, Found | Failed]]:
        """(id, seed, what became of it) of each completion of the asks, as it is known; in no order.

        The requests run in a thread of their own, which ends with this generator.

        Raises:
            UserError: nothing can be asked at all: a key that is refused, a model that is not served, or a
                server that does not come up again.
        """
        found: queue.SimpleQueue[tuple[str, int, Found | Failed] | BaseException | None] = queue.SimpleQueue()
        stop: list[Callable[[], object]] = []
        started = threading.Event()

        async def main() -> None:
            task, loop = asyncio.current_task(), asyncio.get_running_loop()
            assert task is not None
            stop.append(lambda: loop.call_soon_threadsafe(task.cancel))
            started.set()
            async with self._open():
                await self._draw_all(iter(asks), found.put)

        def thread() -> None:
            try:
                asyncio.run(main())
                found.put(None)
            except asyncio.CancelledError:
                found.put(None)
            except BaseException as error:
                # Raised again by whoever reads.
                found.put(_first(error))
            finally:
                started.set()

        worker = threading.Thread(target=thread, name="client", daemon=True)
        worker.start()
        try:
            while (each := found.get()) is not None:
                if isinstance(each, BaseException):
                    raise each
                yield each
        finally:
            started.wait()
            for end in stop:
                with suppress(RuntimeError):
                    # The loop may have ended by itself.
                    end()
            worker.join()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            for client in self._clients.values():
                await client.close()
            self._clients.clear()

    async def _draw_all(self, asks: Iterator[Ask], tell: Tell[Found]) -> None:
        async def work() -> None:
            for ask in asks:
                await self._finish(ask, tell)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._limits.requests):
                group.create_task(work())

    async def _finish(self, ask: Ask, tell: Tell[Found]) -> None:
        """Draw an ask to its end: what an answer lacks is asked for alone."""
        waiting = [ask]
        while waiting:
            now = waiting.pop()
            found = await self._answer(now)
            if isinstance(found, Failed):
                for index, completion in enumerate(now.ids):
                    tell((completion, now.seed + index, found))
                continue
            for each in found:
                tell((now.ids[each.index], now.seed + each.index, each))
            given = {each.index for each in found}
            waiting += [now.only(index) for index in range(len(now)) if index not in given]

    async def _answer(self, ask: Ask) -> list[Found] | Failed:
        """What the endpoints say to an ask."""
        unusable, wait, problem = 0, FIRST_WAIT, ""
        left = set(range(len(self._endpoints)))
        while left:
            number = self._next(left)
            endpoint = await self._now(number)
            try:
                return self._service.read(await self._post(endpoint, ask), ask)
            except openai.APIStatusError as error:
                if failed := _permanent(error, endpoint):
                    return failed
                problem = f"{endpoint.base_url}: status {error.status_code}: {_said(error, endpoint)}"
            except openai.APIConnectionError as error:
                problem = f"{endpoint.base_url}: {type(error).__name__}: {error.__cause__ or error}"
            except Unusable as error:
                unusable += 1
                problem = f"{endpoint.base_url}: an answer that is none, {unusable} times: {error}"
                if unusable > self._limits.max_retries:
                    break
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))
                wait = min(2 * wait, LONGEST_WAIT)
                continue
            except ReplacedImage:
                raise
            except UserError as error:
                # An image of this prompt, say: the others can still be drawn.
                return Failed("failed", str(error).replace("\n", ";"))
            if await self._started_anew(number, endpoint):
                log.info("%s: sent again, to the server that was started anew", ask.ids[0])
            else:
                left.discard(number)
        return Failed("failed", problem)

    def _next(self, left: set[int]) -> int:
        """The endpoint whose turn it is, among those that are left."""
        self._turn += 1
        return sorted(left)[self._turn % len(left)]

    async def _started_anew(self, number: int, endpoint: Endpoint) -> bool:
        """Whether the server that failed has died, and another stands in its place."""
        end = time.monotonic() + NOTICE_SECONDS
        while (now := await self._now(number)).life == endpoint.life:
            if not endpoint.watched or time.monotonic() > end:
                return False
            await asyncio.sleep(POLL_SECONDS)
        return now.life != endpoint.life

    async def _now(self, number: int) -> Endpoint:
        while (endpoint := self._endpoints[number]()) is None:
            await asyncio.sleep(POLL_SECONDS)
        return endpoint

    async def _post(self, endpoint: Endpoint, ask: Ask) -> bytes:
        # Not chat.completions.create: it takes none of a server's own keys, and reads what the service reads.
        client = self._clients.get(endpoint) or self._connect(endpoint)
        body = await asyncio.to_thread(self._service.body, ask, endpoint)
        answer = await client.post(self._service.path, cast_to=httpx2.Response, body=body)
        return answer.content

    def _connect(self, endpoint: Endpoint) -> openai.AsyncOpenAI:
        client = self._clients[endpoint] = openai.AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key=endpoint.key,
            max_retries=self._limits.max_retries,
            timeout=self._limits.timeout,
            # A cluster's proxy knows no way back to this machine.
            http_client=openai.DefaultAsyncHttpxClient(trust_env=not endpoint.loopback),
        )
        return client


def _first(error: BaseException) -> BaseException:
    """The one that ended the others of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _permanent(error: openai.APIStatusError, endpoint: Endpoint) -> Failed | None:
    """What cannot be mended by asking again; None for what can.

    Raises:
        UserError: it holds for every request.
    """
    said = _said(error, endpoint)
    if error.status_code in (401, 403):
        raise UserError(
            endpoint.base_url,
            f"the key is refused: {said}",
            "the server's key",
            f"set {endpoint.key_name} to it",
        )
    if error.status_code == 404:
        raise UserError(
            endpoint.base_url,
            f"no {endpoint.model!r} there: {said}",
            "a server of this model",
            "check base_url and the served model's name",
        )
    if error.status_code in (408, 409, 429) or error.status_code >= 500:
        return None
    return Failed("prompt_too_long" if TOO_LONG.search(said) else "failed", said)


def _said(error: openai.APIStatusError, endpoint: Endpoint) -> str:
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return endpoint.without_key(str(message or error.message))[:500]
