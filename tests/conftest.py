"""Fixtures that tests of every kind share: tiny random models in Hugging Face format."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# Triton asks for its interpreter when it is first imported, and transformers may import it first: any
# test that is collected before those of the kernel.
if not Path("/dev/nvidia0").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Every run tries the same examples; HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.register_profile("explore", deadline=None, database=None, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

PAD, END, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>"
LETTERS = "abcd"
TEMPLATE = (
    "{%- for message in messages -%}{{- '<|' + message['role'] + '|>' + message['content'] -}}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)

SaveModel = Callable[..., Path]


@pytest.fixture(scope="session")
def save_model() -> SaveModel:
    """A function that saves a random Qwen3 model of 2 layers with a tokenizer of 8 tokens."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    torch.set_num_threads(1)

    def save(
        directory: Path,
        seed: int,
        context: int = 64,
        letters: str = LETTERS,
        padding: int = 2,
        scale: float = 0.5,
    ) -> Path:
        """`padding`: columns of the logits that no token has; `scale`: how sharp it predicts."""
        special = [PAD, END, USER, ASSISTANT]
        vocabulary = {token: index for index, token in enumerate([*special, *letters])}
        characters = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=PAD))
        characters.decoder = decoders.Fuse()
        characters.add_special_tokens([AddedToken(token, special=True) for token in special])
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=characters, pad_token=PAD, eos_token=END)
        tokenizer.chat_template = TEMPLATE
        config = Qwen3Config(
            vocab_size=len(vocabulary) + padding,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            max_position_embeddings=context,
            tie_word_embeddings=False,
            eos_token_id=vocabulary[END],
            pad_token_id=vocabulary[PAD],
            bos_token_id=None,
        )
        generator = torch.Generator().manual_seed(seed)
        model = Qwen3ForCausalLM(config).double()
        for name, weights in model.named_parameters():
            if "norm" not in name:
                torch.nn.init.normal_(weights, std=scale, generator=generator)
        model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        return directory

    return save


@pytest.fixture(scope="session")
def student(save_model: SaveModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a random model."""
    return save_model(tmp_path_factory.mktemp("models") / "student", seed=1)


@pytest.fixture(scope="session")
def teacher(save_model: SaveModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of another, with fewer padding columns and another context."""
    return save_model(tmp_path_factory.mktemp("models") / "teacher", seed=2, padding=1, context=48, scale=0.6)
