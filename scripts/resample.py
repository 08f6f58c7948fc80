#!/usr/bin/env python
"""Resample completions of one model towards sequence-level q*, with the help of stock servers.

q(y) ∝ π_θ(y)^(1−α) · π_t(y)^α over whole completions y: another distribution than that of generate.py, which
mixes and normalises token by token. This one needs nothing but servers that tell log-probabilities; it is
exact only as the number of candidates grows, and of long completions a few candidates have all of the weight.
The effective sample size, (Σw)²/Σw², says so: it is logged, and told for each prompt beside the output.

    scripts/generate.py --backend vllm --model_t teacher/ --alpha_method teacher --prompts prompts.jsonl \\
        --num_rollout 32 --temperature 1 --save_token_ids --save_logprobs --output candidates.jsonl
    scripts/resample.py --input candidates.jsonl --prompts prompts.jsonl \\
        --model_theta policy/ --model_t teacher/ --alpha 0.5 --num_rollout 4 --output completions.jsonl

Each candidate is read under both models by vLLM (`prompt_logprobs`), the student's server first, then the
teacher's; one server where they are the same weights. The weight is π_θ^(1−α) π_t^α over what has drawn the
candidate: its saved log-probabilities, or, where none were saved, the model itself at temperature 1 without
top-k and top-p. Killed at any moment, the same command goes on where it was.

Writes the completions, with alpha `sequence-0.5` in their records, and <output stem>.weights.jsonl: for each
prompt the candidates' weights and log-probabilities, ESS, an estimate of log Z, and which were chosen.
"""

import os
import sys

# Import from the checkout, not from this folder: select.py here would stand in for Python's own.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
import logging
from pathlib import Path

from winnow.attempts import Attempt
from winnow.command_line import add_attempts, add_deadline, check_output, fraction, parser, positive_int, run
from winnow.devices import add_devices, devices_a_node, held
from winnow.ending import told_of_the_end
from winnow.errors import UserError
from winnow.fingerprint import fingerprint
from winnow.journal import FinishedElsewhere, Journal
from winnow.manifest import file_hash
from winnow.serving.flags import add_serving_flags
from winnow.shards import shard_files

log = logging.getLogger("resample")


def flags() -> argparse.ArgumentParser:
    p = parser(__doc__)
    p.add_argument("--input", required=True, help="candidates of the policy or the teacher, with token ids")
    p.add_argument(
        "--prompts", required=True, nargs="+", help="their prompt shards in order, or their folder"
    )
    p.add_argument("--num_shards", type=positive_int, default=1, help="shards in the folder")
    p.add_argument("--model_theta", required=True, help="the student: a directory, a manifest or a hub name")
    p.add_argument("--model_t", help="the teacher; the student's own weights if not given")
    p.add_argument("--alpha", type=fraction, default=0.5, help="the teacher's weight")
    p.add_argument("--num_rollout", type=positive_int, default=4, help="completions of each prompt")
    p.add_argument("--seed", type=int, default=0, help="of the resampling")
    p.add_argument("--dtype", default="float32", help="float16, bfloat16 or float32")
    p.add_argument("--device", default="auto", help="auto (the GPU where there is one), cpu, cuda, cuda:1 …")
    p.add_argument("--trust_remote_code", action="store_true", help="run code shipped with a model")
    add_devices(p, "GPUs; leased where no cluster hands them out")
    add_serving_flags(p.add_argument_group("servers"))
    p.add_argument("--output", required=True, type=Path, help="the completions, JSONL")
    add_deadline(p)
    add_attempts(p)
    return p


def main(arguments: argparse.Namespace) -> None:
    check_output(arguments.output, [arguments.input, *arguments.prompts])
    prompts = shard_files(arguments.prompts, arguments.num_shards)
    count = devices_a_node(arguments.devices, arguments.gres)
    elsewhere = arguments.base_url or arguments.skip_vllm_launch
    header = {
        "input": file_hash(Path(arguments.input)),
        "prompts": [file_hash(path) for path in prompts],
        "dtype": arguments.dtype,
        "code": fingerprint(__file__),
    }
    # Only now: tokenizers and the client take seconds to import.
    from winnow.serving.resample import resample

    attempt = Attempt(arguments.attempts, "log_probabilities", "tokens")
    try:
        with (
            told_of_the_end(arguments.deadline),
            held("cpu" if elsewhere else arguments.device, count) as devices,
            attempt.holding(len(devices)),
        ):
            resample(
                arguments,
                prompts,
                header,
                devices,
                lambda journal: Journal(arguments.output, journal),
                lambda tokens: attempt.add(log_probabilities=1, tokens=tokens),
            )
    except FinishedElsewhere:
        raise UserError(
            arguments.output,
            "finished by another process meanwhile, perhaps with another --alpha, --seed or --num_rollout",
            "one process that writes it",
            "use what is there, or run again",
        ) from None


if __name__ == "__main__":
    run(main, flags())
