"""Load a reward model: a sequence classifier whose head was trained, never one that was made up."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from jinja2 import TemplateError
from safetensors import SafetensorError
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from winnow.errors import UserError
from winnow.lora import base_of
from winnow.manifest import resolve
from winnow.records import Message
from winnow.scoring import reward_files
from winnow.scoring.reward_forward import RewardForward

UNBOUNDED = 1 << 30
"""Tokenizers without a limit of their own name a far larger one."""


@dataclass(frozen=True)
class LoadedRewardModel:
    """A reward model that is ready to score.

    Attributes:
        name: as the config has it, for messages.
        tokenizer: its tokenizer, with a chat template.
        forward: what runs its batches.
        context: the longest sequence that it reads, in tokens.
    """

    name: str
    tokenizer: Any
    forward: RewardForward
    context: int

    def render(self, messages: Sequence[Message], text: str, where: str) -> tuple[str, tuple[int, ...]]:
        """A completion behind its prompt, in the model's own chat template: its text and token ids.

        Raises:
            UserError: the template refuses the conversation.
        """
        conversation = [*messages, {"role": "assistant", "content": text}]
        try:
            shown = str(self.tokenizer.apply_chat_template(conversation, tokenize=False))
        except TemplateError as error:
            raise UserError(
                where,
                f"the chat template of reward model {self.name} refuses the conversation ({error})",
                "roles and an order that the template knows",
                "choose another reward model, or change the prompts (a system message is the usual cause)",
            ) from error
        # The template writes the special tokens itself.
        return shown, tuple(self.tokenizer.encode(shown, add_special_tokens=False))


def load(
    model: str, dtype: str, device: str, output: int | None, trust_remote_code: bool
) -> LoadedRewardModel:
    """Load from a directory, a manifest file or a hub name; safetensors only.

    Raises:
        UserError: not a complete model, no trained head, several outputs of which none was chosen, no chat
            template, or no memory for it.
    """
    directory, _ = resolve(model)
    if base_of(directory):
        raise reward_files.adapter(model)
    where = _device(device)
    with _explained(model):
        tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=trust_remote_code)
    if not tokenizer.encode("a", add_special_tokens=False):
        raise UserError(
            model,
            "its tokenizer makes no tokens of a text",
            "the tokenizer's own files (tokenizer.json) beside the weights",
            "copy them from the model that it was trained from",
        )
    if tokenizer.chat_template is None:
        raise reward_files.no_template(model)
    loaded = _classifier(model, directory, dtype, trust_remote_code)
    try:
        loaded.eval().requires_grad_(False).to(where)
    except torch.OutOfMemoryError as error:
        raise UserError(
            model,
            f"the model does not fit on {where} in {dtype} ({_first_line(error)})",
            "memory for the weights",
            "choose dtype: bfloat16, a larger GPU, or fewer reward models at once",
        ) from error
    return LoadedRewardModel(
        name=model,
        tokenizer=tokenizer,
        forward=RewardForward(loaded, _column(model, loaded, output), model),
        context=_context(loaded.config.get_text_config(), tokenizer),
    )


def _classifier(model: str, directory: Path, dtype: str, trust_remote_code: bool) -> Any:
    with _explained(model), _quiet():
        loaded, report = AutoModelForSequenceClassification.from_pretrained(
            directory,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
    if missing := sorted(report["missing_keys"]):
        more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        raise reward_files.headless(model, ", ".join(missing[:4]) + more, type(loaded).__name__)
    return loaded


def _device(device: str) -> torch.device:
    try:
        found = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    except RuntimeError as error:
        raise UserError(
            "option device",
            f"{device!r} ({_first_line(error)})",
            "auto, cpu, cuda or cuda:1",
            "correct the option",
        ) from error
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise UserError(
            "option device",
            f"{device!r}, and {torch.cuda.device_count()} GPUs are visible",
            "a GPU that this job was given",
            "set gpu under resources.score, or --devices of score.py, or choose device: auto",
        )
    return found


@contextmanager
def _explained(model: str) -> Iterator[None]:
    """Say which model it is that transformers cannot load."""
    try:
        yield
    except (ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise UserError(
            model,
            f"transformers cannot load it as a sequence classifier ({_first_line(error)})",
            "a model for AutoModelForSequenceClassification, with safetensors weights and a tokenizer",
            "check config.json (architectures, num_labels); code beside the weights runs only with "
            "trust_remote_code: true",
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from reporting what is refused below in our words."""
    before = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity(logging.CRITICAL)
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.utils.logging.set_verbosity(before)


def _column(model: str, loaded: Any, output: int | None) -> int:
    reward_files.check_output(model, int(loaded.config.num_labels), loaded.config.id2label, output)
    return output or 0


def _context(config: Any, tokenizer: Any) -> int:
    return min(
        int(getattr(config, "max_position_embeddings", None) or UNBOUNDED),
        int(tokenizer.model_max_length),
        UNBOUNDED,
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
