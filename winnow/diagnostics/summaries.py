"""Distributions as numbers that JSON can hold: no NaN, no Infinity, null where there is nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from winnow.diagnostics.completions import Floats, Integers

QUANTILES = {"min": 0.0, "p05": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}


def number(value: float) -> float | None:
    """A Python number of nine significant digits; None for NaN and infinity."""
    value = float(value)
    return float(f"{value:.9g}") if math.isfinite(value) else None


def share(part: int, whole: int) -> float | None:
    """The part's share of the whole, None of nothing."""
    return number(part / whole) if whole else None


def describe(values: Floats | Integers) -> dict[str, Any]:
    """Count, mean, (population) deviation and quantiles; all but the count are None without values."""
    summary: dict[str, Any] = {"count": len(values)}
    if not len(values):
        return summary | dict.fromkeys(("mean", "std", *QUANTILES))
    # Someone answers 10³⁰⁰, whose square is infinite: the deviation is then None.
    with np.errstate(over="ignore", invalid="ignore"):
        summary |= {"mean": number(values.mean()), "std": number(values.std())}
    quantiles = np.quantile(values, list(QUANTILES.values()))
    return summary | {name: number(q) for name, q in zip(QUANTILES, quantiles, strict=True)}


def histogram(values: Floats | Integers, edges: Floats) -> dict[str, Any]:
    """Counts between edges; the last bin includes its upper edge, values outside are not counted."""
    counts, _ = np.histogram(values, edges)
    return {"edges": [number(edge) for edge in edges], "counts": counts.tolist()}


def bins_for(count: int) -> int:
    """√count bins, within 9 and 41: few values in many bins would stand apart like teeth."""
    return min(max(math.isqrt(count), 9), 41)


def linear_edges(low: float, high: float, count: int) -> Floats:
    """Equal bins from low to high > low for so many values."""
    return np.linspace(low, high, bins_for(count) + 1)


def log_edges(low: float, high: float, count: int) -> Floats:
    """Bins of equal ratio from low to high, and at least from ½ to 2, for so many values."""
    return np.geomspace(min(low, 0.5), max(high, 2.0), bins_for(count) + 1)


def integer_edges(low: int, high: int, bins: int = 40) -> Floats:
    """At most `bins` bins of equally many integers, with edges half-way between integers."""
    width = max(1, math.ceil((high - low + 1) / bins))
    return np.arange(low - 0.5, high + width, width, dtype=np.float64)
