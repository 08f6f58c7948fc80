"""Solve for α, the teacher's weight in q* ∝ π_θ^(1−α) · π_t^α, for many rows at once.

With s = log π_θ, t = log π_t and d = t − s over the vocabulary, let L(x) = logsumexp(s + x d).
q_α = softmax(s + α d), log Z(α) = L(α), L′(α) = E_q[d] = KL(q‖π_θ) − KL(q‖π_t) and
L″(α) = Var_q[d] ≥ 0. L is convex with L(0) = L(1) = 0, so L′ changes its sign once in [0, 1]: at
the Chernoff point (Chernoff 1952; Nielsen 2013, "An information-geometric characterization of
Chernoff information", eq. 9), where both KL divergences are −L(α), the Chernoff information.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from winnow.arms import ALPHA_NAMES, Alpha

TOLERANCE = 1e-5
"""Stop when |Δα| · σ_d is below this: the total variation between iterates is at most half of it."""
MAX_PASSES = 60
"""A bisection of [0, 1] to float64 precision would need this many; Newton needs 2 to 6."""

Evaluate = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


class DisjointSupport(ValueError):
    """Student and teacher share no token to which both give probability.

    Attributes:
        rows: the indices of these rows.
    """

    def __init__(self, rows: list[int]) -> None:
        self.rows = rows
        super().__init__(f"rows {rows}: student and teacher have no token in common")


@dataclass(frozen=True)
class AlphaSolution:
    """α and what follows from it, each a tensor [rows].

    Attributes:
        alpha: the teacher's weight, in [0, 1].
        log_z: log Σ π_θ^(1−α) π_t^α ≤ 0.
        kl_theta: KL(q* ‖ π_θ), nats.
        kl_t: KL(q* ‖ π_t), nats.
        ess_theta: 1 / Σ π_θ² / q*, in (0, 1].
        ess_t: 1 / Σ π_t² / q*, in (0, 1].
        beta: Σ min(q*, π_θ), the chance that a token drafted by the student is accepted.
        passes: evaluations of the vocabulary that the solver took.
        disjoint: rows without common support, where q* is taken to be the teacher.
    """

    alpha: Tensor
    log_z: Tensor
    kl_theta: Tensor
    kl_t: Tensor
    ess_theta: Tensor
    ess_t: Tensor
    beta: Tensor
    passes: Tensor
    disjoint: Tensor

    @property
    def ess_ratio(self) -> Tensor:
        """ess_θ / ess_t, as the literature of q* reports it; 1 need not hold at KL symmetry."""
        return self.ess_theta / self.ess_t


def solve_alpha(
    log_theta: Tensor,
    log_t: Tensor,
    method: str,
    fixed_alpha: float = 0.5,
    tolerance: float = TOLERANCE,
    on_disjoint: Literal["raise", "teacher"] = "raise",
) -> AlphaSolution:
    """Solve α row by row.

    Args:
        log_theta: log-probabilities of the student, [rows, vocabulary]; −inf where masked.
        log_t: the teacher's, of the same shape, device and dtype.
        method: `policy`, `teacher`, `fixed` (weight `fixed_alpha`), `fixed-<weight>`,
            `kl_symmetry` (KL(q*‖π_θ) = KL(q*‖π_t)), `entropy` (H(π_θ) / (H(π_θ) + H(π_t))),
            `ess_balance` (ess_θ = ess_t), `reverse_kl_symmetry` (KL(π_θ‖q*) = KL(π_t‖q*)).
        fixed_alpha: the weight of `fixed`.
        tolerance: stop when |Δα|·σ_d falls below it.
        on_disjoint: what to do with rows that share no token: raise, or take the teacher and
            mark them in `disjoint`.

    Half-precision input is accumulated in float32; float64 stays float64. Identical rows give ½.

    Raises:
        ValueError: shapes differ, or the method is unknown.
        DisjointSupport: see `on_disjoint`.
    """
    if log_theta.shape != log_t.shape or log_theta.dim() != 2:
        raise ValueError(
            f"student {tuple(log_theta.shape)} and teacher {tuple(log_t.shape)} must both be "
            "[rows, vocabulary]"
        )
    dtype = torch.float64 if log_theta.dtype == torch.float64 else torch.float32
    s, t = log_theta.to(dtype), log_t.to(dtype)
    common = torch.isfinite(s) & torch.isfinite(t)
    disjoint = ~common.any(dim=1)
    if on_disjoint == "raise" and bool(disjoint.any()):
        raise DisjointSupport(disjoint.nonzero().flatten().tolist())
    # Where both are −inf, d would be NaN: such tokens are left out of every sum instead.
    base = s.masked_fill(~common, -torch.inf)
    base[disjoint] = t[disjoint]
    d = torch.where(common, t - s, 0.0)
    alpha, passes = _solve(s, t, base, d, Alpha.parse(method, fixed_alpha), tolerance)
    alpha = torch.where(disjoint, 1.0, alpha)
    return _describe(s, t, base, d, alpha, passes, disjoint)


def _solve(
    s: Tensor, t: Tensor, base: Tensor, d: Tensor, alpha: Alpha, tolerance: float
) -> tuple[Tensor, Tensor]:
    rows = len(d)
    once = torch.ones(rows, dtype=torch.int64, device=d.device)
    if alpha.weight is not None:
        return torch.full((rows,), alpha.weight, dtype=d.dtype, device=d.device), once
    if alpha.method == "entropy":
        return _ratio(_entropy(s), _entropy(s) + _entropy(t)), once
    if alpha.method == "reverse_kl_symmetry":
        # KL(π_θ‖q) = L − α E_θ[d] and KL(π_t‖q) = L + (1 − α) E_t[d] are equal at
        # α = E_t[d] / (E_t[d] − E_θ[d]): a closed form.
        at_theta, at_t = _moments(base, d, 0.0)[1], _moments(base, d, 1.0)[1]
        return _ratio(at_t, at_t - at_theta).clamp(0.0, 1.0), once * 2
    if alpha.method == "kl_symmetry":
        return _find_root(_kl_difference, base, d, tolerance)
    if alpha.method == "ess_balance":
        return _find_root(_log_ess_ratio, base, d, tolerance)
    raise ValueError(f"alpha method {alpha.method!r} is unknown; known: {', '.join(ALPHA_NAMES)}")


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, and ½ where both vanish (identical or deterministic rows)."""
    tiny = torch.finfo(whole.dtype).tiny
    return torch.where(whole.abs() > tiny, part / whole.where(whole.abs() > tiny, 1.0), 0.5)


