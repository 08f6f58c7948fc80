"""Solve for α, the teacher's weight in q* ∝ π_θ^(1−α) · π_t^α, for many rows at once.

With s = log π_θ, t = log π_t and d = t − s over the vocabulary, let L(x) = logsumexp(s + x d).
q_α = softmax(s + α d), log Z(α) = L(α), L′(α) = E_q[d] = KL(q‖π_θ) − KL(q‖π_t) and
L″(α) = Var_q[d] ≥ 0. L is convex with L(0) = L(1) = 0, so L′ changes its sign once in [0, 1]: at
the Chernoff point (Chernoff 1952; Nielsen 2013, "An information-geometric characterization of
Chernoff information", eq. 9), where both KL divergences are −L(α), the Chernoff information.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from winnow.arms import ALPHA_NAMES, Alpha
from winnow.qstar.buffers import Buffers
from winnow.qstar.chunks import in_chunks, joined
from winnow.qstar.description import Description, describe
from winnow.qstar.family import Family, Moments
from winnow.qstar.roots import Point, find_root

TOLERANCE = 1e-5
"""Stop when |Δα| · σ_d is below this: the total variation between iterates is at most half of it."""


class DisjointSupport(ValueError):
    """Student and teacher share no token to which both give probability.

    Attributes:
        rows: the indices of these rows.
    """

    def __init__(self, rows: list[int]) -> None:
        self.rows = rows
        super().__init__(f"rows {rows}: student and teacher have no token in common")


@dataclass(frozen=True, eq=False)
class AlphaSolution:
    """α and what follows from it, each a tensor [rows].

    The properties that the solver does not need for α are computed, all together, when the first of
    them is read; until then the log-probabilities that were solved must not be overwritten.

    Attributes:
        alpha: the teacher's weight, in [0, 1].
        log_z: log Σ π_θ^(1−α) π_t^α ≤ 0.
        passes: evaluations of the vocabulary that the solver took.
        disjoint: rows without common support, where q* is taken to be the teacher.
        masked: rows in which some token has no probability from one model or from both.
    """

    alpha: Tensor
    log_z: Tensor
    passes: Tensor
    disjoint: Tensor
    masked: Tensor
    _models: tuple[Tensor, Tensor] = field(repr=False)
    _described: Description | None = field(default=None, repr=False)

    @property
    def kl_theta(self) -> Tensor:
        """KL(q* ‖ π_θ), nats."""
        return self._description.kl_theta

    @property
    def kl_t(self) -> Tensor:
        """KL(q* ‖ π_t), nats."""
        return self._description.kl_t

    @property
    def ess_theta(self) -> Tensor:
        """1 / Σ π_θ² / q*, in (0, 1]."""
        return self._description.ess_theta

    @property
    def ess_t(self) -> Tensor:
        """1 / Σ π_t² / q*, in (0, 1]."""
        return self._description.ess_t

    @property
    def beta(self) -> Tensor:
        """Σ min(q*, π_θ), the chance that a token drafted by the student is accepted."""
        return self._description.beta

    @property
    def ess_ratio(self) -> Tensor:
        """ess_θ / ess_t, as the literature of q* reports it; 1 need not hold at KL symmetry."""
        return self.ess_theta / self.ess_t

    @cached_property
    def _description(self) -> Description:
        if self._described is not None:
            return self._described
        (log_theta, log_t), buffers = self._models, Buffers()

        def form(rows: slice) -> Description:
            s, t = log_theta[rows].to(self.alpha.dtype), log_t[rows].to(self.alpha.dtype)
            return describe(Family(s, t, buffers), self.alpha[rows], self.log_z[rows])

        return Description(*joined(in_chunks(form, log_theta)))


class Solved(NamedTuple):
    """Of rows, each [rows]: see `AlphaSolution`."""

    alpha: Tensor
    log_z: Tensor
    passes: Tensor
    disjoint: Tensor
    masked: Tensor


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
    weight, buffers = Alpha.parse(method, fixed_alpha), Buffers()

    def solve(rows: slice) -> Solved:
        return solve_rows(log_theta[rows], log_t[rows], weight, buffers, tolerance)[0]

    solved = Solved(*joined(in_chunks(solve, log_theta)))
    if on_disjoint == "raise" and bool(solved.disjoint.any()):
        raise DisjointSupport(solved.disjoint.nonzero().flatten().tolist())
    return AlphaSolution(*solved, _models=(log_theta, log_t))


def precision(values: Tensor) -> torch.dtype:
    """What is computed in: float32, or float64 where that is given."""
    return torch.float64 if values.dtype == torch.float64 else torch.float32


def solve_rows(
    log_theta: Tensor, log_t: Tensor, alpha: Alpha, buffers: Buffers, tolerance: float = TOLERANCE
) -> tuple[Solved, Family]:
    """What `solve_alpha` finds of rows few enough to be solved together, and their family in the buffers.

    Rows without a common token get the teacher.
    """
    s, t = (logs.to(precision(logs)) for logs in (log_theta, log_t))
    family = Family(s, t, buffers)
    x, log_z, passes = _solve(s, t, family, alpha, tolerance)
    if not family.whole:
        x, log_z = x.masked_fill(family.disjoint, 1.0), log_z.masked_fill(family.disjoint, -torch.inf)
    return Solved(x, log_z, passes, family.disjoint, family.masked), family


def _solve(
    s: Tensor, t: Tensor, family: Family, alpha: Alpha, tolerance: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(α, log Z, passes) of the rows of a chunk."""
    if alpha.method == "kl_symmetry":
        at_zero, at_one = family.ends()
        ends = _means(at_zero), _means(at_one)
        root = find_root(lambda left, x: _means(left.moments(x)), ends, family, tolerance)
        return root.x, root.integral, root.passes
    if alpha.method == "ess_balance":
        zeros = torch.zeros_like(s[:, 0])
        ends = _log_ess_ratio(family, zeros), _log_ess_ratio(family, zeros + 1.0)
        root = find_root(_log_ess_ratio, ends, family, tolerance)
        return root.x, family.log_z(root.x), root.passes
    once = torch.ones(len(s), dtype=torch.int64, device=s.device)
    if alpha.weight is not None:
        x, passes = torch.full_like(s[:, 0], alpha.weight), once
    elif alpha.method == "entropy":
        x, passes = _ratio(_entropy(s), _entropy(s) + _entropy(t)), once
    elif alpha.method == "reverse_kl_symmetry":
        # KL(π_θ‖q) = L − α E_θ[d] and KL(π_t‖q) = L + (1 − α) E_t[d] are equal at
        # α = E_t[d] / (E_t[d] − E_θ[d]): a closed form.
        at_theta, at_t = (s.new_tensor([row.mean for row in end]) for end in family.ends())
        x, passes = _ratio(at_t, at_t - at_theta).clamp(0.0, 1.0), once * 2
    else:
        raise ValueError(f"alpha method {alpha.method!r} is unknown; known: {', '.join(ALPHA_NAMES)}")
    return x, family.log_z(x), passes


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, and ½ where both vanish (identical or deterministic rows)."""
    tiny = torch.finfo(whole.dtype).tiny
    return torch.where(whole.abs() > tiny, part / whole.where(whole.abs() > tiny, 1.0), 0.5)


def _entropy(log_p: Tensor) -> Tensor:
    entropy: Tensor = torch.special.entr(log_p.exp()).sum(dim=1)
    return entropy


def _means(rows: list[Moments]) -> list[Point]:
    """f = L′(x) = KL(q‖π_θ) − KL(q‖π_t)."""
    return [Point(row.mean, row.variance, math.sqrt(row.variance), row.log_z) for row in rows]


def _log_ess_ratio(family: Family, x: Tensor) -> list[Point]:
    """f = log(ess_t / ess_θ) = L(−x) − L(2−x), increasing in x; f′, and a bound on σ_d.

    f′ is the variance over all of [−x, 2−x], so a small step says little of a q_x that is certain
    here and not a little further on: half the range of d bounds σ_d for every x (Popoviciu 1935).
    """
    low, high = family.moments(-x), family.moments(2.0 - x)
    values = [here.log_z - there.log_z for here, there in zip(low, high, strict=True)]
    # Where the rows nearly agree both L are near 0, and low − high drowns in rounding: α would
    # jump to an end. L(x) = L(0) + log1p(Σ p·expm1(x d)) keeps the digits.
    near = torch.maximum(-family.least, family.largest) < 0.5
    if bool(near.any()):
        p, small = torch.softmax(family.base, dim=1), family.d.clamp(-0.5, 0.5)
        at_low = torch.log1p((p * torch.expm1(-x[:, None] * small)).sum(dim=1))
        at_high = torch.log1p((p * torch.expm1((2.0 - x)[:, None] * small)).sum(dim=1))
        values = torch.where(near, at_low - at_high, x.new_tensor(values)).tolist()
    spreads = (0.5 * (family.largest - family.least)).tolist()
    return [
        Point(value, there.mean - here.mean, spread, 0.0)
        for value, here, there, spread in zip(values, low, high, spreads, strict=True)
    ]
