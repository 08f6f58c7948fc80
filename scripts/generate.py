#!/usr/bin/env python
"""Draw completions from the policy, from the teacher, or from q* between them.

q*(y) ∝ π_θ(y)^(1−α) · π_t(y)^α, token by token; α is the teacher's weight.

    scripts/generate.py --prompts prompts.jsonl --model_theta policy/ --model_t teacher/ \\
        --alpha_method kl_symmetry --num_rollout 8 --temperature 1.0 --max_new_tokens 512 \\
        --batch_size 32 --output completions.jsonl --save_diagnostics

alpha_method
    policy               the student alone (plain rejection sampling)
    teacher              the teacher alone, with its own prompt
    fixed                α = --fixed_alpha everywhere
    kl_symmetry          KL(q*‖π_θ) = KL(q*‖π_t) at each token
    entropy              α = H(π_θ) / (H(π_θ) + H(π_t))
    ess_balance          equal effective sample sizes towards both
    reverse_kl_symmetry  KL(π_θ‖q*) = KL(π_t‖q*)

--backend vllm draws through a vLLM server: started for this job, or, for the policy or the teacher, one that
runs already (--base_url, --skip_vllm_launch). For q* the teacher is served, and its engine hosts the student.

Finished completions are kept in <output>.partial: killed at any moment, the same command goes on
where it was. Each completion has a seed of its own, so the texts depend neither on the batch size,
nor on the depth of drafts, nor on what was interrupted.
"""

import os
import sys

# Import from the checkout, not from this folder: select.py here would stand in for Python's own.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
import functools
import logging
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from winnow.arms import Alpha
from winnow.attempts import COMPLETION_FIGURES, Attempt, counting
from winnow.command_line import add_attempts, add_deadline, check_output, parser, positive_int, run
from winnow.dataset_flags import add_dataset_flags, prompts_from_flags
from winnow.devices import SHARDED, add_devices, devices_a_node, held
from winnow.drawing import InProcess, Source, Work, draw_all, journals, outputs
from winnow.ending import told_of_the_end
from winnow.errors import UserError
from winnow.fingerprint import fingerprint
from winnow.generation import Block, Terms
from winnow.manifest import resolve
from winnow.qstar.parameters import SamplingParameters
from winnow.records import Prompt
from winnow.serving.flags import add_serving_flags
from winnow.shards import PromptFiles, shard_files
from winnow.verdicts import Verdicts

if TYPE_CHECKING:
    from winnow.qstar import OptimalSampler

log = logging.getLogger("generate")


