"""What is known of a served model without its weights: tokenizer, chat template, limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from winnow import jsonl
from winnow.errors import UserError
from winnow.lora import base_of
from winnow.manifest import resolve
from winnow.records import Message, Prompt


class ChatModel:
    """A model of text, as its tokens see it.

    Args:
        model: a directory, a manifest file or a hub name.
        trust_remote_code: run code that ships with it.
        part: what it is here, for messages: "the student of a served q*".

    Attributes:
        root: its directory.
        context: the longest sequence, in tokens.
        eos_ids: ids that end a completion for it.
        trust_remote_code: as given.

    Raises:
        UserError: no chat template, an adapter, or an image model.
    """

    def __init__(self, model: str, trust_remote_code: bool, part: str) -> None:
        self.root, _ = resolve(model)
        if base_of(self.root):
            raise UserError(
                model,
                f"a LoRA adapter as {part}",
                "a whole model, for vLLM",
                "merge it into its base, or draw with --backend transformers",
            )
        # Only now: it takes seconds to import, and a mistake in the input should not.
        from transformers import AutoConfig, AutoTokenizer

        self.trust_remote_code = trust_remote_code
        config = AutoConfig.from_pretrained(self.root, trust_remote_code=trust_remote_code)
        if getattr(config, "vision_config", None) is not None:
            raise UserError(
                model,
                f"an image model as {part}",
                "a model of text",
                "draw with --backend transformers",
            )
        self.tokenizer: Any = AutoTokenizer.from_pretrained(self.root, trust_remote_code=trust_remote_code)
        if self.tokenizer.chat_template is None:
            raise UserError(
                self.root,
                "its tokenizer has no chat template",
                "a chat template that renders messages",
                "add chat_template.jinja to the model directory",
            )
        self.context = int(getattr(config, "max_position_embeddings", 0) or 1 << 30)
        self.eos_ids = self._eos_ids()

    def ids(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of what it is shown."""
        rendered = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return list(self.tokenizer.encode(rendered, add_special_tokens=False))

    def prompt(self, prompt: Prompt) -> list[int]:
        """Token ids of what it is shown as the student."""
        return self.ids(prompt.messages)

    def _eos_ids(self) -> list[int]:
        ids = {self.tokenizer.eos_token_id}
        if (self.root / "generation_config.json").exists():
            declared = jsonl.read_json(self.root / "generation_config.json").get("eos_token_id")
            ids |= set(declared if isinstance(declared, list) else [declared])
        return sorted(int(each) for each in ids - {None})
