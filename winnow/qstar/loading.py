"""Load a policy or a teacher from a directory, a manifest or a hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
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
from winnow.manifest import TOKENIZER_FILES, resolve
from winnow.qstar import attention
from winnow.qstar.memory import ran_out
from winnow.qstar.models import LoadedModel
from winnow.qstar.packing import pack
from winnow.qstar.vision import Vision

DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}


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
