"""What follows from α and log Z of a row: how far q* lies from either model, and how well each covers it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from winnow.qstar.exponential import exp
from winnow.qstar.family import Family

LARGEST_LOG_WEIGHT = 20.0
"""About up to it π/q* is formed as a quotient: where q* underflows, π ≤ e^20 q* then adds less than 1e−20."""


class Description(NamedTuple):
    """Of rows, each [rows]; see `alpha.AlphaSolution`."""

    kl_theta: Tensor
    kl_t: Tensor
    ess_theta: Tensor
    ess_t: Tensor
    beta: Tensor


def describe(family: Family, alpha: Tensor, log_z: Tensor, log_q: Tensor | None = None) -> Description:
    """KL(q‖π_θ), KL(q‖π_t), ess_θ, ess_t and β of a family's rows at their α.

    log q of the tokens that both models give is formed in `log_q`, if given.
    """
    # Rows without a common token are the teacher's own, whatever their log Z says.
    log_z = log_z if family.whole else log_z.masked_fill(family.disjoint, 0.0)
    log_q = family.logits(alpha, out=log_q).sub_(log_z[:, None])
    q = exp(log_q, out=family.buffer("q"))
    scratch = torch.minimum(q, family.theta, out=family.buffer("described"))
    beta = scratch.sum(dim=1).clamp_max_(1.0)
    mean = torch.mul(q, family.d, out=scratch).sum(dim=1)
    kl_theta = alpha * mean - log_z
    kl_t = kl_theta - mean
    ess_theta, ess_t = _effective_sample_sizes(family, alpha, log_z, q, scratch)
    found = Description(
        kl_theta.clamp_min_(0.0),
        kl_t.clamp_min_(0.0),
        ess_theta.clamp_max_(1.0),
        ess_t.clamp_max_(1.0),
        beta,
    )
    return found if family.whole else _of_masked(family, alpha, found)


def _of_masked(family: Family, alpha: Tensor, found: Description) -> Description:
    """What holds where a model gives a token that the other does not."""
    # At either end one model is drawn from whole, its tokens that the other lacks as well.
    whole = torch.minimum(family.t, family.theta).sum(dim=1).clamp_max_(1.0)
    beta = torch.where(family.masked & (alpha == 1.0), whole, found.beta)
    beta = beta.masked_fill(family.masked & (alpha == 0.0), 1.0)
    return Description(
        found.kl_theta.masked_fill(family.disjoint, torch.inf),
        found.kl_t.masked_fill(family.disjoint, 0.0),
        # Where q is zero and the model is not, the sum is infinite.
        found.ess_theta.masked_fill(family.theta_alone, 0.0),
        found.ess_t.masked_fill(family.t_alone, 0.0),
        beta.masked_fill(family.disjoint, 0.0),
    )


def _effective_sample_sizes(
    family: Family, alpha: Tensor, log_z: Tensor, q: Tensor, scratch: Tensor
) -> tuple[Tensor, Tensor]:
    """1 / Σ π_θ²/q and 1 / Σ π_t²/q over the tokens that both models give; q and scratch are overwritten."""
    # No 0/0 where both have underflowed.
    q.clamp_min_(torch.finfo(q.dtype).tiny)
    ess_theta, ess_t = (
        torch.div(model, q, out=scratch).mul_(model).sum(dim=1).reciprocal_()
        for model in (family.theta, family.t)
    )
    # Between two whole distributions d is 0 or changes its sign: no weight exceeds e^span.
    if family.whole and max(family.spans, default=0.0) < LARGEST_LOG_WEIGHT:
        return ess_theta, ess_t
    # log π_θ/q = log Z − α d and log π_t/q = log Z + (1 − α) d.
    largest = log_z + torch.maximum(-alpha * family.least, (1.0 - alpha) * family.largest)
    unsound = ~(largest < LARGEST_LOG_WEIGHT + 0.1)
    # π_θ²/q = exp(s − α d + log Z) and π_t²/q = exp(s + (2 − α) d + log Z).
    return (
        torch.where(unsound, (-family.log_z(-alpha) - log_z).exp(), ess_theta),
        torch.where(unsound, (-family.log_z(2.0 - alpha) - log_z).exp(), ess_t),
    )
