"""The root in [0, 1] of an increasing function, for many rows at once, by safeguarded Newton."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from winnow.qstar.family import Family

MAX_PASSES = 60
"""A bisection of [0, 1] to float64 precision would need this many; Newton needs 2 to 6."""

NEGLIGIBLE = 0.01
"""Of the tolerance: what a step may leave. It is the rounding of float32 sums at the tolerance in use."""


class Point(NamedTuple):
    """An increasing function of one row at one x.

    Attributes:
        value: f(x).
        slope: f′(x) ≥ 0.
        spread: σ_d, the scale by which a step in α is judged: |Δα|·σ_d / 2 bounds the total
            variation between q before and after it.
        integral: a function F(x) with F′ = f.
    """

    value: float
    slope: float
    spread: float
    integral: float


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


def quintic_start(at_zero: Point, at_one: Point) -> float:
    """The minimum of the quintic that has F, f and f′ of both ends, next to that of the cubic.

    Ten times nearer to the root than the cubic's own, where the ends tell of what is between them.
    """
    (f0, slope0, _, low), (f1, slope1, _, high) = at_zero, at_one
    x = cubic = hermite_start(f0, f1)
    # What the end at 1 has beyond the parabola of the end at 0: in F, f and f′.
    a, b, c = high - low - f0 - 0.5 * slope0, f1 - f0 - slope0, slope1 - slope0
    c2, c3, c4 = 30 * a - 12 * b + 1.5 * c, -60 * a + 28 * b - 4 * c, 30 * a - 15 * b + 2.5 * c
    for _ in range(2):
        slope = slope0 + x * (2 * c2 + x * (3 * c3 + x * 4 * c4))
        if slope <= 0:
            return cubic
        x -= (f0 + x * (slope0 + x * (c2 + x * (c3 + x * c4)))) / slope
    return x if 0.0 < x < 1.0 else cubic


class _Search:
    """One row's bracket."""

    def __init__(self, at_zero: Point, at_one: Point, span: float, eps: float) -> None:
        self._span, self._eps = span, eps
        (f0, _, spread0, _), (f1, _, spread1, _) = at_zero, at_one
        # Both ends may be certain, of different tokens: then f1 − f0, the variance between, is large.
        still = max(spread0, spread1, f1 - f0) <= eps
        # Of one token, but f far from 0: only one model lacks it, and that is no tie.
        clear = math.sqrt(eps)
        flat = (still and f0 <= clear and f1 >= -clear) or span <= eps
        self.active = f0 < 0 < f1 and not flat
        self.x = 0.5 if flat else 0.0 if f0 >= 0 else 1.0 if f1 <= 0 else 0.5
        self.passes = 2
        self._low, self._high = 0.0, 1.0
        self._at, self._last = (1.0, at_one) if self.x == 1.0 else (0.0, at_zero)
        if self.active:
            self.x = quintic_start(at_zero, at_one)

    def advance(self, at: float, point: Point, tolerance: float) -> None:
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
        done = value == 0 or self._settled(abs(step), spread, tolerance) or self._high - self._low < 1e-7
        if self._low < newton < self._high:
            self.x = newton
        else:
            self.x = at if done else 0.5 * (self._low + self._high)
        self.active = not done and self.passes < MAX_PASSES + 2

    def _settled(self, step: float, spread: float, tolerance: float) -> bool:
        """Whether the step, or what is wrong after it, is too small to matter."""
        change = step * spread
        if change < tolerance:
            return True
        # In an exponential family |f′′| ≤ span · f′ (Bach 2010, "Self-concordant analysis for logistic
        # regression", arXiv 0910.4627), so that Newton's step misses by at most 1.2 · span · step²
        # where span · step ≤ ½, and the integral by span · step³ · f′ / 6.
        curving = self._span * step
        return (
            curving <= 0.5
            and curving * change < NEGLIGIBLE * tolerance
            and curving * change * change < self._eps
        )

    def integral(self) -> float:
        """F at x from the last point: the third derivative is left out, and the step is tiny."""
        value, slope, _, integral = self._last
        step = self.x - self._at
        return integral + step * (value + 0.5 * step * slope)


def find_root(
    f: Callable[[Family, Tensor], list[Point]],
    ends: tuple[list[Point], list[Point]],
    family: Family,
    tolerance: float,
) -> Root:
    """The root in [0, 1] of f, by Newton's method inside a shrinking bracket.

    Args:
        f: the function, given the rows and an x for each of them.
        ends: what it is at 0 and at 1.
        family: the rows.
        tolerance: stop when |Δx|·σ_d falls below it.

    Rows leave as they converge. Where f has one sign on all of [0, 1] (a mask cut the support),
    the nearer end is the answer; where q is the same for every x (identical rows), ½.
    """
    like = family.least
    eps = torch.finfo(like.dtype).eps
    searches = [_Search(*row, eps) for row in zip(*ends, family.spans, strict=True)]

    rows = searches
    while any(search.active for search in rows):
        left = [index for index, search in enumerate(rows) if search.active]
        # To leave a row out its mates are copied, at about half the price of evaluating them.
        if 2 * len(left) <= len(rows):
            family = family.keep(torch.tensor(left, device=like.device))
            rows = [rows[index] for index in left]
        x = like.new_tensor([search.x for search in rows])
        for search, at, point in zip(rows, x.tolist(), f(family, x), strict=True):
            if search.active:
                search.advance(at, point, tolerance)
    roots, integrals = like.new_tensor(
        [[search.x for search in searches], [search.integral() for search in searches]]
    )
    return Root(
        roots,
        integrals,
        torch.tensor([search.passes for search in searches], device=like.device),
    )
