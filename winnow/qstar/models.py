"""A policy or a teacher that is ready to decode: weights, tokenizer, end-of-sequence ids, context length."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError

from winnow.errors import UserError
from winnow.manifest import Manifest
from winnow.qstar.masks import CROPPABLE
from winnow.qstar.vision import Vision
from winnow.records import Message


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to decode.

    Attributes:
        name: the directory it came from, for messages.
        model: the transformers model, in evaluation mode on its device.
        tokenizer: its tokenizer.
        manifest: what it is.
        eos_ids: ids that end a completion.
        context: the longest sequence, prompt and completion together, in tokens.
        vision: how it is shown images; None for models of text.
        alone: whether its rows are decoded one by one because it was seen to need that (see `probe`).
    """

    name: str
    model: Any
    tokenizer: Any
    manifest: Manifest
    eos_ids: frozenset[int]
    context: int
    vision: Vision | None = None
    alone: bool = False

    @property
    def device(self) -> torch.device:
        """Where its input goes."""
        return self.model.get_input_embeddings().weight.device  # type: ignore[no-any-return]

    @property
    def shares(self) -> dict[torch.device, float]:
        """Where its layers lie, and which share of them; one device, unless it is sharded."""
        places = getattr(self.model, "hf_device_map", None) or {}
        # Layers whose weights wait in memory or on a disk are run, and have their cache, beside the first.
        layers = [
            self.device if place in ("cpu", "disk") else torch.device(place)
            for name, device in places.items()
            if name.rpartition(".")[2].isdigit()
            for place in [f"cuda:{device}" if isinstance(device, int) else device]
        ]
        if not layers:
            return {self.device: 1.0}
        return {each: layers.count(each) / len(layers) for each in dict.fromkeys(layers)}

    @property
    def text_config(self) -> Any:
        """The configuration of the part that reads text."""
        return self.model.config.get_text_config()

    @property
    def crops(self) -> bool:
        """Whether drafted tokens can be taken back: its past is keys and values, and nothing recurrent."""
        kinds = set(getattr(self.text_config, "layer_types", None) or ())
        # GPT-Neo's local layers count their window from the end of the cache, whatever the mask says.
        local = "local" in (getattr(self.text_config, "attention_layers", None) or ())
        recurrent = self.model._is_stateful or not kinds <= CROPPABLE
        return not (self.alone or recurrent or local or self._scales_by_the_longest)

    @property
    def _scales_by_the_longest(self) -> bool:
        """Whether the longest row of a batch decides how all its positions are turned (LongRoPE)."""
        rope = getattr(self.text_config, "rope_parameters", None) or {}
        return rope.get("rope_type") == "longrope"

    @property
    def pad_id(self) -> int:
        """An id to fill with; masked everywhere, so any valid id serves where none is declared."""
        pad = self.tokenizer.pad_token_id
        return int(pad) if pad is not None else min(self.eos_ids)

    @property
    def width(self) -> int:
        """Columns of the logits."""
        return int(self.model.get_output_embeddings().out_features)

    def tokenize(
        self, messages: Sequence[Message], images: Sequence[Path] = (), where: str = "a prompt"
    ) -> list[int]:
        """Token ids of a conversation, up to where the assistant's turn begins.

        Args:
            messages: of the conversation.
            images: files, in the order in which they are shown.
            where: the prompt's name, for messages.

        Raises:
            UserError: images that the model cannot be shown.
        """
        if self.vision is not None:
            if images:
                self._check_images(where)
            return self.vision.tokenize(messages, images, where)
        if images:
            raise UserError(
                where,
                f"it has {len(images)} images, and {self.name} reads text alone",
                "a model with a vision_config in its config.json",
                "choose an image model, or an adapter that leaves out the images",
            )
        try:
            rendered = self.tokenizer.apply_chat_template(
                list(messages), add_generation_prompt=True, tokenize=False
            )
            return list(self.tokenizer.encode(rendered, add_special_tokens=False))
        except (TemplateError, TypeError, ValueError) as error:
            raise UserError(
                where,
                f"the chat template, or the tokenizer, of {self.name} refuses it ({error})",
                "messages that the template knows how to render",
                "correct the roles; many templates know no system message: put it into the user's",
            ) from error

    def _check_images(self, where: str) -> None:
        both_ways = "token_type_ids" in inspect.signature(self.model.forward).parameters
        if both_ways or not self.crops:
            raise UserError(
                where,
                f"{self.name} reads images in a way that this engine does not serve: "
                + (
                    "their parts see each other in both directions"
                    if both_ways
                    else "its layers are recurrent"
                ),
                "a LLaVA-style model, or one as Qwen2.5-VL",
                "choose such a model, or an adapter that leaves out the images",
            )

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of a completion; reasoning and answer tags stay, end-of-turn tokens go."""
        kept = [token for token in token_ids if token not in self.eos_ids]
        return str(self.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False))
