"""Speculative sampling whose target is q*: drafts of the student are kept or replaced, exactly.

A token x drafted from p is kept with probability min(1, q*(x) / p(x)); else one is drawn from
(q* − p)₊, renormalised. What comes out follows q* (Leviathan et al. 2023, arXiv 2211.17192, app. A.1;
Chen et al. 2023, arXiv 2302.01318, th. 1; for mixtures of models, arXiv 2502.01662). There is no token
beyond the drafts: the teacher knows the next distribution there, q* is not known without the student.
"""

from __future__ import annotations

import torch
from torch import Tensor

from winnow.qstar.exponential import exp
from winnow.qstar.mixture import draw
from winnow.qstar.randomness import Role, uniforms


def settle(
    drafts: Tensor, log_draft: Tensor, log_q: Tensor, seeds: Tensor, positions: Tensor
) -> tuple[Tensor, Tensor]:
    """Keep drafts up to the first rejection, and draw what stands there instead.

    Args:
        drafts: drafted tokens, [rows, K] int64.
        log_draft: log-probabilities that they were drawn from, [rows, K, vocabulary].
        log_q: those to be followed, of the same shape.
        seeds: a row's seed, [rows] int64.
        positions: each token's index in its completion, [rows, K] int64.

    Returns:
        Tokens [rows, K], and how many of a row's first ones are drafts [rows]; at most one more counts.
    """
    rows, depth = drafts.shape
    ratio = at_tokens(log_q, drafts) - at_tokens(log_draft, drafts)
    chance = uniforms(seeds[:, None].expand(rows, depth), positions, Role.ACCEPT)
    kept = chance.to(ratio.device) < ratio.double().exp()
    accepted = kept.long().cumprod(dim=1).sum(dim=1)
    tokens = drafts.clone()
    rejected = (accepted < depth).nonzero().flatten()
    if len(rejected):
        at = accepted[rejected]
        numbers = uniforms(seeds[rejected], positions[rejected, at], Role.RESIDUAL)
        tokens[rejected, at] = draw(_residual(log_q[rejected, at], log_draft[rejected, at]), numbers)
    return tokens, accepted


def at_tokens(log_p: Tensor, tokens: Tensor) -> Tensor:
    """What log-probabilities [rows, K, vocabulary] say of tokens [rows, K]."""
    return log_p.gather(2, tokens[..., None]).squeeze(2)


def _residual(log_q: Tensor, log_draft: Tensor) -> Tensor:
    """Probabilities in proportion to (q − p)₊, [rows, vocabulary]."""
    q = exp(log_q)
    excess = (q - exp(log_draft)).clamp_min_(0.0)
    # Rounding alone can reject where both are the same, and then nothing exceeds.
    nothing = ~(excess.amax(dim=1, keepdim=True) > 0)
    return torch.where(nothing, q, excess)
