"""The root in [0, 1] of an increasing function, for many rows at once, by safeguarded Newton."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from winnow.qstar.family import Family

MAX_PASSES = 60
"""A bisection of [0, 1] to float64 precision would need this many; Newton needs 2 to 6."""


@dataclass(frozen=True, eq=False)
class Point:
    """An increasing function at one x for each row, each [rows].

    Attributes:
        value: f(x).
        slope: f′(x) ≥ 0.
        spread: σ_d, the scale by which a step in α is judged: |Δα|·σ_d / 2 bounds the total
            variation between q before and after it.
        integral: a function F(x) with F′ = f.
    """

    value: Tensor
    slope: Tensor
    spread: Tensor
    integral: Tensor

    def put(self, rows: Tensor, other: Point) -> None:
        """Overwrite these rows (indices) by the rows of another."""
        for name in ("value", "slope", "spread", "integral"):
            getattr(self, name)[rows] = getattr(other, name)


@dataclass(frozen=True, eq=False)
class Root:
    """Where f vanishes, each [rows].

    Attributes:
        x: the root, in [0, 1].
        integral: F at the root; see `Point`.
        passes: evaluations of the vocabulary.
    """

    x: Tensor
    integral: Tensor
    passes: Tensor


def hermite_start(f0: Tensor, f1: Tensor) -> Tensor:
    """The minimum of the cubic F with F(0) = F(1) = 0 and slopes f0 < 0 < f1, in (0, 1)."""
    root = (f0.square() + f0 * f1 + f1.square()).sqrt()
    middle = 2.0 * f0 + f1
    total = 3.0 * (f0 + f1)
    # Two forms of one root; each is taken where it does not cancel.
    direct = (middle + root) / total.where(middle > 0, 1.0)
    conjugate = f0 / (middle - root).where(middle <= 0, 1.0)
    return torch.where(middle > 0, direct, conjugate)


def find_root(f: Callable[[Family, Tensor], Point], family: Family, tolerance: float) -> Root:
    """The root in [0, 1] of f, by Newton's method inside a shrinking bracket.

    Args:
        f: the function, given the rows and an x for each of them.
        family: the rows.
        tolerance: stop when |Δx|·σ_d falls below it.

    Rows leave as they converge. Where f has one sign on all of [0, 1] (a mask cut the support),
    the nearer end is the answer; where q is the same for every x (identical rows), ½.
    """
    zeros = torch.zeros_like(family.least)
    ones = torch.ones_like(zeros)
    last, at_one = f(family, zeros), f(family, ones)
    f0, f1 = last.value.clone(), at_one.value
    x = torch.where(f0 >= 0, zeros, torch.where(f1 <= 0, ones, 0.5))
    eps = torch.finfo(zeros.dtype).eps
    # Both ends may be certain, of different tokens: then f1 − f0, the variance between, is large.
    still = torch.maximum(torch.maximum(last.spread, at_one.spread), f1 - f0) <= eps
    flat = still | (family.largest - family.least <= eps)
    x = torch.where(flat, 0.5, x)
    at = torch.where(x == 1.0, ones, zeros)
    last.put((at == 1.0).nonzero().flatten(), _rows(at_one, at == 1.0))
    passes = torch.full(zeros.shape, 2, dtype=torch.int64, device=zeros.device)

    active = ((f0 < 0) & (f1 > 0) & ~flat).nonzero().flatten()
    if len(active) < len(family):
        family = family.keep(active)
    here = hermite_start(f0[active], f1[active]).clamp(0.0, 1.0)
    low, high = torch.zeros_like(here), torch.ones_like(here)
    for _ in range(MAX_PASSES):
        if not len(active):
            break
        point = f(family, here)
        passes[active] += 1
        last.put(active, point)
        at[active] = here
        low = torch.where(point.value < 0, here, low)
        high = torch.where(point.value > 0, here, high)
        step = point.value / point.slope.where(point.slope > 0, 1.0)
        newton = here - step
        # Convergence is tested before the safeguard: an end of the bracket that equals the root
        # would otherwise be bisected away from it.
        small = (step.abs() * point.spread < tolerance) & (point.slope > 0)
        done = small | (point.value == 0) | (high - low < 1e-7)
        inside = (newton > low) & (newton < high) & (point.slope > 0)
        following = torch.where(inside, newton, 0.5 * (low + high))
        here = torch.where(done, torch.where(inside, newton, here), following)
        x[active] = here
        if bool(done.any()):
            keep = (~done).nonzero().flatten()
            active, here, low, high = active[keep], here[keep], low[keep], high[keep]
            family = family.keep(keep)
    # F at the root from the last point: the third derivative is left out, and the step is tiny.
    step = x - at
    return Root(x, last.integral + step * (last.value + 0.5 * step * last.slope), passes)


def _rows(point: Point, rows: Tensor) -> Point:
    return Point(point.value[rows], point.slope[rows], point.spread[rows], point.integral[rows])
