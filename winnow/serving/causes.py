"""From the last lines of a server's log to what is likely wrong, and what to do."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from pathlib import Path

TAIL_BYTES = 64 * 1024
SHOWN_LINES = 12


@dataclass(frozen=True)
class Cause:
    """Why a server may have ended.

    Attributes:
        name: in a few words.
        mend: what to do.
        port: whether another port would do.
    """

    name: str
    mend: str
    port: bool = False


CAUSES: tuple[tuple[str, Cause], ...] = (
    (
        r"No module named '?vllm",
        Cause(
            "vLLM is not installed in the Python that was to start it",
            "`make vllm` sets it up beside .venv, or name a Python that has it (--vllm_python); "
            "--backend transformers needs none",
        ),
    ),
    (
        r"[Aa]ddress already in use|EADDRINUSE",
        Cause("the port is taken", "leave --model_port out: a free one is chosen", port=True),
    ),
    (
        r"OutOfMemoryError|CUDA out of memory|[Nn]o available memory for the cache blocks|"
        r"[Ff]ree memory on device",
        Cause(
            "the GPU's memory does not suffice",
            "lower --gpu_memory_utilization or --max_model_len, raise --tensor_parallel_size, or see what "
            "else is on the GPU",
        ),
    ),
    (
        r"KV cache is needed, which is larger|maximum number of tokens that can be stored in KV cache",
        Cause(
            "the longest sequence does not fit the KV cache",
            "lower --max_model_len, or raise --gpu_memory_utilization (on CPU: VLLM_CPU_KVCACHE_SPACE)",
        ),
    ),
    (
        r"User-specified max_model_len",
        Cause("--max_model_len is above what the model was made for", "lower --max_model_len"),
    ),
    (
        r"[Mm]odel architectures? .*(?:not supported|failed to be inspected)|has no vLLM implementation",
        Cause(
            "vLLM does not know this model's architecture", "another model, or --backend transformers for it"
        ),
    ),
    (
        r"argument .?trust_remote_code=True",
        Cause("the model ships code of its own", "read that code, then give --trust_remote_code"),
    ),
    (
        r"Repository Not Found|is not a valid model identifier|does not appear to have a file named|"
        r"[Ii]nvalid repository ID|Unrecognized model|Can't load the configuration",
        Cause("there is no model that vLLM can read", "check the model's path: it needs a config.json"),
    ),
    (r"No space left on device", Cause("the disk is full", "make room, or move the caches")),
)


def tail(log: Path, start: int = 0) -> str:
    """The last part of a log, from a place in it on; empty where there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(max(start, end - TAIL_BYTES))
        return file.read().decode(errors="replace")


def likely(text: str, code: int | None) -> Cause | None:
    """The likely cause, from a log's tail and the exit code.

    Args:
        text: the tail.
        code: as shells tell it, 128 and more for a signal; None while the server runs.
    """
    found = [(match.start(), cause) for pattern, cause in CAUSES for match in re.finditer(pattern, text)]
    if found:
        # What stands first led to the rest.
        return min(found, key=lambda each: each[0])[1]
    if code == 128 + signal.SIGKILL:
        return Cause(
            "it was killed: usually the machine's (or the job's) memory did not suffice", "raise mem_mb"
        )
    return None


def first_error(text: str) -> str | None:
    """The first exception that a log names: those after it follow from it."""
    match = re.search(r"\b\w*(?:Error|Exception): .+", text)
    return match[0].strip()[:300] if match else None


def shown(text: str) -> str:
    """The last lines, indented, for an error message."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(f"    | {line}" for line in lines[-SHOWN_LINES:])
