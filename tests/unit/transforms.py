"""Does a sequence follow q*? Its tokens, looked up in a q* that is computed anew, without caches."""

from __future__ import annotations

import numpy as np
import torch


@torch.inference_mode()
def direct(loaded, prompt, tokens, temperature: float = 1.0) -> np.ndarray:
    """log-probabilities at each token of a completion, [tokens, vocabulary], float64."""
    ids = torch.tensor([[*prompt, *tokens[:-1]]])
    logits = loaded.model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 :]
    width = len(loaded.tokenizer)
    return (logits[:, :width].double() / temperature).log_softmax(-1).numpy()


def transform(p: np.ndarray, order: np.ndarray, tokens: np.ndarray, source) -> np.ndarray:
    """The randomised probability integral transform of tokens [n] under p [n, vocabulary].

    The tokens stand in the order of what the teacher likes more than the student: a draw that leans to
    either of them leans to one end.
    """
    place = np.argsort(order, axis=1)
    at = np.take_along_axis(place, tokens[:, None], 1)
    above = np.take_along_axis(np.take_along_axis(p, order, 1).cumsum(axis=1), at, 1)[:, 0]
    return above - source.random(len(tokens)) * np.take_along_axis(p, tokens[:, None], 1)[:, 0]


def kolmogorov_smirnov(values: np.ndarray) -> float:
    """The p-value of values against the uniform distribution (Kolmogorov's limit)."""
    ordered, count = np.sort(values), len(values)
    steps = np.arange(1, count + 1) / count
    distance = max((steps - ordered).max(), (ordered - steps + 1 / count).max())
    root = (np.sqrt(count) + 0.12 + 0.11 / np.sqrt(count)) * distance
    series = np.arange(1, 101)
    return float(min(1.0, 2 * ((-1.0) ** (series - 1) * np.exp(-2 * (series * root) ** 2)).sum()))
