"""Tiny random reward models of several families, and what transformers itself says of a completion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    MistralConfig,
    MistralForSequenceClassification,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForSequenceClassification,
    Qwen3Config,
    Qwen3ForSequenceClassification,
)

from winnow import scoring
from winnow.records import Prompt
from winnow.scoring import Item

LETTERS = "abcdefgh "
PAD, END, SYSTEM, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
SPECIAL = [PAD, END, SYSTEM, USER, ASSISTANT]
TEMPLATE = (
    "{%- for message in messages -%}{%- if message['role'] == 'tool' -%}{{ raise_exception('no tools') }}"
    "{%- endif -%}{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}{%- endfor -%}"
)
DECODER = {
    "vocab_size": 16, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 96,
}  # fmt: skip
FAMILIES = {
    "llama": (LlamaForSequenceClassification, LlamaConfig, DECODER),
    "qwen2": (Qwen2ForSequenceClassification, Qwen2Config, DECODER),
    "qwen3": (Qwen3ForSequenceClassification, Qwen3Config, {**DECODER, "head_dim": 8}),
    "gpt2": (
        GPT2ForSequenceClassification,
        GPT2Config,
        {"vocab_size": 16, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 96},
    ),
    "mistral": (MistralForSequenceClassification, MistralConfig, {**DECODER, "sliding_window": 8}),
    "dynamic": (
        LlamaForSequenceClassification,
        LlamaConfig,
        {
            **DECODER,
            "rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0},
        },
    ),
    "bert": (
        BertForSequenceClassification,
        BertConfig,
        {
            "vocab_size": 16, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": 96,
        },
    ),
}  # fmt: skip


def tokenizer(template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *LETTERS])}
    characters = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=PAD))
    characters.decoder = decoders.Fuse()
    characters.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    made = PreTrainedTokenizerFast(tokenizer_object=characters, pad_token=PAD, eos_token=END)
    made.chat_template = template
    return made


def save(
    directory: Path,
    family: str,
    seed: int = 0,
    pad: str | None = PAD,
    template: str | None = TEMPLATE,
    **options,
) -> Path:
    """Save a random reward model; `options` go into its config."""
    of_class, config_class, shape = FAMILIES[family]
    config = config_class(
        **{
            **shape, "num_labels": 1, "eos_token_id": 1, "bos_token_id": None,
            "pad_token_id": None if pad is None else SPECIAL.index(pad), **options,
        }
    )  # fmt: skip
    randomized(of_class(config), seed).save_pretrained(directory)
    tokenizer(template).save_pretrained(directory)
    return directory


def randomized(model: Any, seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)
    for name, weights in model.named_parameters():
        if "norm" not in name.lower() and "ln_" not in name:
            torch.nn.init.normal_(weights, std=0.3, generator=generator)
    return model


def direct(directory: Path, items: list[Item]) -> list[float]:
    """What transformers says, one completion at a time."""
    model = AutoModelForSequenceClassification.from_pretrained(directory, dtype=torch.float32).eval()
    reader = AutoTokenizer.from_pretrained(directory)
    found = []
    for item in items:
        messages = [*item.prompt.messages, {"role": "assistant", "content": item.text}]
        text = reader.apply_chat_template(messages, tokenize=False)
        with torch.inference_mode():
            found.append(
                model(**reader(text, add_special_tokens=False, return_tensors="pt")).logits[0, 0].item()
            )
    return found


def items(*prompts: tuple[str, list[str]], images: list[str] | None = None) -> list[Item]:
    """Completions of each prompt: (what is asked, the texts)."""
    made = []
    for number, (asked, texts) in enumerate(prompts):
        prompt = Prompt(f"p{number}", [{"role": "user", "content": asked}], images=images)
        made += [Item(f"p{number}/{sample}", prompt, text, {}) for sample, text in enumerate(texts)]
    return made


SOME = items(
    ("abc" * 9, ["aaa", "bcd" * 4, "bcd" * 4, "", "h" * 20]),
    ("ha", ["gg"]),
    ("dd" * 20, ["a", "abab", "c" * 12]),
    ("c c", ["e" * 40] * 2),
)
"""Prompts with several completions, equal ones and an empty one; and a prompt with one."""


def build(directory, **options):
    return scoring.build("reward_model", {"model": str(directory), "device": "cpu", **options})


def values(scorer, those=SOME):
    return [score.value for score in scorer.score_items(those)]
