"""The solver and the draw of a whole step in one Triton launch, one program for each row.

A program reads its two rows of logits some six times (the largest and the normaliser of each; both ends;
one to three Newton passes; what follows from α) and a block of them once more for the draw, so a row of
152,064 in bf16 comes from memory once and from the L2 cache after that. Sums are float32, one for each
lane; those of blocks, which the draw adds up, float64. Nothing is waited for on the host.

`fused` is the way in; nothing else imports this module, for triton comes with CUDA builds of torch
and, on a CPU, serves the tests alone, in its interpreter.
"""

from __future__ import annotations

import triton
import triton.language as tl

from winnow.qstar.kernel_family import LN2, LOG2_E, from_sums, lanes, moments, normalizer, read
from winnow.qstar.kernel_roots import CLEAR, EPSILON, first_guess, settled

FIXED = tl.constexpr(0)
KL_SYMMETRY = tl.constexpr(1)
ENTROPY = tl.constexpr(2)
REVERSE_KL_SYMMETRY = tl.constexpr(3)


@triton.jit
def _log_q(alpha, log_z, disjoint, s, p, base, d):
    """log2 q*: at either end one model whole, its tokens that the other lacks as well."""
    between = base + alpha * d - log_z
    return tl.where((alpha == 1.0) | disjoint, p, tl.where(alpha == 0.0, s, between))


@triton.jit
def _mass(alpha, log_z, disjoint, s, p, base, d, SPECULATIVE: tl.constexpr):  # noqa: N803
    """What a token is drawn in proportion to: q*, or what q* has more than the student."""
    q = tl.exp2(_log_q(alpha, log_z, disjoint, s, p, base, d))
    if SPECULATIVE:
        q = tl.maximum(q - tl.exp2(s), 0.0)
    return q


@triton.jit
def _ends(models, METHOD: tl.constexpr, BLOCK: tl.constexpr):  # noqa: N803
    """L, L′, L″ at 0 and at 1; the range of d; whether no token is common, or a model’s alone; entropies."""
    total0, first0, second0 = lanes(0.0, BLOCK), lanes(0.0, BLOCK), lanes(0.0, BLOCK)
    total1, first1, second1 = lanes(0.0, BLOCK), lanes(0.0, BLOCK), lanes(0.0, BLOCK)
    least, largest = lanes(float("inf"), BLOCK), lanes(-float("inf"), BLOCK)
    entropy_s, entropy_t = lanes(0.0, BLOCK), lanes(0.0, BLOCK)
    alone_s, alone_t = lanes(0.0, BLOCK), lanes(0.0, BLOCK)
    for start in range(0, models[2], BLOCK):
        s, p, base, d = read(models, start + tl.arange(0, BLOCK))
        weight0, weight1 = tl.exp2(base), tl.exp2(base + d)
        weighted0, weighted1 = weight0 * d, weight1 * d
        total0, first0, second0 = total0 + weight0, first0 + weighted0, second0 + weighted0 * d
        total1, first1, second1 = total1 + weight1, first1 + weighted1, second1 + weighted1 * d
        common = base > -float("inf")
        least = tl.minimum(least, tl.where(common, d, float("inf")))
        largest = tl.maximum(largest, tl.where(common, d, -float("inf")))
        alone_s = tl.where((s > -float("inf")) & (common == 0), 1.0, alone_s)
        alone_t = tl.where((p > -float("inf")) & (common == 0), 1.0, alone_t)
        if METHOD == ENTROPY:
            entropy_s -= tl.where(s > -float("inf"), tl.exp2(s) * s, 0.0)
            entropy_t -= tl.where(p > -float("inf"), tl.exp2(p) * p, 0.0)
    at_zero = from_sums(tl.sum(total0, 0), tl.sum(first0, 0), tl.sum(second0, 0), 0.0, models, BLOCK)
    at_one = from_sums(tl.sum(total1, 0), tl.sum(first1, 0), tl.sum(second1, 0), 1.0, models, BLOCK)
    top = tl.max(largest, 0)
    kinds = top == -float("inf"), tl.max(alone_s, 0) > 0.0, tl.max(alone_t, 0) > 0.0
    return (
        at_zero,
        at_one,
        (top - tl.min(least, 0)) * LN2,
        kinds,
        (tl.sum(entropy_s, 0), tl.sum(entropy_t, 0)),
    )


