"""The solver and the draw of a whole step in one Triton launch, one program for each row.

A program reads its two rows of logits some eight times (log-sum-exp; both ends; two to four Newton
passes; what follows from α; the draw), so a row of 152,064 in bf16 comes from memory once and from
the L2 cache after that. Sums are float32, one for each lane, each with the largest logit that its
lane has met, so that one exponential a token is enough and nothing overflows. The second moment is
taken about zero, where Newton's method expects the mean of d at its next point (see
`family.Family.moments`). Nothing is waited for on the host.

`fused` is the way in; nothing else imports this module, for triton comes with CUDA builds of torch
and, on a CPU, serves the tests alone, in its interpreter.
"""

from __future__ import annotations

import triton
import triton.language as tl

FIXED = tl.constexpr(0)
KL_SYMMETRY = tl.constexpr(1)
ENTROPY = tl.constexpr(2)
REVERSE_KL_SYMMETRY = tl.constexpr(3)
LOWEST = tl.constexpr(-1e30)
"""The largest logit of a lane that has met none: finite, so that no difference of two is NaN."""
EPSILON = tl.constexpr(2.0**-23)


@triton.jit
def _lanes(value: tl.constexpr, BLOCK: tl.constexpr):  # noqa: N803
    return tl.full((BLOCK,), value, tl.float32)


@triton.jit
def _fold(peak, total, first, second, logits, d):
    """Add exp(logits)·(1, d, d²) to the lanes' sums, which are scaled by exp(−peak)."""
    higher = logits > peak
    factor = tl.exp(-tl.abs(logits - peak))
    kept, added = tl.where(higher, factor, 1.0), tl.where(higher, 1.0, factor)
    weighted = added * d
    return (
        tl.where(higher, logits, peak),
        total * kept + added,
        first * kept + weighted,
        second * kept + weighted * d,
    )


@triton.jit
def _collect(peak, total, first, second):
    """L, L′ and L″ from the lanes' sums."""
    top = tl.max(peak, 0)
    scale = tl.exp(peak - top)
    z = tl.sum(total * scale, 0)
    mean = tl.sum(first * scale, 0) / z
    variance = tl.sum(second * scale, 0) / z - mean * mean
    return top + tl.log(z), mean, tl.maximum(variance, 0.0)


@triton.jit
def _normalizer(row, width, inverse_temperature, BLOCK: tl.constexpr):  # noqa: N803
    """(largest logit, log Σ exp(logit − largest), whether the row is a distribution)."""
    peak, total, nothing = _lanes(LOWEST, BLOCK), _lanes(0.0, BLOCK), _lanes(0.0, BLOCK)
    for start in range(0, width, BLOCK):
        offsets = start + tl.arange(0, BLOCK)
        logits = tl.load(row + offsets, mask=offsets < width, other=-float("inf")).to(tl.float32)
        peak, total, nothing, nothing = _fold(
            peak, total, nothing, nothing, logits * inverse_temperature, nothing
        )
    top = tl.max(peak, 0)
    z = tl.sum(total * tl.exp(peak - top), 0)
    return top, tl.log(z), (z > 0.0) & (z < float("inf")) & (top < float("inf"))


@triton.jit
def _read(theta, t, offsets, width, inverse_temperature, top_s, log_s, top_t, log_t):
    """Both log-probabilities, and the family between them: base and d, as `family.Family` has them."""
    inside = offsets < width
    s = tl.load(theta + offsets, mask=inside, other=-float("inf")).to(tl.float32)
    p = tl.load(t + offsets, mask=inside, other=-float("inf")).to(tl.float32)
    s = (s * inverse_temperature - top_s) - log_s
    p = (p * inverse_temperature - top_t) - log_t
    common = (s > -float("inf")) & (p > -float("inf"))
    return s, p, tl.where(common, s, -float("inf")), tl.where(common, p - s, 0.0)


