"""The distribution of numeric errors, of all completions and of each prompt's best.

The best of n falls with n whatever the skill. So beside it stand the median of all errors, the share
within the tolerance, and the best of n against the references of other prompts: what luck alone gives.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from winnow.diagnostics.completions import Completions, Floats, Integers
from winnow.diagnostics.summaries import describe, number, share
from winnow.intervals import accuracy

EDGES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, math.inf)
"""Bins [from, to) of the rollout error distribution, the last of them without an upper end."""
PERMUTATION_SEED = 0


def errors_report(completions: Completions, scorer: str) -> dict[str, Any] | None:
    """The error distribution, or None if nothing was scored by the error scorer.

    A completion without a value is a parse failure: counted, and in no mean.
    """
    if completions.error is None:
        return None
    error, prompt = completions.error, completions.prompt
    valued = np.isfinite(error)
    best = _lowest(error[valued], prompt[valued], completions.prompts)
    luck = _against_others(completions)
    return {
        "scorer": scorer,
        "generated": completions.generated,
        "parse_failures": int((~valued).sum()),
        "parse_failure_share": share(int((~valued).sum()), completions.generated),
        "within_tolerance": share(int(completions.within.sum()), completions.generated),
        "within_tolerance_ci": _interval(completions),
        "all": distribution(error[valued]),
        "min_of_n": distribution(best[np.isfinite(best)]),
        "min_of_n_permuted": None if luck is None else distribution(luck),
        "prompts_without_value": int((~np.isfinite(best)).sum()),
    }


def _interval(completions: Completions) -> list[float | None]:
    """The 95 % interval of a prompt's mean pass rate at the tolerance, clustered by prompt."""
    drawn, within = completions.per_prompt(), completions.per_prompt(completions.within)
    rates = (within[drawn > 0] / drawn[drawn > 0]).tolist()
    if not rates:
        return [None, None]
    found = accuracy(rates)
    return [number(found.low), number(found.high)]


def distribution(values: Floats) -> dict[str, Any]:
    """Summary, share of each bin in numeric order, and the percentiles 0 … 100."""
    percentiles: Any = []
    if len(values):
        # Values that occurred, so that the curve steps where they are.
        percentiles = np.quantile(values, np.linspace(0, 1, 101), method="inverted_cdf")
    return describe(values) | {
        "bins": bins(values),
        "percentiles": [number(percentile) for percentile in percentiles],
    }


def bins(values: Floats) -> list[dict[str, Any]]:
    """Count and share of the values in each bin [from, to); `to` of the last is null: no upper end."""
    counts = np.bincount(np.searchsorted(EDGES, values, side="right") - 1, minlength=len(EDGES) - 1)
    return [
        {"from": low, "to": number(high), "count": int(count), "share": share(int(count), len(values))}
        for low, high, count in zip(EDGES, EDGES[1:], counts, strict=False)
    ]


def _lowest(error: Floats, prompt: Integers, prompts: int) -> Floats:
    """The lowest error of each prompt, infinite for a prompt that has none."""
    lowest = np.full(prompts, np.inf)
    np.minimum.at(lowest, prompt, error)
    return lowest


def _against_others(completions: Completions) -> Floats | None:
    """The lowest error of each prompt's predictions against another prompt's reference.

    The prompts are put on a ring in a seeded random order and each takes its neighbour's reference,
    so that none meets its own. None where fewer than two prompts have numbers on both sides.
    """
    stated = np.isfinite(completions.prediction)
    predicted = np.zeros(completions.prompts, dtype=np.bool_)
    predicted[completions.prompt[stated]] = True
    ring = np.flatnonzero(predicted & np.isfinite(completions.reference))
    if len(ring) < 2:
        return None
    np.random.default_rng(PERMUTATION_SEED).shuffle(ring)
    other = np.full(completions.prompts, np.nan)
    other[ring] = completions.reference[np.roll(ring, 1)]
    error = np.abs(completions.prediction - other[completions.prompt])
    known = np.isfinite(error)
    lowest = _lowest(error[known], completions.prompt[known], completions.prompts)
    return lowest[np.isfinite(lowest)]
