"""q* by direct means: whole forward passes without caches, padding or batches, in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from bisection import bisect, mixture, roots_function
from splitmix import uniform
from transformers import AutoModelForCausalLM, AutoTokenizer

from winnow.qstar import OptimalSampler, SamplingParameters, loading
from winnow.qstar import sampler as samplers
from winnow.qstar.scheduler import Row
from winnow.records import Prompt, completion_seed

Tokens = tuple[int, ...]
TOKENS, END = 8, 1
"""How many tokens the tokenizer of conftest has, and its end-of-sequence token."""


def ask(student: str, teacher: str | None = None, name: str = "p") -> Prompt:
    """A prompt of letters, another one for the teacher."""
    shown = None if teacher is None else [{"role": "user", "content": teacher}]
    return Prompt(name, [{"role": "user", "content": student}], shown)


def sampler(
    student: Path,
    teacher: Path | None,
    alpha: str,
    length: int = 4,
    draft_tokens: int | None = None,
    image_root: Path | str = ".",
    **parameters,
) -> OptimalSampler:
    """A sampler in float64; models are read once a session, and nothing else is shared."""
    chosen = SamplingParameters(max_new_tokens=length, **parameters)
    with patch.object(samplers, "load", _load):
        return OptimalSampler(
            student,
            teacher,
            alpha,
            parameters=chosen,
            dtype="float64",
            draft_tokens=draft_tokens,
            image_root=image_root,
        )


def samples(source: OptimalSampler, prompt: Prompt, count: int) -> list[Row]:
    """Rows of one prompt, each with its own seed."""
    first = source.row(prompt, f"{prompt.id}/0", 0)
    return [
        replace(first, id=f"{prompt.id}/{i}", seed=completion_seed(17, prompt.id, i)) for i in range(count)
    ]


_load = cache(loading.load)


@cache
def _model(directory: Path):
    tokenizer = AutoTokenizer.from_pretrained(directory)
    return tokenizer, AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float64).eval()


@torch.inference_mode()
def _log_p(directory: Path, content: str, prefixes: Sequence[Tokens], temperature: float) -> np.ndarray:
    """Each prefix read from its first token, all of one length: [prefixes, tokens]."""
    tokenizer, model = _model(directory)
    prompt = tokenizer.encode(f"<|user|>{content}<|assistant|>", add_special_tokens=False)
    ids = torch.tensor([[*prompt, *prefix] for prefix in prefixes])
    logits = model(input_ids=ids, use_cache=False).logits[:, -1, :TOKENS]
    return (logits / temperature).log_softmax(dim=-1).numpy()


def entropy(log_p: np.ndarray) -> np.ndarray:
    return -(np.exp(log_p) * log_p).sum(axis=1)


def next_token(
    student: Path,
    teacher: Path,
    prompt: Prompt,
    alpha: str,
    prefixes: Sequence[Tokens],
    temperature: float = 1.0,
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """(q*, α, other metrics) after each of some prefixes of one length."""
    shown = (prompt.teacher_messages or prompt.messages)[-1]["content"]
    s = _log_p(student, prompt.messages[-1]["content"], prefixes, temperature)
    t = _log_p(teacher, shown, prefixes, temperature)
    if alpha in ("kl_symmetry", "ess_balance"):
        weight = bisect(roots_function(alpha, s, t), len(s))
    elif alpha == "entropy":
        weight = entropy(s) / (entropy(s) + entropy(t))
    else:
        constant = {"policy": 0.0, "teacher": 1.0}
        weight = np.full(
            len(s), constant[alpha] if alpha in constant else float(alpha.removeprefix("fixed-"))
        )
    q, log_q, log_z = mixture(s, t, weight)
    metrics = {
        "kl_theta": (q * (log_q - s)).sum(axis=1),
        "kl_t": (q * (log_q - t)).sum(axis=1),
        "neg_log_z": -log_z,
        "ess_ratio": (np.exp(2 * t - log_q).sum(axis=1)) / np.exp(2 * s - log_q).sum(axis=1),
        "beta": np.minimum(q, np.exp(s)).sum(axis=1),
    }
    return q, weight, metrics


def enumerate_all(
    student: Path, teacher: Path, prompt: Prompt, alpha: str, longest: int, temperature: float = 1.0
) -> dict[Tokens, float]:
    """The probability of every completion of at most `longest` tokens."""
    finished: dict[Tokens, float] = {}
    going: dict[Tokens, float] = {(): 1.0}
    for length in range(1, longest + 1):
        prefixes = list(going)
        q, _, _ = next_token(student, teacher, prompt, alpha, prefixes, temperature)
        following: dict[Tokens, float] = {}
        for prefix, row in zip(prefixes, q, strict=True):
            for token, probability in enumerate(row):
                ended = token == END or length == longest
                (finished if ended else following)[(*prefix, token)] = going[prefix] * probability
        going = following
    return finished


def replay(
    student: Path,
    teacher: Path,
    prompt: Prompt,
    alpha: str,
    seed: int,
    longest: int,
    temperature: float = 1.0,
) -> tuple[Tokens, dict[str, list[float]], list[float]]:
    """The one completion that a seed determines; the metrics, and log q*, at each of its tokens."""
    tokens: Tokens = ()
    logprobs: list[float] = []
    seen: dict[str, list[float]] = {}
    while len(tokens) < longest and END not in tokens:
        q, weight, metrics = next_token(student, teacher, prompt, alpha, [tokens], temperature)
        for name, values in {"alpha": weight, **metrics}.items():
            seen.setdefault(name, []).append(float(values[0]))
        drafter = {"policy": (q, 0), "teacher": (q, 0)}.get(alpha)
        if drafter is None:
            drafter = next_token(student, teacher, prompt, "policy", [tokens], temperature)[:1]
        p, place = drafter[0][0], len(tokens)
        token = _inverse(p, uniform(seed, place, 0))
        if uniform(seed, place, 1) >= q[0][token] / p[token]:
            token = _inverse(np.maximum(q[0] - p, 0.0), uniform(seed, place, 2))
        tokens = (*tokens, token)
        logprobs.append(float(np.log(q[0][token])))
    return tokens, seen, logprobs


def _inverse(weights: np.ndarray, number: float) -> int:
    """The token at which the weights' running sum passes a share of the whole."""
    return int((np.cumsum(weights) <= number * weights.sum()).sum())
