"""The source of a generate job with --backend vllm: servers and client, as the flags say."""

from __future__ import annotations

import argparse
import functools
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from winnow.arms import Alpha
from winnow.errors import UserError
from winnow.generation import Block, Finished, Missing
from winnow.qstar.parameters import SamplingParameters
from winnow.serving.completions import Terms, completions
from winnow.serving.connect import client_from_flags
from winnow.serving.mixture import Mixture
from winnow.serving.requests import body
from winnow.serving.student import Student


def served(
    arguments: argparse.Namespace,
    block: Block,
    theta: str | None,
    teacher: str | None,
    parameters: SamplingParameters,
    devices: list[str],
    missing: list[Missing],
) -> Generator[Finished]:
    """Yield the missing completions as servers finish them.

    Args:
        arguments: of generate.py.
        block: what the job draws.
        theta, teacher: the models that it needs.
        parameters: how.
        devices: its GPUs.
        missing: what its journal lacks.

    Raises:
        UserError: a server that does not start, or too many completions that failed.
    """
    with _mixture(arguments, block.alpha, theta, missing, parameters) as mixture:
        make = functools.partial(
            body, parameters=parameters, image_root=Path(arguments.image_root), mixture=mixture
        )
        with client_from_flags(arguments, str(teacher or theta), make, devices, mixture) as client:
            # vLLM refuses several samples at T = 0, which are all the same.
            together = client.takes_n and parameters.temperature > 0
            most = arguments.num_rollout if together else 1
            terms = Terms(most, arguments.max_failed_fraction, arguments.save_token_ids, mixture)
            yield from completions(block, missing, client, terms)


@contextmanager
def _mixture(
    arguments: argparse.Namespace,
    alpha: str,
    theta: str | None,
    missing: list[Missing],
    parameters: SamplingParameters,
) -> Iterator[Mixture | None]:
    if theta is None or not Alpha.parse(alpha).needs_both:
        yield None
        return
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
    student = Student(theta, arguments.trust_remote_code)
    prompts = {each.prompt.id: each.prompt for each in missing}.values()
    with tempfile.TemporaryDirectory(prefix="winnow-") as folder:
        yield Mixture.of(
            student,
            prompts,
            alpha,
            arguments.dtype,
            arguments.batch_size,
            parameters.max_new_tokens,
            Path(folder),
        )