def _entropy(log_p: Tensor) -> Tensor:
    entropy: Tensor = torch.special.entr(log_p.exp()).sum(dim=1)
    return entropy


def _moments(base: Tensor, d: Tensor, x: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    """L(x), L′(x) = E[d] and L″(x) = Var[d] under softmax(base + x d), each [rows].

    The second moment is centred: with d near 30 the uncentred one loses three digits in float32.
    """
    x = x if isinstance(x, float) else x[:, None]
    logits = base + x * d
    log_z = torch.logsumexp(logits, dim=1)
    q = (logits - log_z[:, None]).exp()
    mean = (q * d).sum(dim=1)
    return log_z, mean, (q * (d - mean[:, None]).square()).sum(dim=1)


def _kl_difference(base: Tensor, d: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """f = KL(q‖π_θ) − KL(q‖π_t), f′, and the scale σ_d by which a step in α is judged."""
    _, mean, variance = _moments(base, d, x)
    return mean, variance, variance.sqrt()


def _log_ess_ratio(base: Tensor, d: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """f = log(ess_t / ess_θ) = L(−α) − L(2−α), increasing in α; f′, and a bound on σ_d.

    f′ is the variance over all of [−α, 2−α], so a small step says little of a q_α that is certain
    here and not a little further on: half the range of d bounds σ_d for every α (Popoviciu 1935).
    """
    low, mean_low, _ = _moments(base, d, -x)
    high, mean_high, _ = _moments(base, d, 2.0 - x)
    # Where the rows nearly agree both L are near 0, and low − high drowns in rounding: α would
    # jump to an end. L(x) = L(0) + log1p(Σ p·expm1(x d)) keeps the digits.
    near = d.abs().amax(dim=1) < 0.5
    p, small = torch.softmax(base, dim=1), d.clamp(-0.5, 0.5)
    at_low = torch.log1p((p * torch.expm1(-x[:, None] * small)).sum(dim=1))
    at_high = torch.log1p((p * torch.expm1((2.0 - x)[:, None] * small)).sum(dim=1))
    value = torch.where(near, at_low - at_high, low - high)
    masked = torch.isneginf(base)
    largest, least = (
        d.masked_fill(masked, -torch.inf).amax(dim=1),
        d.masked_fill(masked, torch.inf).amin(dim=1),
    )
    return value, mean_high - mean_low, 0.5 * (largest - least)


def _hermite_start(g0: Tensor, g1: Tensor) -> Tensor:
    """The minimum of the cubic with L(0) = L(1) = 0 and slopes g0 < 0 < g1, in (0, 1)."""
    root = (g0.square() + g0 * g1 + g1.square()).sqrt()
    middle = 2.0 * g0 + g1
    total = 3.0 * (g0 + g1)
    # Two forms of one root; each is taken where it does not cancel.
    direct = (middle + root) / total.where(middle > 0, 1.0)
    conjugate = g0 / (middle - root).where(middle <= 0, 1.0)
    return torch.where(middle > 0, direct, conjugate)


def _find_root(f: Evaluate, base: Tensor, d: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """The root in [0, 1] of an increasing f, by Newton's method inside a shrinking bracket.

    Rows leave as they converge. Where f has one sign on all of [0, 1] (a mask cut the support),
    the nearer end is the answer; where f vanishes everywhere (identical rows), ½.
    """
    rows, device = len(d), d.device
    zeros, ones = (
        torch.zeros(rows, dtype=d.dtype, device=device),
        torch.ones(rows, dtype=d.dtype, device=device),
    )
    f0, _, spread0 = f(base, d, zeros)
    f1, _, spread1 = f(base, d, ones)
    alpha = torch.where(f0 >= 0, zeros, torch.where(f1 <= 0, ones, 0.5))
    # Both ends may be certain, of different tokens: then f1 − f0, the variance between, is large.
    flat = torch.maximum(torch.maximum(spread0, spread1), f1 - f0) <= torch.finfo(d.dtype).eps
    alpha = torch.where(flat, 0.5, alpha)
    passes = torch.full((rows,), 2, dtype=torch.int64, device=device)

    active = ((f0 < 0) & (f1 > 0) & ~flat).nonzero().flatten()
    x = _hermite_start(f0[active], f1[active]).clamp(0.0, 1.0)
    low, high = torch.zeros_like(x), torch.ones_like(x)
    for _ in range(MAX_PASSES):
        if not len(active):
            break
        value, slope, spread = f(base[active], d[active], x)
        passes[active] += 1
        low, high = torch.where(value < 0, x, low), torch.where(value > 0, x, high)
        step = value / slope.where(slope > 0, 1.0)
        newton = x - step
        # Convergence is tested before the safeguard: an end of the bracket that equals the root
        # would otherwise be bisected away from it.
        done = ((step.abs() * spread < tolerance) & (slope > 0)) | (value == 0) | (high - low < 1e-7)
        inside = (newton > low) & (newton < high) & (slope > 0)
        following = torch.where(inside, newton, 0.5 * (low + high))
        x = torch.where(done, torch.where(inside, newton, x), following)
        alpha[active] = x
        keep = ~done
        active, x, low, high = active[keep], x[keep], low[keep], high[keep]
    return alpha, passes


def _describe(
    s: Tensor, t: Tensor, base: Tensor, d: Tensor, alpha: Tensor, passes: Tensor, disjoint: Tensor
) -> AlphaSolution:
    log_z, mean, _ = _moments(base, d, alpha)
    log_q = base + alpha[:, None] * d - log_z[:, None]
    q = log_q.exp()
    # Outside the support of q* the ratio π² / q* is infinite unless π is zero there as well.
    log_ess_theta = -torch.logsumexp(_log_square_ratio(s, log_q), dim=1)
    log_ess_t = -torch.logsumexp(_log_square_ratio(t, log_q), dim=1)
    kl_theta = alpha * mean - log_z
    kl_t = kl_theta - mean
    infinite = torch.full_like(kl_theta, torch.inf)
    return AlphaSolution(
        alpha=alpha,
        log_z=torch.where(disjoint, -infinite, log_z),
        kl_theta=torch.where(disjoint, infinite, kl_theta.clamp_min(0.0)),
        kl_t=torch.where(disjoint, 0.0, kl_t.clamp_min(0.0)),
        ess_theta=log_ess_theta.exp(),
        ess_t=log_ess_t.exp(),
        beta=torch.minimum(q, s.exp()).sum(dim=1).clamp_max(1.0),
        passes=passes,
        disjoint=disjoint,
    )


def _log_square_ratio(log_p: Tensor, log_q: Tensor) -> Tensor:
    """log(p² / q), −inf where p is zero, +inf where only q is."""
    ratio = 2.0 * log_p - log_q.masked_fill(torch.isneginf(log_q), 0.0)
    return torch.where(
        torch.isneginf(log_p), -torch.inf, torch.where(torch.isneginf(log_q), torch.inf, ratio)
    )
