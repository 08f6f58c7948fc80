"""q* and its α in plain numpy, float64, by slow and obvious means: what the library is held to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def mixture(s: np.ndarray, t: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(q, log q, log Z) of q ∝ exp((1 − α) s + α t) on the tokens that both models give."""
    common = np.isfinite(s) & np.isfinite(t)
    weight = np.asarray(alpha, dtype=np.float64)[:, None]
    mixed = np.where(common, 0.0, -np.inf)
    mixed[common] = ((1 - weight) * np.where(common, s, 0) + weight * np.where(common, t, 0))[common]
    log_z = log_sum_exp(mixed)
    log_q = mixed - log_z[:, None]
    return np.exp(log_q), log_q, log_z


def log_sum_exp(values: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    top = values.max(axis=1, keepdims=True)
    return (top + np.log(np.exp(values - top).sum(axis=1, keepdims=True)))[:, 0]


def roots_function(method: str, s: np.ndarray, t: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The increasing function of α that vanishes at the solution, from the method's definition."""
    common = np.isfinite(s) & np.isfinite(t)

    def kl_difference(alpha: np.ndarray) -> np.ndarray:
        # Σ q log(q/π_θ) − Σ q log(q/π_t), token by token: log q is in both.
        q, _, _ = mixture(s, t, alpha)
        return (q * (np.where(common, t, 0) - np.where(common, s, 0))).sum(axis=1)

    def log_ess_ratio(alpha: np.ndarray) -> np.ndarray:
        _, log_q, _ = mixture(s, t, alpha)
        square_theta = np.where(common, 2 * np.where(common, s, 0) - np.where(common, log_q, 0), -np.inf)
        square_t = np.where(common, 2 * np.where(common, t, 0) - np.where(common, log_q, 0), -np.inf)
        return log_sum_exp(square_theta) - log_sum_exp(square_t)

    return {"kl_symmetry": kl_difference, "ess_balance": log_ess_ratio}[method]


def bisect(f: Callable[[np.ndarray], np.ndarray], rows: int) -> np.ndarray:
    """The root of an increasing f in [0, 1], 200 halvings; an end where f has one sign."""
    low, high = np.zeros(rows), np.ones(rows)
    none_above, none_below = f(high) <= 0, f(low) >= 0
    for _ in range(200):
        middle = 0.5 * (low + high)
        below = f(middle) < 0
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(none_below, 0.0, np.where(none_above, 1.0, 0.5 * (low + high)))