def flags() -> argparse.ArgumentParser:
    p = parser(__doc__)
    models = p.add_argument_group("models: a directory, a manifest.json or a hub name")
    models.add_argument("--model_theta", help="the student; not needed for alpha_method teacher")
    models.add_argument("--model_t", help="the teacher; the student's own weights if not given")
    models.add_argument("--dtype", default="float32", help="float16, bfloat16, float32 or float64")
    models.add_argument(
        "--device",
        default="auto",
        help="auto (the GPU where there is one), cpu, cuda, cuda:1 …; sharded: over all visible GPUs",
    )
    models.add_argument("--device_t", help="where the teacher lies, if not beside the student; or sharded")
    add_devices(models, "GPUs; each draws a share of the prompts; leased where no cluster hands them out")
    models.add_argument("--trust_remote_code", action="store_true", help="run code shipped with a model")
    models.add_argument(
        "--backend",
        choices=("transformers", "vllm"),
        default="transformers",
        help="transformers runs in this process; vllm is a server",
    )
    drawing = p.add_argument_group("drawing")
    drawing.add_argument("--alpha_method", default="policy", help="see above; fixed-0.3 is fixed with 0.3")
    drawing.add_argument("--fixed_alpha", type=float, default=0.5, help="the teacher's weight for fixed")
    drawing.add_argument("--num_rollout", type=positive_int, default=8, help="completions of each prompt")
    drawing.add_argument(
        "--block",
        type=int,
        nargs="+",
        default=[0],
        help="which: 2 draws sample 2 × num_rollout and on; several share the model, and need an --output "
        "with {block} in its name",
    )
    drawing.add_argument("--temperature", type=float, default=1.0, help="0 takes the arg-max of q*")
    drawing.add_argument("--top_k", type=int, default=0, help="of q*; 0 keeps all")
    drawing.add_argument("--top_p", type=float, default=1.0, help="of q*; 1 keeps all")
    drawing.add_argument("--max_new_tokens", type=int, default=512, help="longest completion, in tokens")
    drawing.add_argument(
        "--stop", action="append", default=[], help="a string that ends a completion; may be given again"
    )
    drawing.add_argument(
        "--batch_size", type=positive_int, default=8, help="completions in progress at a time"
    )
    drawing.add_argument(
        "--draft_tokens",
        type=positive_int,
        help="tokens that the student drafts before the teacher looks (q*); measured and chosen if not given",
    )
    drawing.add_argument("--seed", type=int, default=0, help="the run's seed")
    drawing.add_argument("--step", default="0", help="the checkpoint's name, for the records")
    data = p.add_argument_group("prompts: --prompts, or a data set as prompts.py takes it")
    data.add_argument("--prompts", help="a prompt shard, as prompts.py writes it")
    data.add_argument(
        "--image_root", default=".", help="the folder of the prompts' images; none may lie outside"
    )
    add_dataset_flags(data, required=False)
    add_serving_flags(p.add_argument_group("--backend vllm"))
    output = p.add_argument_group("output")
    output.add_argument("--output", required=True, type=Path, help="the completions, JSONL")
    output.add_argument(
        "--save_diagnostics",
        action="store_true",
        help="write them beside the output, as *.diagnostics.jsonl (two models only)",
    )
    output.add_argument(
        "--progress_scorer",
        help="tell with the progress how many passed, by a cheap scorer of score.py: exact_answer, or "
        """'numeric_error={"tolerance": 0.5}'""",
    )
    add_deadline(output)
    add_attempts(output)
    output.add_argument("--save_token_ids", action="store_true", help="keep each completion's token ids")
    output.add_argument(
        "--save_logprobs",
        action="store_true",
        help="keep each token's log-probability under what it was drawn from",
    )
    return p


def main(arguments: argparse.Namespace) -> None:
    count = devices_a_node(arguments.devices, arguments.gres)
    _check_devices(arguments.device, arguments.device_t, count)
    alpha = Alpha.parse(arguments.alpha_method, arguments.fixed_alpha, "--alpha_method")
    parameters = SamplingParameters(
        arguments.temperature,
        arguments.top_k,
        arguments.top_p,
        arguments.max_new_tokens,
        tuple(arguments.stop),
    )
    if arguments.save_logprobs and arguments.backend == "vllm":
        _check_logprobs(arguments)
    if arguments.progress_scorer:
        Verdicts(arguments.progress_scorer)
    prompts = _prompts(arguments)
    theta, teacher = _models(arguments, alpha)
    works = _works(arguments, prompts, alpha, parameters, theta, teacher)
    elsewhere = arguments.backend == "vllm" and (arguments.base_url or arguments.skip_vllm_launch)
    attempt = Attempt(arguments.attempts, *COMPLETION_FIGURES)
    attempt.add(total=len(prompts) * arguments.num_rollout * len(works))
    with (
        told_of_the_end(arguments.deadline),
        journals(works, counting(attempt)) as found,
        held("cpu" if elsewhere or not found else arguments.device, count) as devices,
        attempt.holding(len(devices)),
        _source(arguments, alpha, parameters, theta, teacher, devices) as source,
    ):
        draw_all(found, source, arguments.progress_scorer)


