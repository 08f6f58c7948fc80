"""What q* looked like along a completion, up to and with its last token."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

METRICS = ("alpha", "ess_ratio", "kl_theta", "kl_t", "neg_log_z", "beta")
"""α; ess_θ/ess_t; KL(q*‖π_θ) and KL(q*‖π_t) in nats; −log Z in nats; Σ min(q*, π_θ)."""

Values = npt.NDArray[np.float64]


class Told(Protocol):
    """What a solver tells of each row, [rows]: see `alpha.AlphaSolution`."""

    @property
    def alpha(self) -> Tensor: ...
    @property
    def ess_theta(self) -> Tensor: ...
    @property
    def ess_t(self) -> Tensor: ...
    @property
    def kl_theta(self) -> Tensor: ...
    @property
    def kl_t(self) -> Tensor: ...
    @property
    def log_z(self) -> Tensor: ...
    @property
    def beta(self) -> Tensor: ...


def stack(solution: Told) -> Tensor:
    """The metrics of one token for each row, [rows, len(METRICS)]."""
    # Here alone: who reads what was told, of a served q* say, needs no torch.
    import torch

    return torch.stack(
        [
            solution.alpha,
            solution.ess_theta / solution.ess_t,
            solution.kl_theta,
            solution.kl_t,
            -solution.log_z,
            solution.beta,
        ],
        dim=1,
    )


def summarize(values: Values) -> dict[str, Any]:
    """Mean and (population) deviation of each metric over one completion's own tokens.

    Args:
        values: [tokens, len(METRICS)] float64, without anything after the end-of-sequence token.

    Tokens at which a metric is infinite are left out of its mean: the KL divergences where the two
    models share no token (counted in `disjoint_tokens`), the ESS ratio also where one model masks
    what q* supports. `alpha_values` has α at each token.
    """
    finite = np.isfinite(values)
    count = finite.sum(axis=0)
    filled = np.where(finite, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = filled.sum(axis=0) / count
        deviation = np.sqrt((np.square(filled - mean) * finite).sum(axis=0) / count)
    summary: dict[str, Any] = {"tokens": len(values)}
    for index, name in enumerate(METRICS):
        summary[f"{name}_mean"] = _number(mean[index])
        summary[f"{name}_std"] = _number(deviation[index])
    summary["disjoint_tokens"] = int((~finite[:, METRICS.index("kl_theta")]).sum())
    summary["alpha_values"] = [round(value, 4) for value in values[:, 0].tolist()]
    return summary


def _number(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None
