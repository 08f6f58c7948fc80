"""Pearson's χ² test of counts against probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def goodness(counts: Sequence[float], probabilities: Sequence[float]) -> float:
    """The p-value; cells that expect fewer than 5 are pooled, and a count in an impossible one is 0."""
    total = sum(counts)
    pooled_count = pooled_expected = statistic = 0.0
    cells = 0
    for count, probability in zip(counts, probabilities, strict=True):
        expected = total * probability
        if expected == 0.0 and count:
            return 0.0
        if expected < 5.0:
            pooled_count, pooled_expected = pooled_count + count, pooled_expected + expected
        else:
            statistic, cells = statistic + (count - expected) ** 2 / expected, cells + 1
    if pooled_expected >= 5.0:
        statistic, cells = statistic + (pooled_count - pooled_expected) ** 2 / pooled_expected, cells + 1
    freedom = torch.tensor((cells - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(freedom, torch.tensor(statistic / 2, dtype=torch.float64)))
