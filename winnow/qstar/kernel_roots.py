"""Newton's method of `roots` within a Triton program: where it starts, and when it stops."""

from __future__ import annotations

import triton
import triton.language as tl

EPSILON = tl.constexpr(2.0**-23)
CLEAR = tl.constexpr(2.0**-11.5)
"""√ε: what f at an end has to exceed to have a sign that is not rounding."""
NEGLIGIBLE = tl.constexpr(0.01)
"""As `roots.NEGLIGIBLE`, which the tests compare it with."""


@triton.jit
def first_guess(low, f0, slope0, high, f1, slope1):
    """The minimum of the quintic with F, f and f′ of both ends; see `roots.quintic_start`."""
    middle = 2.0 * f0 + f1
    root = tl.sqrt(f0 * f0 + f0 * f1 + f1 * f1)
    cubic = tl.where(middle > 0.0, (middle + root) / (3.0 * (f0 + f1)), f0 / (middle - root))
    cubic = tl.minimum(tl.maximum(cubic, 0.0), 1.0)
    a, b, c = high - low - f0 - 0.5 * slope0, f1 - f0 - slope0, slope1 - slope0
    c2 = 30.0 * a - 12.0 * b + 1.5 * c
    c3 = -60.0 * a + 28.0 * b - 4.0 * c
    c4 = 30.0 * a - 15.0 * b + 2.5 * c
    x, rises = cubic, f0 < f1
    for _ in tl.static_range(2):
        slope = slope0 + x * (2.0 * c2 + x * (3.0 * c3 + x * 4.0 * c4))
        rises = rises & (slope > 0.0)
        x -= (f0 + x * (slope0 + x * (c2 + x * (c3 + x * c4)))) / tl.where(slope > 0.0, slope, 1.0)
    return tl.where(rises & (x > 0.0) & (x < 1.0), x, cubic)


@triton.jit
def settled(step, slope, span, tolerance):
    """Whether a step, or what is wrong after it, is too small to matter; see `roots._Search._settled`."""
    change = tl.abs(step) * tl.sqrt(slope)
    curving = span * tl.abs(step)
    after = (curving * change < NEGLIGIBLE * tolerance) & (curving * change * change < EPSILON)
    return (change < tolerance) | ((curving <= 0.5) & after)
