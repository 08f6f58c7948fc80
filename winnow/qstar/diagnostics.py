"""What q* looked like along a completion, up to and with its last token."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from winnow.qstar.alpha import AlphaSolution

METRICS = ("alpha", "ess_ratio", "kl_theta", "kl_t", "neg_log_z", "beta")
"""α; ess_θ/ess_t; KL(q*‖π_θ) and KL(q*‖π_t) in nats; −log Z in nats; Σ min(q*, π_θ)."""


def stack(solution: AlphaSolution) -> Tensor:
    """The metrics of one token for each row, [rows, len(METRICS)]."""
    return torch.stack(
        [
            solution.alpha,
            solution.ess_ratio,
            solution.kl_theta,
            solution.kl_t,
            -solution.log_z,
            solution.beta,
        ],
        dim=1,
    )


def summarize(values: Tensor) -> dict[str, Any]:
    """Mean and (population) deviation of each metric over one completion's own tokens.

    Args:
        values: [tokens, len(METRICS)], without anything after the end-of-sequence token.

    Tokens at which a metric is infinite are left out of its mean: the KL divergences where the two
    models share no token (counted in `disjoint_tokens`), the ESS ratio also where one model masks
    what q* supports. `alpha_values` has α at each token.
    """
    values = values.double()
    finite = torch.isfinite(values)
    count = finite.sum(dim=0)
    filled = values.where(finite, 0.0)
    mean = filled.sum(dim=0) / count
    deviation = ((filled - mean).square() * finite).sum(dim=0).div(count).sqrt()
    summary: dict[str, Any] = {"tokens": len(values)}
    for index, name in enumerate(METRICS):
        summary[f"{name}_mean"] = _number(mean[index].item())
        summary[f"{name}_std"] = _number(deviation[index].item())
    summary["disjoint_tokens"] = int((~finite[:, METRICS.index("kl_theta")]).sum())
    summary["alpha_values"] = [round(value, 4) for value in values[:, 0].tolist()]
    return summary


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
