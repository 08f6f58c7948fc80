"""Clients of one server: Winnow's, and one that works as system A's does; a part of benchmarks/serving.py."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import orjson

from benchmarks.serving_models import END
from winnow.jsonl import rows
from winnow.qstar.parameters import SamplingParameters
from winnow.records import Prompt
from winnow.serving.ask import Ask
from winnow.serving.client import Client, Limits, chat
from winnow.serving.endpoint import Endpoint
from winnow.serving.failed import Failed
from winnow.serving.requests import asks, body

ROOT = Path(__file__).resolve().parents[1]
SHORTEST, LONGEST = 8, 160
"""Tokens of a completion: spread 1:20."""
END_BIAS = 7.0
"""Of the end token's logit: some 40 tokens a completion, geometric."""
SPREAD: dict[str, Any] = {
    "logit_bias": {str(END): END_BIAS},
    "min_tokens": SHORTEST,
    "max_tokens": LONGEST,
    "temperature": 1.0,
}


def ours(endpoint: Endpoint, prompts: list[Prompt], n: int, concurrency: int) -> tuple[float, int]:
    """(seconds, tokens) of n completions of each prompt by Winnow's client."""

    def make(ask: Ask, found: Endpoint) -> dict[str, Any]:
        return {**body(ask, found, SamplingParameters(), Path()), **SPREAD}

    wanted = [(prompt, sample, f"{prompt.id}/{sample}") for prompt in prompts for sample in range(n)]
    # As generate.py: a request of several ends with its longest, so as many again wait.
    client = Client([lambda: endpoint], chat(make), Limits(2 * concurrency))
    start, tokens = time.perf_counter(), 0
    for id, _, found in client.draw(asks(wanted, False, 0, n)):
        if isinstance(found, Failed):
            raise SystemExit(f"{id} failed: {found.detail}")
        tokens += found.tokens
    return time.perf_counter() - start, tokens


def theirs(endpoint: Endpoint, prompts: list[Prompt], n: int, concurrency: int) -> tuple[float, int]:
    """The same completions as system A asks for them: a request each, and a barrier behind each batch."""
    wanted = [(prompt, sample, "") for prompt in prompts for sample in range(n)]
    singles = [list(asks(wanted[start : start + n], False, 0, 1)) for start in range(0, len(wanted), n)]

    async def one(client: openai.AsyncOpenAI, ask: Ask) -> int:
        answer = await client.chat.completions.create(
            model=endpoint.model,
            messages=ask.messages,  # type: ignore[arg-type]
            seed=ask.seed,
            temperature=1.0,
            max_tokens=LONGEST,
            logit_bias=SPREAD["logit_bias"],
            extra_body={"min_tokens": SHORTEST},
        )
        assert answer.usage is not None
        return answer.usage.completion_tokens

    async def every() -> int:
        tokens = 0
        async with openai.AsyncOpenAI(base_url=endpoint.base_url, api_key=endpoint.key) as client:
            for start in range(0, len(singles), concurrency):
                batch = [one(client, ask) for group in singles[start : start + concurrency] for ask in group]
                tokens += sum(await asyncio.gather(*batch))
        return tokens

    start = time.perf_counter()
    tokens = asyncio.run(every())
    return time.perf_counter() - start, tokens


PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8ffff3f0005fe02fe"
    "0dc259a50000000049454e44ae426082"
)


def peak(count: int, padding: int, distinct: int = 200) -> tuple[float, float]:
    """(MiB at most of a generate.py that asks for `count` prompts with an image each, seconds).

    The server answers at once, with three tokens. The images are small pictures with `padding` bytes behind
    them, for what matters is how much is read, encoded and sent.
    """
    with tempfile.TemporaryDirectory() as name, echo() as url:
        folder = Path(name)
        for index in range(distinct):
            (folder / f"{index}.png").write_bytes(PIXEL + os.urandom(padding))
        with (folder / "prompts.jsonl").open("wb") as file:
            for index in range(count):
                asked = [{"role": "user", "content": f"What is on picture {index}?"}]
                prompt = Prompt(f"p{index}", asked, images=[f"{index % distinct}.png"])
                file.write(orjson.dumps(prompt.to_row()) + b"\n")
        command = [
            sys.executable, str(ROOT / "scripts/generate.py"), "--backend", "vllm", "--base_url", url,
            "--prompts", str(folder / "prompts.jsonl"), "--image_root", str(folder),
            "--model_theta", str(ROOT / "examples/arithmetic/models/policy-step-460"),
            "--served_model_name", "echo", "--num_rollout", "1", "--output", str(folder / "out.jsonl"),
        ]  # fmt: skip
        start = time.perf_counter()
        most = 0.0
        with (folder / "said.log").open("w+") as said:
            process = subprocess.Popen(command, stderr=said)
            # Not what wait4 tells: a child starts with what its parent had taken.
            while process.poll() is None:
                most = max(most, _high_water(process.pid))
                time.sleep(0.05)
            said.seek(0)
            if process.returncode:
                raise SystemExit(said.read()[-3000:])
        drawn = sum(1 for _ in rows(folder / "out.jsonl"))
        if drawn != count:
            raise SystemExit(f"{drawn} completions of {count}")
        return most, time.perf_counter() - start


def _high_water(pid: int) -> float:
    """The most memory that a process has held, in MiB; 0 when it has ended."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    found = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(found[0]) / 1024 if found else 0.0


@contextmanager
def echo() -> Iterator[str]:
    """A server that answers at once; gives its base URL."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "benchmarks/serving_echo.py")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