@triton.jit
def _moments(x, theta, t, width, inverse_temperature, top_s, log_s, top_t, log_t, BLOCK: tl.constexpr):  # noqa: N803
    """L, L′ and L″ at x: one pass over the vocabulary."""
    peak, total, first, second = (
        _lanes(LOWEST, BLOCK),
        _lanes(0.0, BLOCK),
        _lanes(0.0, BLOCK),
        _lanes(0.0, BLOCK),
    )
    for start in range(0, width, BLOCK):
        offsets = start + tl.arange(0, BLOCK)
        _s, _p, base, d = _read(theta, t, offsets, width, inverse_temperature, top_s, log_s, top_t, log_t)
        peak, total, first, second = _fold(peak, total, first, second, base + x * d, d)
    return _collect(peak, total, first, second)


@triton.jit
def _log_q(alpha, log_z, disjoint, s, p, base, d):
    """log q*: at either end one model whole, its tokens that the other lacks as well."""
    between = base + alpha * d - log_z
    return tl.where((alpha == 1.0) | disjoint, p, tl.where(alpha == 0.0, s, between))


@triton.jit
def _mass(alpha, log_z, disjoint, s, p, base, d, SPECULATIVE: tl.constexpr):  # noqa: N803
    """What a token is drawn in proportion to: q*, or what q* has more than the student."""
    q = tl.exp(_log_q(alpha, log_z, disjoint, s, p, base, d))
    if SPECULATIVE:
        q = tl.maximum(q - tl.exp(s), 0.0)
    return q


