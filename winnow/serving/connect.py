"""From flags to a client: of servers that run already, or of one that lives as long as the job."""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from winnow.devices import VISIBLE
from winnow.errors import UserError
from winnow.lora import base_of
from winnow.manifest import resolve
from winnow.serving.client import Client, Found, Limits, Service
from winnow.serving.discovery import endpoint_at
from winnow.serving.endpoint import Endpoint
from winnow.serving.mixture import Mixture
from winnow.serving.server import HOST, Launch, Server

ROOT = Path(__file__).resolve().parents[2]
DTYPES = ("float16", "bfloat16", "float32")
"""Of vLLM."""


@contextmanager
def client_from_flags(
    arguments: argparse.Namespace,
    model: str,
    service: Service[Found],
    devices: Sequence[str],
    mixture: Mixture | None = None,
    own: Sequence[str] = (),
    some: bool = False,
    samples: int = 1,
    together: bool = False,
) -> Iterator[Client[Found]]:
    """A client of the servers that the flags name, or of one that lives as long as this is entered.

    Args:
        arguments: of `add_serving_flags`, and --dtype, --device, --output, --trust_remote_code.
        model: as the user named it.
        service: what is asked of them.
        devices: the GPUs of the job.
        mixture: for q*.
        own: arguments of vLLM's server that this use of it asks for.
        some: some of the servers that run already may serve another model.
        samples: completions of each prompt.
        together: ask for them in one request, where servers tell them apart.

    Raises:
        UserError: no such server, or one that does not start.
    """

    def limits(together: bool) -> Limits:
        # A request of several ends with its longest: the server has others to go on with.
        prompts = min(samples, 2) if together else samples
        return Limits(prompts * arguments.concurrency, arguments.max_retries, arguments.request_timeout)

    urls = arguments.base_url
    if arguments.skip_vllm_launch:
        urls = [*urls, f"http://{HOST}:{arguments.model_port or 8000}/v1"]
    if urls:
        # A server that asks for no key takes any.
        key = os.getenv("OPENAI_API_KEY", "none")
        find = functools.partial(endpoint_at, key=key, name=arguments.served_model_name, model=model)
        found = _some(urls, find) if some else [find(url) for url in urls]
        current = [functools.partial(_as_found, endpoint) for endpoint in found]
        takes_n = all(endpoint.vllm for endpoint in found)
        yield Client(current, service, limits(together and takes_n), takes_n)
        return
    log_file = arguments.vllm_log or arguments.output.with_name(f"{arguments.output.stem}_vllm.log")
    launch = _launch(arguments, model, len(devices), own, mixture)
    with Server(launch, log_file, arguments.server_timeout) as server:
        yield Client([server.endpoint], service, limits(together))


def _some(urls: Sequence[str], find: Callable[[str], Endpoint]) -> list[Endpoint]:
    """Those that serve the model; what is wrong with the last of them if none does."""
    found = []
    for url in urls:
        try:
            found.append(find(url))
        except UserError as error:
            problem = error
    if not found:
        raise problem
    return found


def _as_found(endpoint: Endpoint) -> Endpoint:
    return endpoint


def _launch(
    arguments: argparse.Namespace, model: str, gpus: int, own: Sequence[str], mixture: Mixture | None
) -> Launch:
    root, _ = resolve(model)
    if base_of(root):
        raise UserError(
            model,
            "a LoRA adapter",
            "a whole model, for --backend vllm",
            "merge it into its base, or draw with --backend transformers",
        )
    if arguments.dtype not in DTYPES:
        raise UserError(
            "--dtype", arguments.dtype, f"one of {', '.join(DTYPES)} for --backend vllm", "choose one of them"
        )
    tensor = arguments.tensor_parallel_size
    if gpus % tensor:
        raise UserError(
            "--tensor_parallel_size",
            f"{tensor}, for a job with {gpus} GPUs",
            "a divisor of the job's GPUs",
            "correct it, or the job's GPUs",
        )
    named = {
        "dtype": arguments.dtype,
        "tensor-parallel-size": tensor,
        "data-parallel-size": max(gpus // tensor, 1),
        "gpu-memory-utilization": arguments.gpu_memory_utilization,
        "max-model-len": arguments.max_model_len,
        # Else the model's own defaults would stand for what a request leaves out: top-k 20, say.
        "generation-config": "vllm",
    }
    return Launch(
        model=root.resolve(),
        name=root.resolve().name,
        arguments=[
            *(f"--{name}={value}" for name, value in named.items() if value is not None),
            *(["--trust-remote-code"] if arguments.trust_remote_code else []),
            # On CPU, vLLM 0.32 fails on a prompt with a seed that it reads in parts ("CPU Generator does not
            # use offset"), and its engine ends.
            *([] if gpus else ["--no-enable-chunked-prefill"]),
            *own,
            *(mixture.arguments() if mixture else []),
            *shlex.split(arguments.vllm_args),
        ],
        python=arguments.vllm_python or _python(),
        port=arguments.model_port,
        environment={**_device(arguments.device), **(mixture.environment() if mixture else {})},
    )


def _device(name: str) -> dict[str, str]:
    """A GPU that the user named is the only one that the server sees."""
    kind, _, index = name.partition(":")
    return {VISIBLE: index} if kind == "cuda" and index else {}


def _python() -> str:
    beside = ROOT / ".venv-vllm" / "bin" / "python"
    return str(beside) if beside.exists() and importlib.util.find_spec("vllm") is None else sys.executable