@triton.jit
def _balanced(at_zero, at_one, span, models, tolerance, LIMIT: tl.constexpr, BLOCK: tl.constexpr):  # noqa: N803
    """α of equal divergences, L and L′ there, and the passes: `roots.find_root` for one row."""
    log_z0, f0, variance0 = at_zero
    log_z1, f1, variance1 = at_one
    zero, one = tl.full((), 0.0, tl.float32), tl.full((), 1.0, tl.float32)
    still = tl.maximum(tl.sqrt(tl.maximum(variance0, variance1)), f1 - f0) <= EPSILON
    # Certain of one token, which only one model lacks: that is no tie.
    flat = (still & (f0 <= CLEAR) & (f1 >= -CLEAR)) | (span <= EPSILON)
    alpha = tl.where(flat, 0.5, tl.where(f0 >= 0.0, zero, tl.where(f1 <= 0.0, one, 0.5)))
    # The last point that was evaluated, from which L is carried on to α.
    last = alpha == 1.0
    at, at_log_z = tl.where(last, one, zero), tl.where(last, log_z1, log_z0)
    value, slope = tl.where(last, f1, f0), tl.where(last, variance1, variance0)
    active = (f0 < 0.0) & (f1 > 0.0) & (flat == 0)
    alpha = tl.where(active, first_guess(log_z0, f0, variance0, log_z1, f1, variance1), alpha)
    low, high, passes = zero, one, tl.full((), 2, tl.int32)
    while active & (passes < LIMIT):
        at = alpha
        at_log_z, value, slope = moments(at, models, BLOCK)
        passes += 1
        low, high = tl.where(value < 0.0, at, low), tl.where(value > 0.0, at, high)
        step = value / tl.where(slope > 0.0, slope, 1.0)
        newton = at - step
        # Convergence before the safeguard, as in `roots.find_root`.
        small = settled(step, slope, span, tolerance) & (slope > 0.0)
        done = small | (value == 0.0) | (high - low < 1e-7)
        inside = (newton > low) & (newton < high) & (slope > 0.0)
        alpha = tl.where(inside, newton, tl.where(done, at, 0.5 * (low + high)))
        active = done == 0
    rest = alpha - at
    return alpha, at_log_z + rest * (value + 0.5 * rest * slope), value + rest * slope, passes


@triton.jit
def _solve(ends, weight, models, tolerance,
           METHOD: tl.constexpr, LIMIT: tl.constexpr, BLOCK: tl.constexpr):  # noqa: N803  # fmt: skip
    """α, L and L′ there, and the passes, by any method."""
    at_zero, at_one, span, _kinds, entropies = ends
    if METHOD == KL_SYMMETRY:
        return _balanced(at_zero, at_one, span, models, tolerance, LIMIT, BLOCK)
    if METHOD == FIXED:
        alpha = weight + 0.0 * at_zero[1]
    else:
        part, whole = at_one[1], at_one[1] - at_zero[1]
        if METHOD == ENTROPY:
            part, whole = entropies[0], entropies[0] + entropies[1]
        vanishes = tl.abs(whole) <= 1.2e-38
        alpha = tl.where(vanishes, 0.5, part / tl.where(vanishes, 1.0, whole))
        alpha = tl.minimum(tl.maximum(alpha, 0.0), 1.0)
    log_z, mean, _variance = moments(alpha, models, BLOCK)
    return alpha, log_z, mean, tl.full((), 3, tl.int32)