@triton.jit
def step_kernel(
    theta, t, theta_stride, t_stride, width, inverse_temperature, weight, tolerance,
    drafted, accept, draws, numbers, counts,
    METHOD: tl.constexpr, SPECULATIVE: tl.constexpr, LIMIT: tl.constexpr, BLOCK: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """One row: solve α, then accept or draw.

    Args:
        theta, t: logits of student and teacher, [rows, width], `*_stride` numbers from row to row.
        weight: α where METHOD is FIXED.
        drafted: the student's tokens, [rows] int64; read where SPECULATIVE.
        accept, draws: numbers in [0, 1), [rows] float64, for the acceptance and for the draw.
        numbers: the results α, log Z, KL(q‖π_θ), KL(q‖π_t), ess_θ, ess_t, β, log q* of the token:
            [rows, 8] float32.
        counts: the results token, accepted, passes, disjoint: [rows, 4] int64.
        LIMIT: the largest number of passes of the root finder.
    """
    row = tl.program_id(0).to(tl.int64)
    theta += row * theta_stride
    t += row * t_stride
    top_s, log_s, sound_s = _normalizer(theta, width, inverse_temperature, BLOCK)
    top_t, log_t, sound_t = _normalizer(t, width, inverse_temperature, BLOCK)
    sound = sound_s & sound_t

    # Both ends, the range of d, entropies, and which model gives tokens that the other does not.
    peak0, total0, first0, second0 = (
        _lanes(LOWEST, BLOCK), _lanes(0.0, BLOCK), _lanes(0.0, BLOCK), _lanes(0.0, BLOCK)
    )  # fmt: skip
    peak1, total1, first1, second1 = (
        _lanes(LOWEST, BLOCK), _lanes(0.0, BLOCK), _lanes(0.0, BLOCK), _lanes(0.0, BLOCK)
    )  # fmt: skip
    least, largest = _lanes(float("inf"), BLOCK), _lanes(-float("inf"), BLOCK)
    entropy_s, entropy_t = _lanes(0.0, BLOCK), _lanes(0.0, BLOCK)
    alone_s, alone_t = _lanes(0.0, BLOCK), _lanes(0.0, BLOCK)
    for start in range(0, width, BLOCK):
        offsets = start + tl.arange(0, BLOCK)
        s, p, base, d = _read(theta, t, offsets, width, inverse_temperature, top_s, log_s, top_t, log_t)
        peak0, total0, first0, second0 = _fold(peak0, total0, first0, second0, base, d)
        peak1, total1, first1, second1 = _fold(peak1, total1, first1, second1, base + d, d)
        common = base > -float("inf")
        least = tl.minimum(least, tl.where(common, d, float("inf")))
        largest = tl.maximum(largest, tl.where(common, d, -float("inf")))
        alone_s = tl.where((s > -float("inf")) & (common == 0), 1.0, alone_s)
        alone_t = tl.where((p > -float("inf")) & (common == 0), 1.0, alone_t)
        if METHOD == ENTROPY:
            entropy_s -= tl.where(s > -float("inf"), tl.exp(s) * s, 0.0)
            entropy_t -= tl.where(p > -float("inf"), tl.exp(p) * p, 0.0)
    at_log_z, f0, variance0 = _collect(peak0, total0, first0, second0)
    log_z1, f1, variance1 = _collect(peak1, total1, first1, second1)
    span = tl.max(largest, 0) - tl.min(least, 0)
    disjoint = tl.max(largest, 0) == -float("inf")

    passes = tl.full((), 2, tl.int32)
    if METHOD == KL_SYMMETRY:
        zero, one = tl.full((), 0.0, tl.float32), tl.full((), 1.0, tl.float32)
        still = tl.maximum(tl.sqrt(tl.maximum(variance0, variance1)), f1 - f0) <= EPSILON
        flat = still | (span <= EPSILON)
        alpha = tl.where(flat, 0.5, tl.where(f0 >= 0.0, zero, tl.where(f1 <= 0.0, one, 0.5)))
        # The last point that was evaluated, from which L is carried on to α.
        at = tl.where(alpha == 1.0, one, zero)
        at_log_z = tl.where(alpha == 1.0, log_z1, at_log_z)
        value = tl.where(alpha == 1.0, f1, f0)
        slope = tl.where(alpha == 1.0, variance1, variance0)
        active = (f0 < 0.0) & (f1 > 0.0) & (flat == 0)
        # The Hermite start of `roots.hermite_start`, in the form that does not cancel.
        middle = 2.0 * f0 + f1
        root = tl.sqrt(f0 * f0 + f0 * f1 + f1 * f1)
        start_x = tl.where(middle > 0.0, (middle + root) / (3.0 * (f0 + f1)), f0 / (middle - root))
        alpha = tl.where(active, tl.minimum(tl.maximum(start_x, 0.0), 1.0), alpha)
        low, high = zero, one
        while active & (passes < LIMIT):
            at = alpha
            at_log_z, value, slope = _moments(
                at, theta, t, width, inverse_temperature, top_s, log_s, top_t, log_t, BLOCK
            )
            passes += 1
            low, high = tl.where(value < 0.0, at, low), tl.where(value > 0.0, at, high)
            change = value / tl.where(slope > 0.0, slope, 1.0)
            newton = at - change
            small = (tl.abs(change) * tl.sqrt(slope) < tolerance) & (slope > 0.0)
            # Convergence before the safeguard, as in `roots.find_root`.
            done = small | (value == 0.0) | (high - low < 1e-7)
            inside = (newton > low) & (newton < high) & (slope > 0.0)
            alpha = tl.where(inside, newton, tl.where(done, at, 0.5 * (low + high)))
            active = done == 0
        rest = alpha - at
        log_z, mean = at_log_z + rest * (value + 0.5 * rest * slope), value + rest * slope
    else:
        if METHOD == FIXED:
            alpha = weight + 0.0 * f0
        else:
            part, whole = f1, f1 - f0
            if METHOD == ENTROPY:
                part, whole = tl.sum(entropy_s, 0), tl.sum(entropy_s, 0) + tl.sum(entropy_t, 0)
            vanishes = tl.abs(whole) <= 1.2e-38
            alpha = tl.where(vanishes, 0.5, part / tl.where(vanishes, 1.0, whole))
            alpha = tl.minimum(tl.maximum(alpha, 0.0), 1.0)
        log_z, mean, _ = _moments(
            alpha, theta, t, width, inverse_temperature, top_s, log_s, top_t, log_t, BLOCK
        )
        passes += 1
    alpha = tl.where(disjoint, 1.0, alpha)
    log_z = tl.where(disjoint, -float("inf"), log_z)

    # What follows from α, and the mass of what is drawn from: block by block in float64, in the order
    # in which the draw walks them below.
    nothing = _lanes(0.0, BLOCK)
    overlap = _lanes(0.0, BLOCK)
    peak_s, square_s = _lanes(LOWEST, BLOCK), _lanes(0.0, BLOCK)
    peak_t, square_t = _lanes(LOWEST, BLOCK), _lanes(0.0, BLOCK)
    total = tl.full((), 0.0, tl.float64)
    for start in range(0, width, BLOCK):
        offsets = start + tl.arange(0, BLOCK)
        s, p, base, d = _read(theta, t, offsets, width, inverse_temperature, top_s, log_s, top_t, log_t)
        q = tl.exp(_log_q(alpha, log_z, disjoint, s, p, base, d))
        overlap += tl.minimum(q, tl.exp(s))
        # π_θ²/q = exp(s − α d + log Z) and π_t²/q = exp(s + (2 − α) d + log Z).
        peak_s, square_s, nothing, nothing = _fold(
            peak_s, square_s, nothing, nothing, base - alpha * d, nothing
        )
        peak_t, square_t, nothing, nothing = _fold(
            peak_t, square_t, nothing, nothing, base + (2.0 - alpha) * d, nothing
        )
        mass = _mass(alpha, log_z, disjoint, s, p, base, d, SPECULATIVE)
        total += tl.sum(mass, 0).to(tl.float64)
    kl_theta = tl.where(disjoint, float("inf"), tl.maximum(alpha * mean - log_z, 0.0))
    kl_t = tl.where(disjoint, 0.0, tl.maximum(alpha * mean - log_z - mean, 0.0))
    log_square_s, _, _ = _collect(peak_s, square_s, nothing, nothing)
    log_square_t, _, _ = _collect(peak_t, square_t, nothing, nothing)
    ess_theta = tl.where(tl.max(alone_s, 0) > 0.0, 0.0, tl.exp(-log_square_s - log_z))
    ess_t = tl.where(tl.max(alone_t, 0) > 0.0, 0.0, tl.exp(-log_square_t - log_z))
    ess_t = tl.where(disjoint, 1.0, ess_t)
    beta = tl.minimum(tl.sum(overlap, 0), 1.0)

    token = tl.full((), -1, tl.int32)
    if SPECULATIVE:
        x = tl.load(drafted + row)
        s_x, p_x, base_x, d_x = _read(theta, t, x, width, inverse_temperature, top_s, log_s, top_t, log_t)
        ratio = tl.exp(_log_q(alpha, log_z, disjoint, s_x, p_x, base_x, d_x) - s_x)
        # No mass is left where q* is the student's own distribution up to rounding.
        accepted = (tl.load(accept + row) < ratio.to(tl.float64)) | (total == 0.0)
        token = tl.where(accepted, x.to(tl.int32), token)

    target = tl.load(draws + row) * total
    passed = tl.full((), 0.0, tl.float64)
    start, last = tl.full((), 0, tl.int32), tl.full((), 0, tl.int32)
    while (start < width) & (token < 0):
        offsets = start + tl.arange(0, BLOCK)
        s, p, base, d = _read(theta, t, offsets, width, inverse_temperature, top_s, log_s, top_t, log_t)
        mass = _mass(alpha, log_z, disjoint, s, p, base, d, SPECULATIVE)
        after = passed + tl.sum(mass, 0).to(tl.float64)
        possible = mass > 0.0
        if after > target:
            reached = possible & (tl.cumsum(mass, 0) > (target - passed).to(tl.float32))
            token = tl.min(tl.where(reached, offsets, width), 0)
            # The scan and the sum round differently: the last token that can be drawn stands in.
            token = tl.where(token == width, tl.max(tl.where(possible, offsets, -1), 0), token)
        last = tl.maximum(last, tl.max(tl.where(possible, offsets, 0), 0))
        passed = after
        start += BLOCK
    # The number times the mass may round to the whole mass.
    token = tl.where(token < 0, last, token)
    s_y, p_y, base_y, d_y = _read(theta, t, token, width, inverse_temperature, top_s, log_s, top_t, log_t)
    log_q = _log_q(alpha, log_z, disjoint, s_y, p_y, base_y, d_y)
    token = tl.where(sound, token, -1)

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
    counts += row * 4
    tl.store(counts + 0, token.to(tl.int64))
    if SPECULATIVE:
        tl.store(counts + 1, (accepted & sound).to(tl.int64))
    else:
        tl.store(counts + 1, tl.full((), 0, tl.int64))
    tl.store(counts + 2, passes.to(tl.int64))
    tl.store(counts + 3, (disjoint & sound).to(tl.int64))
