"""reward_model against the loops that people write, same model and token budget; a part of scoring.py.

Both rivals call the classifier as its card says, on padded batches filled up to the same number of tokens:
one takes the rows as they stand in the file, the other sorts them by length. All three read text, render
the chat template, tokenize, and give their rewards in the file's order; they have to be equal within 1e-4.

Sizes: 8 completions a prompt; lengths are log-normal, as those of prompts and answers roughly are
(σ 0.35 for prompts, 0.5 for completions), with medians of 5 to 1. The model is a Qwen2 of 26 million random
parameters in float32, large enough that matrix products dominate, small enough for a CPU.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from winnow import scoring
from winnow.records import Prompt
from winnow.scoring import Item

COMPLETIONS = 8
TIMES_AS_LONG = 5
BUDGET = 2048
EQUAL = 1e-4
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SHAPE = {
    "hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8, "num_attention_heads": 8,
    "num_key_value_heads": 4, "max_position_embeddings": 4096, "vocab_size": 4096, "num_labels": 1,
}  # fmt: skip
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
)


def measure(quick: bool) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """(ratios, rows) of ours and the two rivals."""
    import torch

    prompts, median, repeats = (6, 14, 1) if quick else (16, 32, 2)
    with tempfile.TemporaryDirectory() as name:
        model = write_model(Path(name))
        items = write_items(prompts, median)
        ours = scoring.build("reward_model", {"model": str(model), "batch_tokens": BUDGET, "device": "cpu"})
        loop = Rival(model)
        ways: dict[str, Callable[[list[Item]], list[float]]] = {
            "winnow": lambda those: [score.value for score in ours.score_items(those)],
            "sorted padded batches": lambda those: loop.rewards(those, by_length=True),
            "unsorted padded batches": lambda those: loop.rewards(those, by_length=False),
        }
        for way in ways.values():
            way(items[:COMPLETIONS])
        seconds, cpu, rewards = timed(ways, items, repeats)
    for who, those in rewards.items():
        furthest = max(abs(a - b) for a, b in zip(those, rewards["winnow"], strict=True))
        if furthest > EQUAL:
            raise SystemExit(f"{who}: a reward differs from ours by {furthest:.1e}, more than {EQUAL}")
    tokens = sum(map(len, loop.token_ids(items)))
    rows = [
        {
            "who": who, "completions": len(items), "tokens": tokens, "seconds": took,
            "CPU seconds": cpu[who], "completions/s": len(items) / took, "threads": torch.get_num_threads(),
        }
        for who, took in seconds.items()
    ]  # fmt: skip
    shape = f"n = {COMPLETIONS}, prompts {TIMES_AS_LONG} times as long, {BUDGET:,} tokens a batch"
    return {
        f"reward_model over unsorted padded batches ({shape})": seconds["unsorted padded batches"]
        / seconds["winnow"],
        f"reward_model over sorted padded batches ({shape})": seconds["sorted padded batches"]
        / seconds["winnow"],
    }, rows


def timed(
    ways: dict[str, Callable[[list[Item]], list[float]]], items: list[Item], repeats: int
) -> tuple[dict[str, float], dict[str, float], dict[str, list[float]]]:
    """The least seconds and CPU seconds of several runs, and the rewards, of each way.

    The ways take turns. Where others use the machine, the CPU seconds tell more.
    """
    seconds, cpu = dict.fromkeys(ways, float("inf")), dict.fromkeys(ways, float("inf"))
    rewards: dict[str, list[float]] = {}
    for _ in range(repeats):
        for who, way in ways.items():
            start, busy = time.perf_counter(), time.process_time()
            rewards[who] = way(items)
            seconds[who] = min(seconds[who], time.perf_counter() - start)
            cpu[who] = min(cpu[who], time.process_time() - busy)
    return seconds, cpu, rewards


class Rival:
    """The classifier on padded batches, as its card says."""

    def __init__(self, model: Path) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(model)
        self._model = AutoModelForSequenceClassification.from_pretrained(model).eval()

    def rewards(self, items: list[Item], by_length: bool) -> list[float]:
        """The reward of each item, in batches of the budget."""
        import torch

        ids = self.token_ids(items)
        lengths = list(map(len, ids))
        order = list(range(len(items)))
        if by_length:
            order.sort(key=lambda index: -lengths[index])
        found = [0.0] * len(items)
        for batch in batches(order, lengths):
            inputs = self._tokenizer.pad(
                {"input_ids": [ids[index] for index in batch]}, padding_side="right", return_tensors="pt"
            )
            with torch.inference_mode():
                logits = self._model(**inputs).logits
            for index, value in zip(batch, logits[:, 0].tolist(), strict=True):
                found[index] = value
        return found

    def token_ids(self, items: list[Item]) -> list[list[int]]:
        """Each completion behind its prompt, in the model's chat template."""
        texts = [
            self._tokenizer.apply_chat_template(
                [*item.prompt.messages, {"role": "assistant", "content": item.text}], tokenize=False
            )
            for item in items
        ]
        ids: list[list[int]] = self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        return ids


def batches(order: list[int], lengths: list[int]) -> list[list[int]]:
    """Runs of `order` that hold no more than the budget when they are padded."""
    made: list[list[int]] = []
    for index in order:
        last = made[-1] if made else []
        if last and (len(last) + 1) * max(lengths[each] for each in [*last, index]) <= BUDGET:
            last.append(index)
        else:
            made.append([index])
    return made


def write_items(prompts: int, median: int) -> list[Item]:
    """Completions of random letters, a token each, those of a prompt one after the other."""
    drawn = random.Random(0)

    def text(middle: int, spread: float) -> str:
        length = max(4, round(middle * drawn.lognormvariate(0.0, spread)))
        return "".join(drawn.choices(LETTERS, k=length))

    items = []
    for number in range(prompts):
        asked = [{"role": "user", "content": text(TIMES_AS_LONG * median, 0.35)}]
        prompt = Prompt(f"p{number}", asked)
        items += [Item(f"p{number}/{sample}", prompt, text(median, 0.5), {}) for sample in range(COMPLETIONS)]
    return items


def write_model(folder: Path) -> Path:
    """Save a random reward model of `SHAPE`, whose rewards have a deviation of about 1."""
    import torch
    from tokenizers import AddedToken, Tokenizer, models
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForSequenceClassification

    special = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>"]
    vocabulary = {token: index for index, token in enumerate([*special, *LETTERS])}
    letters = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<|pad|>"))
    letters.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=letters, pad_token="<|pad|>", eos_token="<|end|>")
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    model = Qwen2ForSequenceClassification(
        Qwen2Config(**SHAPE, pad_token_id=0, eos_token_id=1, bos_token_id=None)
    )
    torch.nn.init.normal_(model.score.weight, std=SHAPE["hidden_size"] ** -0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
