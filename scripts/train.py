#!/usr/bin/env python
"""Fine-tune the policy on selected completions: TRL's SFTTrainer, started by `accelerate launch`.

    scripts/train.py --pretrain policy/ --train_data training_data/prompt_completion.jsonl \\
        --save_path checkpoints/round-1 --max_epochs 3 --train_batch_size 32 --learning_rate 1e-5

The loss falls on the completion only. Image models are trained on rows with `images`, paths below
--image_root. Writes <save_path>/model and, when it is whole,
<save_path>/manifest.json (files, hashes, recipe, parent). A killed run goes on from its own last
checkpoint when the same command is given again. --devices and --nodes take it to several GPUs;
--accelerate_config says how they share the work: envs/accelerate/ has DDP, FSDP2 and DeepSpeed ZeRO-3.
"""

import os
import sys

# Import from the checkout, not from this folder: select.py here would stand in for Python's own.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from winnow import jsonl
from winnow.command_line import add_attempts, add_deadline, parser, positive_int, run
from winnow.devices import add_devices, devices_a_node, lease
from winnow.errors import UserError
from winnow.fingerprint import fingerprint
from winnow.formats.prompt_completion import PromptCompletion
from winnow.images import located, placeholders
from winnow.manifest import file_hash, resolve
from winnow.training.attention import IMPLEMENTATIONS, check_installed
from winnow.training.launch import World, chosen_config, launch, on_every_node
from winnow.training.recipe import Recipe, Workplace, alone, claim

if TYPE_CHECKING:
    # The worker that is launched below: named here, so that the fingerprint covers it.
    import winnow.training.sft  # noqa: F401

log = logging.getLogger("train")


def flags() -> argparse.ArgumentParser:
    p = parser(__doc__)
    p.add_argument(
        "--pretrain", required=True, help="the checkpoint to start from: directory, manifest or hub name"
    )
    p.add_argument(
        "--train_data", required=True, type=Path, help="prompt_completion.jsonl, as export.py writes it"
    )
    p.add_argument("--save_path", required=True, type=Path, help="gets model/ and manifest.json")
    p.add_argument("--max_epochs", type=float, default=3.0, help="passes over the data")
    p.add_argument(
        "--train_batch_size", type=positive_int, default=32, help="examples an optimizer step, all devices"
    )
    p.add_argument("--micro_train_batch_size", type=positive_int, default=8, help="examples a forward pass")
    p.add_argument(
        "--learning_rate", "--actor_learning_rate", type=float, default=1e-5, help="peak, of AdamW"
    )
    p.add_argument("--lr_scheduler", default="cosine", help="any of transformers: cosine, linear, constant …")
    p.add_argument("--warmup_ratio", type=float, default=0.03, help="share of the steps that warm up")
    p.add_argument("--weight_decay", type=float, default=0.0, help="of AdamW")
    p.add_argument(
        "--max_length",
        type=positive_int,
        help="cut examples to so many tokens; those with images are left out instead, and counted",
    )
    p.add_argument(
        "--max_prompt_length",
        "--prompt_max_len",
        type=positive_int,
        help="leave out, and count, examples whose prompt has more tokens, those of its images included",
    )
    p.add_argument(
        "--image_root", default=".", help="the folder of the examples' images; none may lie outside"
    )
    p.add_argument(
        "--dtype", default="float32", choices=["float32", "float64", "bfloat16"], help="of the weights"
    )
    p.add_argument("--bf16", action="store_true", help="mixed precision")
    p.add_argument("--gradient_checkpointing", action="store_true", help="less memory, more time")
    p.add_argument(
        "--attn_implementation",
        choices=IMPLEMENTATIONS,
        help="how attention is computed; transformers' own choice if not given",
    )
    p.add_argument(
        "--flash_attn",
        dest="attn_implementation",
        action="store_const",
        const="flash_attention_2",
        help="--attn_implementation flash_attention_2",
    )
    p.add_argument("--seed", type=int, default=0, help="of the order of the examples")
    p.add_argument("--save_steps", type=positive_int, default=50, help="steps between resumable checkpoints")
    p.add_argument("--nodes", type=positive_int, default=1, help="nodes of the SLURM job")
    add_devices(p, "GPUs, over all nodes, one process each; leased where no cluster hands them out")
    p.add_argument(
        "--accelerate_config",
        type=Path,
        help="how several GPUs share the work: one of envs/accelerate (DDP if not given), or your own",
    )
    add_deadline(p)
    add_attempts(p)
    p.add_argument("--trust_remote_code", action="store_true", help="run code shipped with the model")
    return p


def main(arguments: argparse.Namespace) -> None:
    check_installed(arguments.attn_implementation)
    _, parent = resolve(arguments.pretrain)
    images = _check_data(arguments.train_data, Path(arguments.image_root))
    recipe = Recipe(
        parent=parent.model,
        train_data=file_hash(arguments.train_data),
        code=fingerprint(__file__),
        # Only where it matters: text goes on with another one.
        image_root=arguments.image_root if images else None,
        **{key: getattr(arguments, key) for key in RECIPE_FLAGS},
    )
    # Before the workers start: they could not all wait here, their meeting has a time limit.
    with alone(Workplace(arguments.save_path)) as finished:
        if finished:
            return
        claim(Workplace(arguments.save_path), recipe)
    worker = [
        "--save_path", str(arguments.save_path),
        "--model", arguments.pretrain,
        "--train_data", str(arguments.train_data),
        "--deadline", arguments.deadline,
        *(["--attempts", str(arguments.attempts)] if arguments.attempts else []),
        *(["--trust_remote_code"] if arguments.trust_remote_code else []),
    ]  # fmt: skip
    count = devices_a_node(arguments.devices, arguments.gres, arguments.nodes)
    processes = max(1, count)
    chosen_config(arguments.accelerate_config, processes * arguments.nodes)
    if arguments.nodes > 1:
        on_every_node(worker, arguments.accelerate_config, arguments.nodes, processes)
    # Not given back here: the launcher, which takes this process's place, holds the GPUs to its end.
    with lease(count) as devices:
        launch(worker, arguments.accelerate_config, World(1, 0, processes if devices else 1))


RECIPE_FLAGS = (
    "max_epochs", "train_batch_size", "micro_train_batch_size", "learning_rate", "lr_scheduler",
    "warmup_ratio", "weight_decay", "max_length", "max_prompt_length", "dtype", "bf16",
    "gradient_checkpointing", "attn_implementation", "seed", "save_steps",
)  # fmt: skip


def _check_data(path: Path, image_root: Path) -> bool:
    """Read every row once: a trainer's own error for a torn line says little.

    Returns:
        Whether any row has images.
    """
    count, seen = 0, False
    for number, row in jsonl.numbered(path):
        count += 1
        where = f"{path}, line {number}"
        try:
            conversation = PromptCompletion().from_row(row)
        except (KeyError, IndexError, TypeError):
            raise UserError(
                where,
                f"a row with {', '.join(row) or 'no keys'}",
                "{'prompt': [messages], 'completion': [message]}",
                "pass the prompt_completion.jsonl of export.py",
            ) from None
        if conversation.images:
            seen = True
            placeholders(conversation.messages, len(conversation.images), where)
            placeholders(row["completion"], 0, where)
            located(conversation.images, image_root, where)
    if not count:
        raise UserError(
            path,
            "no training examples",
            "at least one",
            "see statistics.txt of the selection: it says what became of every completion",
        )
    return seen


if __name__ == "__main__":
    run(main, flags())
