"""Load a policy or a teacher: weights, tokenizer, end-of-sequence ids, context length."""

from __future__ import annotations

import inspect
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
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
)

from winnow.devices import SHARDED
from winnow.errors import UserError
from winnow.lora import base_of
from winnow.manifest import TOKENIZER_FILES, Manifest, resolve
from winnow.qstar import attention
from winnow.qstar.masks import CROPPABLE
from winnow.qstar.memory import ran_out
from winnow.qstar.packing import pack
from winnow.qstar.vision import Vision
from winnow.records import Message

log = logging.getLogger(__name__)

DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}


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


def load(
    model: str | Path, dtype: str = "float32", device: str = "cpu", trust_remote_code: bool = False
) -> LoadedModel:
    """Load from a directory, a manifest file or a hub name; safetensors only.

    A LoRA adapter is merged into the weights of the model that it adapts: it decodes as fast as these.
    The device `sharded` lays a model over all GPUs that the process sees.

    Raises:
        UserError: not a complete model, no chat template, or an unknown dtype.
    """
    directory, manifest = resolve(model)
    if dtype not in DTYPES:
        raise UserError("dtype", repr(dtype), "one of " + ", ".join(DTYPES), "correct the value")
    transformers.utils.logging.disable_progress_bar()
    base = base_of(directory)
    whole = resolve(base)[0] if base else directory
    with _explained(directory):
        config = AutoConfig.from_pretrained(whole, trust_remote_code=trust_remote_code)
    sees = getattr(config, "vision_config", None) is not None
    own = any((directory / name).is_file() for name in TOKENIZER_FILES)
    with _explained(directory):
        reader: Any = (AutoProcessor if sees else AutoTokenizer).from_pretrained(
            directory if own else whole, trust_remote_code=trust_remote_code
        )
    tokenizer = reader.tokenizer if sees else reader
    if reader.chat_template is None:
        raise UserError(
            directory,
            f"its {'processor' if sees else 'tokenizer'} has no chat template",
            "a chat template that renders messages",
            "add chat_template.jinja to the model directory",
        )
    with _explained(directory):
        loaded: Any = (AutoModelForImageTextToText if sees else AutoModelForCausalLM).from_pretrained(
            whole,
            dtype=DTYPES[dtype],
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            device_map="auto" if device == SHARDED else None,
        )
    if base:
        loaded = _merged(loaded, directory)
    choose_attention(loaded)
    loaded.eval().requires_grad_(False)
    if device != SHARDED:
        loaded.to(device)
        pack(loaded)
    text = loaded.config.get_text_config()
    return LoadedModel(
        name=str(directory),
        model=loaded,
        tokenizer=tokenizer,
        manifest=manifest,
        eos_ids=_eos_ids(loaded, tokenizer, directory),
        context=int(getattr(text, "max_position_embeddings", 0) or 1 << 30),
        vision=Vision(reader, getattr(config, "image_token_id", None)) if sees else None,
    )


@contextmanager
def _explained(directory: Path) -> Iterator[None]:
    """Say which model it is that transformers cannot load."""
    try:
        yield
    except (ValueError, OSError, RuntimeError, SafetensorError) as error:
        if ran_out(error):
            raise
        raise UserError(
            directory,
            f"transformers cannot load it ({str(error).strip().splitlines()[0][:200]})",
            "a model of a kind that transformers knows, with whole safetensors weights and a tokenizer",
            "check its files; code beside the weights runs only with --trust_remote_code",
        ) from error


def _merged(model: Any, adapter: Path) -> Any:
    # Only adapters need it.
    from peft import PeftModel

    return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()


def choose_attention(model: Any) -> None:
    """Let a model attend over slots without copying grouped heads, where plain attention is all it needs.

    A model that caps its attention scores gets transformers' own eager attention, the one that does so;
    experts in float64 are run one by one, for torch's grouped product does not know that type.
    """
    if model.dtype == torch.float64 and model._can_set_experts_implementation():
        model.set_experts_implementation("eager")
    if getattr(model.config.get_text_config(), "attn_logit_softcapping", None):
        model.set_attn_implementation("eager")
    elif model.config._attn_implementation == "sdpa" and model._supports_attention_backend:
        model.set_attn_implementation(attention.NAME)


def _eos_ids(model: Any, tokenizer: Any, directory: Path) -> frozenset[int]:
    declared = model.generation_config.eos_token_id
    ids = set(declared if isinstance(declared, list) else [declared]) | {tokenizer.eos_token_id}
    ids.discard(None)
    if not ids:
        raise UserError(
            directory,
            "no end-of-sequence token",
            "eos_token_id in generation_config.json or in the tokenizer",
            "add it: without one, every completion runs to max_new_tokens",
        )
    return frozenset(int(index) for index in ids)
