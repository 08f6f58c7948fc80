"""A server that speaks the chat completions API, and misbehaves as it is told to."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import orjson

FAULTS = (
    "reset", "hang", "429", "500", "503", "half a body", "empty choices", "fewer choices", "rubbish",
    "duplicates", "no message", "another kind", "unfinished", "a list",
)  # fmt: skip

Script = Callable[[dict[str, Any], int], str | None]
"""From a request's body and how often its first seed was asked for before, to a fault or None."""


def text_of(body: dict[str, Any], index: int) -> str:
    """What the server says: it tells which sample of which prompt this is."""
    return f"{body['messages'][-1]['content']}#{body['seed'] + index}"


class FaultServer:
    """Listens on the loopback interface while it is entered.

    Attributes:
        requests: bodies, as they came.
        most: requests that were in progress at a time.
        waits: seconds that a Retry-After asked for.
    """

    def __init__(self, script: Script = lambda body, before: None, delay: float = 0.0) -> None:
        self._script, self._delay = script, delay
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.most = self._now = 0
        self._asked: Counter[tuple[str, int]] = Counter()
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        self._ready.set()
        await self._over.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:  # type: ignore[arg-type]
            task.cancel()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
                self.keys.append(fields.get("authorization", ""))
                if head.startswith("get "):
                    self._write(writer, 200, self.models())
                    continue
                body = orjson.loads(await reader.readexactly(int(fields["content-length"])))
                await self._answer(body, writer)
        writer.close()

    async def _answer(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self.requests.append(body)
        key = (str(body["messages"][-1]["content"]), body.get("seed", 0))
        fault = self._script(body, self._asked[key])
        self._asked[key] += 1
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await asyncio.sleep(self._delay)
            if fault == "hang":
                await asyncio.sleep(30)
            if fault in ("reset", "hang"):
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
                raise ConnectionResetError
            status, content, headers = self.said(body, fault)
            self._write(writer, status, content, headers, 2 if fault == "half a body" else 1)
            await writer.drain()
            if fault == "half a body":
                raise ConnectionResetError
        finally:
            self._now -= 1

    def said(self, body: dict[str, Any], fault: str | None) -> tuple[int, bytes, str]:
        """(status, body, further header lines)."""
        return said(body, fault)

    def models(self) -> bytes:
        """The list of models that it serves."""
        return orjson.dumps({"object": "list", "data": [{"id": "the-model", "object": "model"}]})

    @staticmethod
    def _write(
        writer: asyncio.StreamWriter, status: int, content: bytes, headers: str = "", times: int = 1
    ) -> None:
        """Say that the body has `times` its length."""
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}"
            f"content-length: {len(content) * times}\r\n\r\n".encode()
            + content
        )


def said(body: dict[str, Any], fault: str | None) -> tuple[int, bytes, str]:
    """(status, body, further header lines)."""
    if fault in ("429", "500", "503", "400", "401", "404", "too long"):
        message = "maximum context length is 8 tokens" if fault == "too long" else f"fault {fault}"
        status = 400 if fault == "too long" else int(str(fault))
        return (
            status,
            orjson.dumps({"error": {"message": message}}),
            "retry-after: 0.01\r\n" if status == 429 else "",
        )
    choices: Any = [
        {
            "index": index,
            "message": {"role": "assistant", "content": text_of(body, index)},
            "finish_reason": "stop",
            "token_ids": [1, 2, 3],
        }
        for index in range(body["n"])
    ]
    if fault == "rubbish":
        return 200, b'{"choices": [{"index": 0, "mess', ""
    if fault == "a list":
        return 200, b"[1, 2]", ""
    if fault == "empty choices":
        choices = []
    if fault == "fewer choices":
        choices = choices[: (len(choices) + 1) // 2]
    if fault == "duplicates":
        choices += choices[:1]
    if fault == "no message":
        choices[0].pop("message")
    if fault == "another kind":
        choices[0]["message"]["content"] = ["no", "text"]
    if fault == "unfinished":
        choices[0]["finish_reason"] = "abort"
    answer = {"choices": choices, "usage": {"prompt_tokens": 7, "completion_tokens": 3 * len(choices)}}
    return 200, orjson.dumps(answer), ""
