"""From two models' logits to q*, and from q* to a token."""

from __future__ import annotations

import torch
from torch import Tensor

from winnow.arms import Alpha
from winnow.qstar.alpha import AlphaSolution, Solved, precision, solve_rows
from winnow.qstar.buffers import Buffers
from winnow.qstar.chunks import in_chunks, joined
from winnow.qstar.description import Description, describe
from winnow.qstar.parameters import SamplingParameters

BLOCK = 128
"""Tokens whose probabilities are added up together for a draw."""


def log_probabilities(logits: Tensor, temperature: float, out: Tensor | None = None) -> Tensor:
    """Log-softmax of logits [rows, vocabulary] at a temperature, in float32 or better; in `out`, if given.

    At T = 0 the model's own distribution (T = 1) is kept, for the arg-max is taken after the mixture.
    """
    logits = logits.to(precision(logits))
    if temperature not in (0.0, 1.0):
        logits = torch.div(logits, temperature, out=out)
    return torch.log_softmax(logits, dim=-1, out=out)


def mix(
    log_theta: Tensor, log_t: Tensor, alpha: Alpha, described: bool = False, buffers: Buffers | None = None
) -> tuple[Tensor, AlphaSolution]:
    """log q* [rows, vocabulary] and the solution that gave it.

    Rows without a common token are drawn from the teacher and marked as `disjoint`. What the solution
    tells beyond α and log Z costs nothing until it is read, or less where it is `described` at once,
    while a row is in the cache. With `buffers`, log q* lasts until they are used again.
    """
    dtype, shared = precision(log_theta), buffers or Buffers()
    log_q = buffers.take("log q", log_theta, dtype) if buffers else torch.empty_like(log_theta, dtype=dtype)

    def form(rows: slice) -> tuple[Tensor, ...]:
        solved, family = solve_rows(log_theta[rows], log_t[rows], alpha, shared)
        if described:
            return (*solved, *describe(family, solved.alpha, solved.log_z, log_q[rows]))
        family.logits(solved.alpha, out=log_q[rows]).sub_(solved.log_z[:, None])
        return solved

    columns = joined(in_chunks(form, log_theta))
    count = len(Solved._fields)
    solution = AlphaSolution(
        *Solved(*columns[:count]),
        _models=(log_theta, log_t),
        _described=Description(*columns[count:]) if described else None,
    )
    masked = solution.masked.nonzero().flatten()
    if len(masked):
        log_q[masked] = _mix_masked(log_theta[masked], log_t[masked], solution.alpha[masked, None])
    return log_q, solution


def _mix_masked(log_theta: Tensor, log_t: Tensor, weight: Tensor) -> Tensor:
    """log q* of rows with −inf or NaN in them, for teacher's weights [rows, 1]."""
    # At either end one factor has exponent 0, and 0 · (−inf) would be NaN where that model is −inf.
    mixed = torch.where(weight > 0, weight * log_t, 0.0) + torch.where(
        weight < 1, (1.0 - weight) * log_theta, 0.0
    )
    # A model that gives NaN (a row of nothing else, after its softmax) has no common token either;
    # it must not pass for a student to whom the teacher answers.
    broken = torch.isnan(log_theta[:, :1]) | torch.isnan(log_t[:, :1])
    return torch.log_softmax(mixed.masked_fill(broken, torch.nan), dim=-1)


def truncate(log_q: Tensor, top_k: int, top_p: float) -> Tensor:
    """Keep the head of each row and renormalise; the likeliest token always stays."""
    if not top_k and top_p >= 1.0:
        return log_q
    ordered, index = log_q.sort(dim=-1, descending=True, stable=True)
    drop = torch.zeros_like(ordered, dtype=torch.bool)
    if top_k:
        drop[:, top_k:] = True
    if top_p < 1.0:
        mass = ordered.exp()
        drop |= mass.cumsum(dim=-1) - mass >= top_p
    kept = log_q.masked_fill(torch.zeros_like(drop).scatter(1, index, drop), -torch.inf)
    return torch.log_softmax(kept, dim=-1)


def head(log_p: Tensor, parameters: SamplingParameters) -> Tensor:
    """What is left of each row [rows, vocabulary]: the likeliest token at T = 0, else by top-k and top-p."""
    if parameters.temperature == 0:
        return truncate(log_p, 1, 1.0)
    return truncate(log_p, parameters.top_k, parameters.top_p)


def draw(weights: Tensor, uniforms: Tensor) -> Tensor:
    """One token id [rows] from each row, by the inverse of its distribution function.

    Args:
        weights: in proportion to probabilities, [rows, vocabulary]; they need not add up to 1.
        uniforms: one number in [0, 1) for each row, float64.

    The sums are formed by blocks, in float64: first the block is found, then the token in it.
    """
    rows, width = weights.shape
    blocks = -(-width // BLOCK)
    if width % BLOCK:
        weights = torch.nn.functional.pad(weights, (0, blocks * BLOCK - width))
    weights = weights.view(rows, blocks, BLOCK)
    mass = weights.sum(dim=2, dtype=_sum_type(weights)).double()
    upto = mass.cumsum(dim=1)
    target = uniforms[:, None].to(upto) * upto[:, -1:]
    block = _first_above(upto, target, mass > 0)
    row = torch.arange(rows, device=weights.device)
    before = torch.where(block > 0, upto[row, (block - 1).clamp_min(0)], 0.0)
    inside = weights[row, block].double()
    return block * BLOCK + _first_above(inside.cumsum(dim=1), target - before[:, None], inside > 0)


def _sum_type(weights: Tensor) -> torch.dtype:
    # A float32 sum of 128 numbers is off by some 1e-7, as each of them is.
    return torch.float64 if weights.dtype == torch.float64 else torch.float32


def _first_above(upto: Tensor, target: Tensor, possible: Tensor) -> Tensor:
    """The first index whose cumulative sum exceeds the target; one that is possible, [rows]."""
    # right=True skips what has probability zero: its interval is empty.
    found = torch.searchsorted(upto, target, right=True).squeeze(1)
    places = torch.arange(upto.shape[1], device=upto.device)
    # Where rounding would step over the end.
    last = torch.where(possible, places, 0).amax(dim=1)
    return torch.minimum(found, last)
