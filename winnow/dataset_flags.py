"""The flags that say where prompts come from, shared by the programs that read a data set."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from winnow import adapters
from winnow.command_line import positive_int
from winnow.errors import UserError
from winnow.prompting import PromptTemplates, read_prompts
from winnow.records import Prompt


def add_dataset_flags(p: argparse.ArgumentParser, required: bool) -> None:
    """Add the flags of data set, adapter and templates."""
    p.add_argument("--dataset", required=required, help="a local file, or a data set's name on the hub")
    p.add_argument("--dataset_split", default="train", help="the split of a hub data set")
    p.add_argument(
        "--dataset_adapter",
        default="auto",
        help=f"{', '.join(adapters.BUILTIN)}, or your own: package.module:name",
    )
    p.add_argument(
        "--adapter_options", type=_options, default={}, help='the adapter\'s own, as {"use_cot": false}'
    )
    p.add_argument("--prompt_field", help="the prompt's field; found by its usual names if not given")
    p.add_argument("--response_field", help="the reference's field; found by its usual names if not given")
    p.add_argument("--num_samples", type=positive_int, help="prompts to take; all if not given")
    p.add_argument("--start_idx", type=int, default=0, help="rows to skip first")
    p.add_argument(
        "--duplicates",
        choices=["error", "drop"],
        default="error",
        help="what becomes of a row that is equal to one before it; drop counts them",
    )
    p.add_argument("--prompt_template", default="{{ prompt }}", help="the student's user message")
    p.add_argument("--system_prompt", help="the student's system message")
    p.add_argument("--teacher_template", help="the teacher's user message")
    p.add_argument("--teacher_system_prompt", help="the teacher's system message")


def _options(text: str) -> dict[str, Any]:
    try:
        options = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"{text} is not JSON ({error})") from None
    if not isinstance(options, dict):
        raise argparse.ArgumentTypeError(f'{text} is given, {{"option": value}} is expected')
    return options


def prompts_from_flags(arguments: argparse.Namespace) -> Iterator[Prompt]:
    """The prompts that the flags ask for; `seed` and `image_root` are among a program's own flags.

    Raises:
        UserError: the data set is missing, empty, or has a row that cannot be read.
    """
    adapter = adapters.adapter(
        arguments.dataset_adapter,
        arguments.prompt_field,
        arguments.response_field,
        arguments.adapter_options,
        seed=arguments.seed,
        image_root=arguments.image_root,
    )
    templates = PromptTemplates(
        arguments.prompt_template,
        arguments.system_prompt,
        arguments.teacher_template,
        arguments.teacher_system_prompt,
    )
    if arguments.start_idx < 0:
        raise UserError("--start_idx", str(arguments.start_idx), "at least 0", "correct the value")
    dataset = adapters.read_dataset(
        arguments.dataset, arguments.dataset_split, arguments.start_idx, arguments.num_samples
    )
    prompt = None
    drop = arguments.duplicates == "drop"
    for prompt in read_prompts(dataset, adapter, templates, arguments.image_root, drop):
        yield prompt
    if prompt is None:
        raise UserError(
            arguments.dataset, "no rows", "at least one prompt", "check the file, start_idx and num_samples"
        )
