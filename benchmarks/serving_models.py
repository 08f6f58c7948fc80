"""What benchmarks/serving.py serves: models of random weights on disk, with a tokenizer, and prompts."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from benchmarks.qstar_models import VOCABULARY, model

SPECIAL = ["<pad>", "<eos>", "<user>", "<assistant>"]
END = SPECIAL.index("<eos>")
TEMPLATE = (
    "{% for message in messages %}{{ '<' + message['role'] + '> ' + message['content'] + ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
SHARPNESS = 4.0
"""The last norm is scaled by it: logits of deviation 2, for tokens with some ten bits of entropy."""


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, as many as the models have."""
    words = SPECIAL + [f"w{index}" for index in range(VOCABULARY - len(SPECIAL))]
    made: Any = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, "<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>")
    fast.chat_template = TEMPLATE
    return fast


def save(name: str, folder: Path) -> Path:
    """A model with its tokenizer as a checkpoint; gives its folder."""
    made: Any = model(name, torch.float32, "cpu").model
    made.model.norm.weight.mul_(SHARPNESS)
    made.config.eos_token_id = made.generation_config.eos_token_id = END
    made.save_pretrained(folder / name)
    tokenizer().save_pretrained(folder / name)
    return folder / name


def prompts(count: int) -> list[str]:
    """Texts of 24 to 40 words."""
    source = random.Random(11)
    return [
        " ".join(f"w{source.randrange(VOCABULARY - len(SPECIAL))}" for _ in range(source.randint(24, 40)))
        for _ in range(count)
    ]


def write_dataset(texts: list[str], path: Path) -> Path:
    """A data set of these problems, as generate.py reads it."""
    path.write_text(
        "".join(
            json.dumps({"id": f"p{index}", "problem": text, "answer": "1"}) + "\n"
            for index, text in enumerate(texts)
        )
    )
    return path
