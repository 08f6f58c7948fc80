"""The flags of programs that draw from served models."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from winnow.command_line import fraction, positive_int


def add_serving_flags(group: argparse._ActionsContainer) -> None:
    """What --backend vllm takes."""
    group.add_argument(
        "--vllm_python",
        default=os.getenv("WINNOW_VLLM_PYTHON"),
        help="a Python that has vLLM; if not given, this one, or that of .venv-vllm (`make vllm`); the "
        "environment variable WINNOW_VLLM_PYTHON sets the default",
    )
    group.add_argument(
        "--tensor_parallel_size", type=positive_int, default=1, help="GPUs that share the model"
    )
    group.add_argument(
        "--gpu_memory_utilization", type=fraction, help="of each GPU; vLLM's own default if not given"
    )
    group.add_argument("--max_model_len", type=positive_int, help="prompt and completion together, in tokens")
    group.add_argument(
        "--vllm_args",
        default="",
        help="anything else for vLLM's server, as one string: --vllm_args='--enforce-eager --swap-space 8'",
    )
    group.add_argument("--vllm_log", type=Path, help="what the server prints; beside the output if not given")
    group.add_argument("--server_timeout", type=float, default=1800.0, help="seconds that a start may take")
    group.add_argument(
        "--model_port", type=int, help="of the server on this machine; a free one if not given"
    )
    group.add_argument(
        "--skip_vllm_launch",
        action="store_true",
        help="use the server that runs on --model_port (8000 if not given)",
    )
    group.add_argument(
        "--base_url",
        action="append",
        default=[],
        help="use a server that runs elsewhere, as http://host:8000/v1; several share the load. Its key is "
        "taken from the environment variable OPENAI_API_KEY",
    )
    group.add_argument("--served_model_name", help="for servers of more than one model")
    group.add_argument(
        "--concurrency",
        type=positive_int,
        default=32,
        help="prompts in flight, each with num_rollout completions; as many again wait, so that the server "
        "has work while the longest of a prompt is drawn",
    )
    group.add_argument(
        "--max_retries", type=int, default=10, help="of a request, before its completions have failed"
    )
    group.add_argument("--request_timeout", type=float, default=1800.0, help="seconds for one answer")
    group.add_argument(
        "--max_failed_fraction",
        type=fraction,
        default=0.01,
        help="of the completions; with more the job fails, with fewer the ledger says why",
    )
