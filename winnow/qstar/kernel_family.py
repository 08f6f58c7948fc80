"""The exponential family of `family.Family` within a Triton program: one row, block by block.

Logarithms are to base 2 here, so that an exponential is one instruction of a GPU; what leaves is in nats.
Between two distributions no weight exceeds 1, and sums are formed as they are; where they leave the range
in which their digits are sound, they are formed again, each lane with the largest exponent that it met.
"""

from __future__ import annotations

import triton
import triton.language as tl

LN2 = tl.constexpr(0.6931471805599453)
LOG2_E = tl.constexpr(1.4426950408889634)
LOWEST = tl.constexpr(-3e38)
"""The largest exponent of a lane that has met none: finite, so that no difference of two is NaN."""
LEAST_SUM = tl.constexpr(1e-19)
"""Sums below it, or above its inverse, have lost digits to underflow, or overflowed."""


@triton.jit
def lanes(value: tl.constexpr, BLOCK: tl.constexpr):  # noqa: N803
    """A number for each token of a block."""
    return tl.full((BLOCK,), value, tl.float32)


@triton.jit
def _fold(peak, total, first, second, exponent, d):
    """Add 2^exponent · (1, d, d²) to the lanes' sums, which are scaled by 2^−peak."""
    higher = exponent > peak
    factor = tl.exp2(-tl.abs(exponent - peak))
    kept, added = tl.where(higher, factor, 1.0), tl.where(higher, 1.0, factor)
    weighted = added * d
    return (
        tl.where(higher, exponent, peak),
        total * kept + added,
        first * kept + weighted,
        second * kept + weighted * d,
    )


@triton.jit
def _collect(top, z, first, second):
    """L, L′ and L″ in nats, from the sums over a row."""
    mean = first / z
    variance = second / z - mean * mean
    return (top + tl.log2(z)) * LN2, mean * LN2, tl.maximum(variance, 0.0) * (LN2 * LN2)


@triton.jit
def _logits(row, offsets, width):
    return tl.load(row + offsets, mask=offsets < width, other=-float("inf")).to(tl.float32)


@triton.jit
def normalizer(row, width, scale, BLOCK: tl.constexpr):  # noqa: N803
    """(the largest logit, log2 Σ 2^((logit − it) · scale), whether the row is a distribution)."""
    peak = lanes(-float("inf"), BLOCK)
    for start in range(0, width, BLOCK):
        peak = tl.maximum(peak, _logits(row, start + tl.arange(0, BLOCK), width))
    # The row's own, not that of a block: digits are lost where the sum is far from 1.
    top = tl.max(peak, 0)
    total = lanes(0.0, BLOCK)
    for start in range(0, width, BLOCK):
        total += tl.exp2((_logits(row, start + tl.arange(0, BLOCK), width) - top) * scale)
    # A NaN, +inf, or nothing but −inf makes it NaN.
    z = tl.sum(total, 0)
    return top, tl.log2(z), (z > 0.0) & (z < float("inf"))


@triton.jit
def read(models, offsets):
    """Both log-probabilities, and the family between them: base and d, as `family.Family` has them.

    Args:
        models: (theta, t, width, scale, top_s, log_s, top_t, log_t): rows of logits, the numbers in them,
            what they are multiplied by, and the `normalizer` of each.
        offsets: of the tokens, [BLOCK].
    """
    theta, t, width, scale, top_s, log_s, top_t, log_t = models
    # First the difference, which is all but exact.
    s = (_logits(theta, offsets, width) - top_s) * scale - log_s
    p = (_logits(t, offsets, width) - top_t) * scale - log_t
    common = (s > -float("inf")) & (p > -float("inf"))
    return s, p, tl.where(common, s, -float("inf")), tl.where(common, p - s, 0.0)


@triton.jit
def _by_peaks(x, models, BLOCK: tl.constexpr):  # noqa: N803
    """L, L′ and L″ for any x, whatever the range of the weights."""
    peak = lanes(LOWEST, BLOCK)
    total, first, second = lanes(0.0, BLOCK), lanes(0.0, BLOCK), lanes(0.0, BLOCK)
    for start in range(0, models[2], BLOCK):
        offsets = start + tl.arange(0, BLOCK)
        _s, _p, base, d = read(models, offsets)
        peak, total, first, second = _fold(peak, total, first, second, base + x * d, d)
    top = tl.max(peak, 0)
    weight = tl.exp2(peak - top)
    return _collect(top, tl.sum(total * weight, 0), tl.sum(first * weight, 0), tl.sum(second * weight, 0))


@triton.jit
def from_sums(z, first, second, x, models, BLOCK: tl.constexpr):  # noqa: N803
    """L, L′ and L″ at x, from Σ w, Σ w d and Σ w d² where these are sound."""
    log_z, mean, variance = _collect(0.0, z, first, second)
    if ((z > LEAST_SUM) & (z < 1.0 / LEAST_SUM)) == 0:
        log_z, mean, variance = _by_peaks(x, models, BLOCK)
    return log_z, mean, variance


@triton.jit
def moments(x, models, BLOCK: tl.constexpr):  # noqa: N803
    """L, L′ and L″ at x in [0, 1]: one pass over the vocabulary.

    The second moment is taken about zero: see `family.Family.moments`.
    """
    total, first, second = lanes(0.0, BLOCK), lanes(0.0, BLOCK), lanes(0.0, BLOCK)
    for start in range(0, models[2], BLOCK):
        offsets = start + tl.arange(0, BLOCK)
        _s, _p, base, d = read(models, offsets)
        weight = tl.exp2(base + x * d)
        weighted = weight * d
        total, first, second = total + weight, first + weighted, second + weighted * d
    return from_sums(tl.sum(total, 0), tl.sum(first, 0), tl.sum(second, 0), x, models, BLOCK)
