"""The models of benchmarks/qstar.py: random weights at real shapes, made on the device that they run on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen3Config

from winnow.qstar import attention, memory
from winnow.qstar.models import LoadedModel
from winnow.qstar.packing import pack

VOCABULARY = 16_384
QWEN_VOCABULARY = 152_064
DEEPEST = 8
"""Tokens that are drafted in a round, at most."""
ROUND_BYTES = 32
"""Of each logit of such a round: both models', the drafts' log-probabilities, and copies of these."""


@dataclass(frozen=True)
class Shape:
    """Of a model with grouped heads: Qwen3-like on the CPU, Qwen2.5-like (biases, no norms of heads) beyond.

    Attributes:
        name: its parameters, about.
        hidden, layers, heads, key_heads, inner: as in its configuration.
        head: dimension of a head.
        vocabulary: rows of the embedding and of the output layer.
        tied: whether these two are one matrix.
        kind: its configuration's class.
    """

    name: str
    hidden: int
    layers: int
    heads: int
    key_heads: int
    inner: int
    head: int = 64
    vocabulary: int = VOCABULARY
    tied: bool = True
    kind: type = Qwen3Config

    @property
    def config(self) -> Any:
        """For transformers."""
        return self.kind(
            vocab_size=self.vocabulary,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.key_heads,
            head_dim=self.head,
            intermediate_size=self.inner,
            tie_word_embeddings=self.tied,
            max_position_embeddings=4096,
        )


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("120M", 768, 16, 12, 4, 2304),
        Shape("30M", 448, 10, 7, 1, 1344),
        Shape("7M", 256, 4, 4, 2, 768),
        Shape("32B", 5120, 64, 40, 8, 27_648, 128, QWEN_VOCABULARY, tied=False, kind=Qwen2Config),
        Shape("7B", 3584, 28, 28, 4, 18_944, 128, QWEN_VOCABULARY, tied=False, kind=Qwen2Config),
        Shape("1.5B", 1536, 28, 12, 2, 8_960, 128, QWEN_VOCABULARY, kind=Qwen2Config),
        # The same code in seconds, on any machine.
        Shape("2M", 64, 2, 4, 2, 160, 16, tied=False, kind=Qwen2Config),
        Shape("1M", 64, 1, 4, 2, 160, 16, kind=Qwen2Config),
    )
}


def model(name: str, dtype: torch.dtype, device: str) -> LoadedModel:
    """A model of random weights, of deviation 0.02, which gives logits of about 1; never in another place."""
    torch.manual_seed(7)
    with torch.device(device):
        made: Any = AutoModelForCausalLM.from_config(
            SHAPES[name].config, dtype=dtype, attn_implementation=attention.NAME
        )
    made.eval().requires_grad_(False)
    tokenizer: Any = type("NoTokenizer", (), {"pad_token_id": 0})()
    return LoadedModel(name, made, tokenizer, None, frozenset(), 4096)  # type: ignore[arg-type]


def packed(name: str, dtype: torch.dtype, device: str) -> LoadedModel:
    """A model as `load` leaves it."""
    made = model(name, dtype, device)
    pack(made.model)
    return made


def plain(loaded: LoadedModel) -> LoadedModel:
    """A model as other programs have it: oneDNN's order of the weights, on a CPU, is ours."""
    weight = loaded.model.get_input_embeddings().weight
    return model(loaded.name, weight.dtype, "cpu") if weight.device.type == "cpu" else loaded


@dataclass(frozen=True)
class Size:
    """Bytes of a model.

    Attributes:
        weights: of all its parameters.
        read: of those that a decoding step reads: all but an embedding that is no output layer too.
        a_token: keys and values of one token.
    """

    weights: int
    read: int
    a_token: int


@cache
def size(name: str, dtype: torch.dtype) -> Size:
    """Of a shape, before it is there."""
    config = SHAPES[name].config
    with torch.device("meta"):
        made: Any = AutoModelForCausalLM.from_config(config, dtype=dtype)
    weights = sum(parameter.numel() for parameter in made.parameters())
    looked_up = 0 if SHAPES[name].tied else made.get_input_embeddings().weight.numel()
    a_token = memory.bytes_a_token(config, dtype)
    assert a_token is not None
    return Size(weights * dtype.itemsize, (weights - looked_up) * dtype.itemsize, a_token)


def lacks_room(names: tuple[str, ...], slots: int, capacity: int, dtype: torch.dtype, device: str) -> str:
    """What does not fit, in words; empty where it does. To be asked before the models are there.

    Args:
        names: of the models.
        slots: sequences in progress.
        capacity: the longest of them, in tokens.
        dtype: of weights and cache.
        device: where all of it lies.
    """
    sizes = [size(name, dtype) for name in names]
    weights = sum(each.weights for each in sizes)
    caches = slots * capacity * sum(each.a_token for each in sizes)
    rounds = slots * DEEPEST * SHAPES[names[0]].vocabulary * ROUND_BYTES
    free = memory.available(torch.device(device))
    if free is None or weights + caches + rounds <= free:
        return ""
    gib = memory.GIB
    return (
        f"{'/'.join(names)} at {slots} slots does not fit: {weights / gib:.1f} GiB of weights, "
        f"{caches / gib:.1f} of keys and values, {rounds / gib:.1f} of a round's logits, and {device} has "
        f"{free / gib:.1f} GiB free; take fewer --slots, a smaller pair, or a device with more memory"
    )
