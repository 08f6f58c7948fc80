"""The root in [0, 1] of an increasing function, for many rows at once, by safeguarded Newton."""

from __future__ import annotations

import math
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

    def by_row(self) -> list[list[float]]:
        """(value, slope, spread, integral) of each row."""
        rows: list[list[float]] = torch.stack(
            [self.value, self.slope, self.spread, self.integral], dim=1
        ).tolist()
        return rows


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


def hermite_start(f0: float, f1: float) -> float:
    """The minimum of the cubic F with F(0) = F(1) = 0 and slopes f0 < 0 < f1, in [0, 1]."""
    root = math.sqrt(f0 * f0 + f0 * f1 + f1 * f1)
    middle = 2.0 * f0 + f1
    # Two forms of one root; each is taken where it does not cancel.
    x = (middle + root) / (3.0 * (f0 + f1)) if middle > 0 else f0 / (middle - root)
    return min(max(x, 0.0), 1.0)


class _Search:
    """One row's bracket. Python's numbers: a few steps of them cost less than one call of torch."""

    def __init__(self, at_zero: list[float], at_one: list[float], span: float, eps: float) -> None:
        (f0, _, spread0, _), (f1, _, spread1, _) = at_zero, at_one
        # Both ends may be certain, of different tokens: then f1 − f0, the variance between, is large.
        flat = max(spread0, spread1, f1 - f0) <= eps or span <= eps
        self.active = f0 < 0 < f1 and not flat
        self.x = 0.5 if flat else 0.0 if f0 >= 0 else 1.0 if f1 <= 0 else 0.5
        self.passes = 2
        self._low, self._high = 0.0, 1.0
        self._at, self._last = (1.0, at_one) if self.x == 1.0 else (0.0, at_zero)
        if self.active:
            self.x = hermite_start(f0, f1)

    def advance(self, at: float, point: list[float], tolerance: float) -> None:
        """Go on from f at `at`, which is x in the rows' own precision."""
        value, slope, spread, _ = point
        self.passes += 1
        self._at, self._last = at, point
        if value < 0:
            self._low = at
        elif value > 0:
            self._high = at
        step = value / slope if slope > 0 else math.inf
        newton = at - step
        # Convergence is tested before the safeguard: an end of the bracket that equals the root
        # would otherwise be bisected away from it.
        done = value == 0 or abs(step) * spread < tolerance or self._high - self._low < 1e-7
        if self._low < newton < self._high:
            self.x = newton
        else:
            self.x = at if done else 0.5 * (self._low + self._high)
        self.active = not done and self.passes < MAX_PASSES + 2

    def integral(self) -> float:
        """F at x from the last point: the third derivative is left out, and the step is tiny."""
        value, slope, _, integral = self._last
        step = self.x - self._at
        return integral + step * (value + 0.5 * step * slope)


def find_root(f: Callable[[Family, Tensor], Point], family: Family, tolerance: float) -> Root:
    """The root in [0, 1] of f, by Newton's method inside a shrinking bracket.

    Args:
        f: the function, given the rows and an x for each of them.
        family: the rows.
        tolerance: stop when |Δx|·σ_d falls below it.

    Rows leave as they converge. Where f has one sign on all of [0, 1] (a mask cut the support),
    the nearer end is the answer; where q is the same for every x (identical rows), ½.
    """
    like = family.least
    eps = torch.finfo(like.dtype).eps
    ends = f(family, torch.zeros_like(like)).by_row(), f(family, torch.ones_like(like)).by_row()
    spans = (family.largest - family.least).tolist()
    searches = [_Search(*row, eps) for row in zip(*ends, spans, strict=True)]

    rows = searches
    while any(search.active for search in rows):
        left = [index for index, search in enumerate(rows) if search.active]
        # To leave a row out its mates are copied, at about half the price of evaluating them.
        if 2 * len(left) <= len(rows):
            family = family.keep(torch.tensor(left, device=like.device))
            rows = [rows[index] for index in left]
        x = like.new_tensor([search.x for search in rows])
        for search, at, point in zip(rows, x.tolist(), f(family, x).by_row(), strict=True):
            if search.active:
                search.advance(at, point, tolerance)
    return Root(
        like.new_tensor([search.x for search in searches]),
        like.new_tensor([search.integral() for search in searches]),
        torch.tensor([search.passes for search in searches], device=like.device),
    )