@triton.jit
def _follow(alpha, log_z, disjoint, models,
            SPECULATIVE: tl.constexpr, BLOCKS: tl.constexpr, BLOCK: tl.constexpr):  # noqa: N803  # fmt: skip
    """ess_θ, ess_t, β, and the mass of what is drawn from in each block [BLOCKS] float64."""
    overlap, square_s, square_t = lanes(0.0, BLOCK), lanes(0.0, BLOCK), lanes(0.0, BLOCK)
    masses, index = tl.full((BLOCKS,), 0.0, tl.float64), tl.arange(0, BLOCKS)
    log2_z = log_z * LOG2_E
    for start in range(0, models[2], BLOCK):
        s, p, base, d = read(models, start + tl.arange(0, BLOCK))
        q = tl.exp2(_log_q(alpha, log2_z, disjoint, s, p, base, d))
        overlap += tl.minimum(q, tl.exp2(s))
        # π_θ²/q = exp(s − α d + log Z) and π_t²/q = exp(s + (2 − α) d + log Z).
        square_s += tl.exp2(base - alpha * d + log2_z)
        square_t += tl.exp2(base + (2.0 - alpha) * d + log2_z)
        mass = tl.sum(_mass(alpha, log2_z, disjoint, s, p, base, d, SPECULATIVE), 0)
        masses = tl.where(index == start // BLOCK, mass.to(tl.float64), masses)
    # A sum that overflows is a sample size of 0; rounding can leave one below 1.
    ess_theta = tl.minimum(1.0 / tl.sum(square_s, 0), 1.0)
    ess_t = tl.minimum(1.0 / tl.sum(square_t, 0), 1.0)
    return ess_theta, ess_t, tl.minimum(tl.sum(overlap, 0), 1.0), masses


@triton.jit
def _draw(target, masses, alpha, log_z, disjoint, models,
          SPECULATIVE: tl.constexpr, BLOCKS: tl.constexpr, BLOCK: tl.constexpr):  # noqa: N803  # fmt: skip
    """The token at which the mass up to it exceeds a target: first its block is found, then its place."""
    index, upto = tl.arange(0, BLOCKS), tl.cumsum(masses, 0)
    reached = (masses > 0.0) & (upto > target)
    block = tl.min(tl.where(reached, index, BLOCKS), 0)
    # The number times the mass may round to the whole mass: the last that can be drawn stands in.
    block = tl.where(block == BLOCKS, tl.max(tl.where(masses > 0.0, index, 0), 0), block)
    passed = tl.sum(tl.where(index == block, upto - masses, 0.0), 0)
    offsets = block * BLOCK + tl.arange(0, BLOCK)
    s, p, base, d = read(models, offsets)
    mass = _mass(alpha, log_z * LOG2_E, disjoint, s, p, base, d, SPECULATIVE)
    reached = (mass > 0.0) & (tl.cumsum(mass, 0) > (target - passed).to(tl.float32))
    beyond: tl.constexpr = BLOCKS * BLOCK
    token = tl.min(tl.where(reached, offsets, beyond), 0)
    # The scan and the sum round differently.
    return tl.where(token == beyond, tl.max(tl.where(mass > 0.0, offsets, 0), 0), token)


@triton.jit
def step_kernel(
    theta, t, theta_stride, t_stride, width, inverse_temperature, weight, tolerance,
    drafted, accept, draws, numbers, counts,
    METHOD: tl.constexpr, SPECULATIVE: tl.constexpr, LIMIT: tl.constexpr,  # noqa: N803
    BLOCKS: tl.constexpr, BLOCK: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """One row: solve α, then accept or draw.

    Args:
        theta, t: logits of student and teacher, [rows, width], `*_stride` numbers from row to row.
        weight: α where METHOD is FIXED.
        drafted: the student's tokens, [rows] int64; read where SPECULATIVE.
        accept, draws: numbers in [0, 1), [rows] float64, for the acceptance and for the draw.
        numbers: the results α, log Z, KL(q‖π_θ), KL(q‖π_t), ess_θ, ess_t, β, log q* of the token:
            [rows, 8] float32.
        counts: the results token, accepted, passes, disjoint, lost: [rows, 5] int64.
        LIMIT: the largest number of passes of the root finder.
        BLOCKS: a power of 2 that is not below the number of blocks of a row.
    """
    row = tl.program_id(0).to(tl.int64)
    theta += row * theta_stride
    t += row * t_stride
    scale = inverse_temperature * LOG2_E
    top_s, log_s, sound_s = normalizer(theta, width, scale, BLOCK)
    top_t, log_t, sound_t = normalizer(t, width, scale, BLOCK)
    sound = sound_s & sound_t
    models = (theta, t, width, scale, top_s, log_s, top_t, log_t)

    ends = _ends(models, METHOD, BLOCK)
    disjoint, alone_s, alone_t = ends[3]
    alpha, log_z, mean, passes = _solve(ends, weight, models, tolerance, METHOD, LIMIT, BLOCK)
    alpha = tl.where(disjoint, 1.0, alpha)
    log_z = tl.where(disjoint, -float("inf"), log_z)

    ess_theta, ess_t, beta, masses = _follow(alpha, log_z, disjoint, models, SPECULATIVE, BLOCKS, BLOCK)
    kl_theta = tl.where(disjoint, float("inf"), tl.maximum(alpha * mean - log_z, 0.0))
    kl_t = tl.where(disjoint, 0.0, tl.maximum(alpha * mean - log_z - mean, 0.0))
    ess_theta = tl.where(alone_s, 0.0, ess_theta)
    ess_t = tl.where(disjoint, 1.0, tl.where(alone_t, 0.0, ess_t))

    total = tl.sum(masses, 0)
    log2_z = log_z * LOG2_E
    token, accepted = tl.full((), -1, tl.int32), total < 0.0
    if SPECULATIVE:
        x = tl.load(drafted + row)
        s, p, base, d = read(models, x)
        ratio = tl.exp2(_log_q(alpha, log2_z, disjoint, s, p, base, d) - s)
        # No mass is left where q* is the student's own distribution up to rounding.
        accepted = (tl.load(accept + row) < ratio.to(tl.float64)) | (total == 0.0)
        token = tl.where(accepted, x.to(tl.int32), token)
    if token < 0:
        target = tl.load(draws + row) * total
        token = _draw(target, masses, alpha, log_z, disjoint, models, SPECULATIVE, BLOCKS, BLOCK)
    s, p, base, d = read(models, token)
    log_q = _log_q(alpha, log2_z, disjoint, s, p, base, d) * LN2

    broken = float("nan")
    numbers += row * 8
    tl.store(numbers + 0, tl.where(sound, alpha, broken))
    tl.store(numbers + 1, tl.where(sound, log_z, broken))
    tl.store(numbers + 2, tl.where(sound, kl_theta, broken))
    tl.store(numbers + 3, tl.where(sound, kl_t, broken))
    tl.store(numbers + 4, tl.where(sound, ess_theta, broken))
    tl.store(numbers + 5, tl.where(sound, ess_t, broken))
    tl.store(numbers + 6, tl.where(sound, beta, broken))
    tl.store(numbers + 7, tl.where(sound, log_q, broken))
    counts += row * 5
    tl.store(counts + 0, tl.where(sound, token, -1).to(tl.int64))
    tl.store(counts + 1, (accepted & sound).to(tl.int64))
    tl.store(counts + 2, passes.to(tl.int64))
    tl.store(counts + 3, (disjoint & sound).to(tl.int64))
    tl.store(counts + 4, tl.where(sound_s, tl.where(sound_t, 0, 2), 1).to(tl.int64))
