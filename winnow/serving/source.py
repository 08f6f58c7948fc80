"""The source of a generate job with --backend vllm: servers and client, as the flags say."""

from __future__ import annotations

import argparse
import functools
import tempfile
from collections.abc import Generator, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from winnow.arms import Alpha
from winnow.errors import UserError
from winnow.generation import Block, Finished, Missing
from winnow.qstar.parameters import SamplingParameters
from winnow.serving.answers import Choice
from winnow.serving.chat_model import ChatModel
from winnow.serving.client import Client, chat
from winnow.serving.completions import Terms, completions
from winnow.serving.connect import client_from_flags
from winnow.serving.mixture import Mixture
from winnow.serving.requests import body


class Served:
    """Draws from servers, which are started with the first block that lacks anything, and serve all of them.

    Args:
        arguments: of generate.py.
        theta, teacher: the models that the blocks need.
        parameters: how they are drawn.
        devices: the job's GPUs.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        theta: str | None,
        teacher: str | None,
        parameters: SamplingParameters,
        devices: list[str],
    ) -> None:
        self._arguments, self._theta, self._teacher = arguments, theta, teacher
        self._parameters, self._devices = parameters, devices
        # vLLM refuses several samples at T = 0, which are all the same.
        self._together = parameters.temperature > 0
        self._stack = ExitStack()
        self._client: Client[Choice] | None = None
        self._mixture: Mixture | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def draw(self, block: Block, missing: Iterable[Missing]) -> Generator[Finished]:
        """Yield the missing completions as servers finish them.

        Raises:
            UserError: a server that does not start, or too many completions that failed.
        """
        if self._client is None:
            self._client = self._start(block)
        terms = Terms(
            self._arguments.num_rollout if self._together and self._client.takes_n else 1,
            self._arguments.max_failed_fraction,
            self._arguments.save_token_ids,
            self._arguments.save_logprobs,
            self._mixture,
        )
        yield from completions(block, missing, self._client, terms)

    def _start(self, block: Block) -> Client[Choice]:
        arguments = self._arguments
        if self._theta is not None and Alpha.parse(block.alpha).needs_both:
            self._mixture = self._mixed(self._theta, block)
        make = functools.partial(
            body,
            parameters=self._parameters,
            image_root=Path(arguments.image_root),
            mixture=self._mixture,
            logprobs=arguments.save_logprobs,
        )
        # Of what was drawn from: after temperature, top-k and top-p.
        own = ["--logprobs-mode=processed_logprobs"] if arguments.save_logprobs else []
        model = str(self._teacher or self._theta)
        client = client_from_flags(
            arguments,
            model,
            chat(make),
            self._devices,
            self._mixture,
            own,
            samples=arguments.num_rollout,
            together=self._together,
        )
        return self._stack.enter_context(client)

    def _mixed(self, theta: str, block: Block) -> Mixture:
        arguments = self._arguments
        _check_mixture(arguments, block.alpha)
        student = ChatModel(theta, arguments.trust_remote_code, "the student of a served q*")
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="winnow-"))
        return Mixture.of(
            student,
            block.prompts,
            block.alpha,
            arguments.dtype,
            arguments.batch_size,
            self._parameters.max_new_tokens,
            Path(folder),
        )


def _check_mixture(arguments: argparse.Namespace, alpha: str) -> None:
    if arguments.base_url or arguments.skip_vllm_launch:
        raise UserError(
            "--base_url" if arguments.base_url else "--skip_vllm_launch",
            f"a server that runs already, for alpha {alpha}",
            "a server of the job's own: q* needs the student in its engine",
            "leave it out, or draw with --backend transformers",
        )
    if arguments.tensor_parallel_size > 1:
        raise UserError(
            "--tensor_parallel_size",
            f"{arguments.tensor_parallel_size}, for alpha {alpha}",
            "1: the student is not split",
            "give 1 (the job's GPUs hold copies then), or draw with --backend transformers",
        )
