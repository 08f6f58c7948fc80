"""Sequence-level q*: completions of one model, resampled towards π_θ^(1−α) · π_t^α of whole sequences.

Another distribution than that of the engine, which mixes token by token: the mixture of each token is
normalised there, and its α may differ from token to token. Here one α stands for all, and the normaliser is
one for the whole sequence: q(y) = π_θ(y)^(1−α) π_t(y)^α / Z, with Z = Σ_y π_θ(y)^(1−α) π_t(y)^α.

Sampling importance resampling (Rubin 1988): with candidates of the teacher w = (π_θ/π_t)^(1−α), with those of
the student w = (π_t/π_θ)^α; E[w] = Z either way. It is exact only as the number of candidates grows. How far
it is from that is told by the effective sample size (Σw)²/Σw² (Kong 1992): of long completions, a few
candidates have all of the weight.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from winnow.records import completion_seed

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Weights:
    """Of the candidates of one prompt.

    Attributes:
        normalised: [candidates], they sum to 1.
        log_z: log of the mean weight, an estimate of log Z in nats: 0 where the models agree, below else.
        ess: (Σw)²/Σw², between 1 and the number of candidates.
    """

    normalised: Floats
    log_z: float
    ess: float

    @functools.cached_property
    def cumulative(self) -> Floats:
        """[candidates], rising to 1."""
        return self.normalised.cumsum()

    @functools.cached_property
    def last(self) -> int:
        """The last candidate that has any weight."""
        return int(np.flatnonzero(self.normalised)[-1])


def weigh(log_theta: Floats, log_t: Floats, log_drawn: Floats, alpha: float) -> Weights | None:
    """Importance weights of candidates.

    Args:
        log_theta, log_t: [candidates], log π(y) of whole completions under student and teacher, in nats;
            minus infinity where that model cannot say it.
        log_drawn: [candidates], under what has drawn them: `log_t` if that was the teacher itself.
        alpha: the teacher's weight in q.

    Returns:
        The weights; None if none of the candidates has any: the other model can say none of them.

    Raises:
        ValueError: no candidates, unequal lengths, or an α outside [0, 1].
    """
    if not len(log_theta) == len(log_t) == len(log_drawn) or not len(log_t) or not 0 <= alpha <= 1:
        raise ValueError(f"{len(log_theta)}, {len(log_t)} and {len(log_drawn)} candidates, α = {alpha}")
    log_w = _share(1 - alpha, log_theta) + _share(alpha, log_t) - log_drawn
    peak = log_w.max()
    if not np.isfinite(peak):
        return None
    weights = np.exp(log_w - peak)
    total = weights.sum()
    return Weights(
        normalised=weights / total,
        log_z=float(peak + np.log(total / len(weights))),
        ess=float(total**2 / np.square(weights).sum()),
    )


def _share(exponent: float, log_p: Floats) -> Floats:
    # 0 · (−∞) is 0 here: what has no part in the mixture masks nothing.
    return exponent * log_p if exponent else np.zeros_like(log_p)


def choose(weights: Weights, run_seed: int, prompt_id: str, sample: int) -> int:
    """Which candidate becomes a sample: by inversion, with a draw that belongs to this sample alone."""
    # Not the seed of a completion: that one has drawn the candidate.
    uniform = completion_seed(run_seed, f"{prompt_id}\0resampled", sample) / 2.0**63
    index = int(np.searchsorted(weights.cumulative, uniform * weights.cumulative[-1], side="right"))
    return min(index, weights.last)
