"""The student's part of a request for q*: its prompt as token ids, for the teacher's engine."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from winnow.errors import UserError
from winnow.lora import base_of
from winnow.manifest import resolve
from winnow.records import Prompt


class Student:
    """A student's tokenizer and limits, without its weights.

    Args:
        model: a directory, a manifest file or a hub name.
        trust_remote_code: run code that ships with it.

    Attributes:
        root: its directory.
        context: the longest sequence, in tokens.
        eos_ids: ids that end a completion for it.
        trust_remote_code: as given.

    Raises:
        UserError: no chat template, or an image model.
    """

    def __init__(self, model: str, trust_remote_code: bool) -> None:
        self.root, _ = resolve(model)
        if base_of(self.root):
            raise UserError(
                model,
                "a LoRA adapter as the student of a served q*",
                "a whole model, for --backend vllm",
                "merge it into its base, or draw with --backend transformers",
            )
        self.trust_remote_code = trust_remote_code
        config = AutoConfig.from_pretrained(self.root, trust_remote_code=trust_remote_code)
        if getattr(config, "vision_config", None) is not None:
            raise UserError(
                model,
                "an image model as the student of a served q*",
                "a model of text, for --backend vllm",
                "draw with --backend transformers",
            )
        self._tokenizer: Any = AutoTokenizer.from_pretrained(self.root, trust_remote_code=trust_remote_code)
        if self._tokenizer.chat_template is None:
            raise UserError(
                self.root,
                "its tokenizer has no chat template",
                "a chat template that renders messages",
                "add chat_template.jinja to the model directory",
            )
        self.context = int(getattr(config, "max_position_embeddings", 0) or 1 << 30)
        self.eos_ids = self._eos_ids()

    def prompt(self, prompt: Prompt) -> list[int]:
        """Token ids of what the student is shown."""
        rendered = self._tokenizer.apply_chat_template(
            prompt.messages, add_generation_prompt=True, tokenize=False
        )
        return list(self._tokenizer.encode(rendered, add_special_tokens=False))

    def _eos_ids(self) -> list[int]:
        ids = {self._tokenizer.eos_token_id}
        if (self.root / "generation_config.json").exists():
            declared = GenerationConfig.from_pretrained(self.root).eos_token_id
            ids |= set(declared if isinstance(declared, list) else [declared])
        return sorted(int(each) for each in ids - {None})