def _works(
    arguments: argparse.Namespace,
    prompts: Collection[Prompt],
    alpha: Alpha,
    parameters: SamplingParameters,
    theta: str | None,
    teacher: str | None,
) -> list[Work]:
    found = []
    images = prompts.images if isinstance(prompts, PromptFiles) else any(each.images for each in prompts)
    for number, output in zip(arguments.block, outputs(arguments.output, arguments.block), strict=True):
        check_output(output, [arguments.prompts, arguments.dataset])
        block = Block(
            prompts=prompts,
            samples=range(number * arguments.num_rollout, (number + 1) * arguments.num_rollout),
            seed=arguments.seed,
            step=arguments.step,
            alpha=alpha.name,
            model=resolve(str(theta or teacher))[1].model,
            teacher=resolve(teacher)[1].model if theta and teacher else None,
        )
        header = block.parameters(
            **asdict(parameters),
            dtype=arguments.dtype,
            token_ids=arguments.save_token_ids,
            code=fingerprint(__file__),
            # Only where it matters: a journal of prompts without images does not know the flag.
            **({"image_root": arguments.image_root} if images else {}),
            **({"backend": "vllm"} if arguments.backend == "vllm" else {}),
            **({"logprobs": True} if arguments.save_logprobs else {}),
        )
        wanted = arguments.save_diagnostics and alpha.needs_both
        diagnostics = output.with_suffix(".diagnostics.jsonl") if wanted else None
        found.append(Work(block, output, diagnostics, header))
    if arguments.vllm_log is None:
        arguments.vllm_log = found[0].output.with_name(f"{found[0].output.stem}_vllm.log")
    return found


def _source(
    arguments: argparse.Namespace,
    alpha: Alpha,
    parameters: SamplingParameters,
    theta: str | None,
    teacher: str | None,
    devices: list[str],
) -> AbstractContextManager[Source]:
    if arguments.backend == "vllm":
        # Only now: the client takes half a second to import.
        from winnow.serving.source import Served

        return Served(arguments, theta, teacher, parameters, devices)
    load = functools.partial(
        load_sampler,
        theta or teacher,
        teacher,
        alpha.name,
        parameters=parameters,
        dtype=arguments.dtype,
        device=arguments.device,
        trust_remote_code=arguments.trust_remote_code,
        device_t=arguments.device_t,
        draft_tokens=arguments.draft_tokens,
        image_root=arguments.image_root,
    )
    terms = Terms(
        arguments.batch_size,
        arguments.save_token_ids,
        arguments.save_logprobs,
        arguments.max_failed_fraction,
    )
    # A model that lies on all GPUs is one worker's.
    spread = SHARDED in (arguments.device, arguments.device_t)
    return nullcontext(InProcess(load, devices[:1] if spread else devices, terms))


def _check_logprobs(arguments: argparse.Namespace) -> None:
    mend = "leave it out, or let the job start a vLLM of its own and draw at a temperature above 0"
    expected = "what the server has drawn from, after temperature, top-k and top-p"
    found = None
    if arguments.base_url or arguments.skip_vllm_launch:
        found = "given with a server that runs already: vLLM's default is to tell others"
    elif not arguments.temperature:
        found = "given with --temperature 0, where vLLM tells those at temperature 1"
    if found:
        raise UserError("--save_logprobs", found, expected, mend)


def _check_devices(device: str, device_t: str | None, count: int) -> None:
    if device_t and device_t.startswith("cuda") and (device in ("auto", "cuda") or count > 1):
        raise UserError(
            "--device_t",
            f"{device_t} beside --device {device} and {count} leased or shared GPUs",
            "both devices by name: a lease shows a process one GPU",
            "give --device cuda:0 as well, and --devices 1",
        )


def _prompts(arguments: argparse.Namespace) -> Collection[Prompt]:
    if (arguments.prompts is None) == (arguments.dataset is None):
        raise UserError(
            "--prompts",
            "both given" if arguments.prompts else "neither --prompts nor --dataset is given",
            "one of --prompts (a shard of prompts.py) and --dataset",
            "give one of them",
        )
    return (
        PromptFiles(shard_files([arguments.prompts], 1))
        if arguments.prompts
        else list(prompts_from_flags(arguments))
    )


def _models(arguments: argparse.Namespace, alpha: Alpha) -> tuple[str | None, str | None]:
    """(student or None, teacher or None) that have to be loaded."""
    theta, teacher = arguments.model_theta, arguments.model_t or arguments.model_theta
    if teacher is None or (theta is None and alpha.method != "teacher"):
        raise UserError(
            "--model_theta", "not given", f"the student, for alpha_method {alpha.name}", "give its directory"
        )
    return (
        None if alpha.method == "teacher" else theta,
        None if alpha.method == "policy" else teacher,
    )


def load_sampler(*arguments: Any, **options: Any) -> "OptimalSampler":
    # Only now: torch takes seconds to import, and a mistake above should not.
    from winnow.qstar import OptimalSampler

    return OptimalSampler(*arguments, **options)


if __name__ == "__main__":
    run(main, flags())
