"""A server that answers each request for completions at once; a part of benchmarks/serving.py."""

from __future__ import annotations

import asyncio
import json
from typing import Any


async def serve() -> None:
    """Listen on a free port of the loopback interface and print the base URL."""
    server = await asyncio.start_server(connection, "127.0.0.1", 0, limit=1 << 26)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    async with server:
        await server.serve_forever()


async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests until the client has no more."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            content = await reader.readexactly(int(lengths[0].partition(b":")[2])) if lengths else b""
            answer = json.dumps(completions(content) if content else models()).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                % (len(answer), answer)
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def models() -> dict[str, Any]:
    """What is served."""
    return {
        "object": "list",
        "data": [{"id": "echo", "object": "model", "owned_by": "vllm", "max_model_len": 4096}],
    }


def completions(content: bytes) -> dict[str, Any]:
    """Three tokens for each choice."""
    # The images make the most of a request; to read them would be the server's time, not the client's.
    end = content.rpartition(b'"n":')[2]
    count = int(end[: end.index(b",")])
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": "a b c"},
            "finish_reason": "stop",
            "token_ids": [1, 2, 3],
        }
        for index in range(count)
    ]
    return {"choices": choices, "usage": {"prompt_tokens": 7, "completion_tokens": 3 * count}}


if __name__ == "__main__":
    asyncio.run(serve())
