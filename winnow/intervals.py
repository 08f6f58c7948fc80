"""Confidence intervals for accuracies measured with several completions of each prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float


def accuracy(per_prompt: Sequence[float]) -> Estimate:
    """Mean accuracy and a 95 % interval that is clustered by prompt and stays inside [0, 1].

    Args:
        per_prompt: for each prompt, the share of its completions that passed.

    The completions of a prompt are not independent, so the variance is that of the prompts' means
    (Miller 2024, "Adding error bars to evals", arXiv 2411.00640, sec. 2.2). It gives an effective
    sample size for Wilson's interval (Korn and Graubard 1998), which holds near 0 and 1 as well.

    Raises:
        ValueError: no prompts.
    """
    count = len(per_prompt)
    if not count:
        raise ValueError("no prompts to average over")
    mean = math.fsum(per_prompt) / count
    variance = math.fsum((p - mean) ** 2 for p in per_prompt) / max(count - 1, 1) / count
    effective = mean * (1 - mean) / variance if variance > 0 else float(count)
    return Estimate(mean, *_wilson(mean, effective))


def paired_difference(before: Sequence[float], after: Sequence[float]) -> Estimate:
    """Mean of after − before with a 95 % normal interval, paired by prompt.

    Raises:
        ValueError: no prompts, or lengths that differ.
    """
    if len(before) != len(after) or not before:
        raise ValueError(f"{len(before)} prompts before, {len(after)} after: pair them one to one")
    differences = [b - a for a, b in zip(before, after, strict=True)]
    count = len(differences)
    mean = math.fsum(differences) / count
    variance = math.fsum((d - mean) ** 2 for d in differences) / max(count - 1, 1)
    half = Z95 * math.sqrt(variance / count)
    return Estimate(mean, mean - half, mean + half)


def _wilson(p: float, n: float) -> tuple[float, float]:
    """Wilson's score interval (Wilson 1927) for a share p of n."""
    centre = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2))
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))
